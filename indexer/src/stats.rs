//! The statistics of a data file as Delta Lake keeps them in its log, for skipping files.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, SchemaRef};
use parquet::data_type::AsBytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tributary_schemas::ids::{Partition, Seq, Timestamp};

/// What lies between the smallest and the largest coordinate of a file of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowRange {
    /// The smallest `_partition`.
    pub partition_min: Partition,
    /// The largest `_partition`.
    pub partition_max: Partition,
    /// The smallest `_seq`, over all partitions of the file.
    pub seq_min: Seq,
    /// The largest `_seq`, over all partitions of the file.
    pub seq_max: Seq,
}

/// Statistics in the form of the Delta protocol.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileStats {
    pub(crate) num_records: u64,
    #[serde(default)]
    min_values: BTreeMap<String, Value>,
    #[serde(default)]
    max_values: BTreeMap<String, Value>,
    #[serde(default)]
    null_count: BTreeMap<String, u64>,
}

impl FileStats {
    /// Reads what [`render`] wrote; `None` when it is not in that form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The range of the coordinates, for a table of events.
    pub(crate) fn range(&self) -> Option<RowRange> {
        let partition = |values: &BTreeMap<String, Value>| {
            values.get("_partition")?.as_u64().and_then(|n| u32::try_from(n).ok()).and_then(Partition::new)
        };
        let seq = |values: &BTreeMap<String, Value>| values.get("_seq")?.as_u64().and_then(Seq::new);
        Some(RowRange {
            partition_min: partition(&self.min_values)?,
            partition_max: partition(&self.max_values)?,
            seq_min: seq(&self.min_values)?,
            seq_max: seq(&self.max_values)?,
        })
    }
}

/// The statistics of a file just written. Text bounds may be shortened (the upper one is then rounded up), which keeps them
/// bounds; columns of other types than text, int, bigint and timestamp have none.
pub(crate) fn render(schema: &SchemaRef, metadata: &ParquetMetaData, rows: u64) -> String {
    let mut stats = FileStats { num_records: rows, ..FileStats::default() };
    let leaves = metadata.file_metadata().schema_descr();
    for (leaf, column) in leaves.columns().iter().enumerate() {
        let [name] = column.path().parts() else { continue };
        let Ok(field) = schema.field_with_name(name) else { continue };
        let groups = || metadata.row_groups().iter().map(|group| group.column(leaf).statistics());
        if let Some(nulls) = groups().map(|s| s.and_then(Statistics::null_count_opt)).sum::<Option<u64>>() {
            stats.null_count.insert(name.clone(), nulls);
        }
        // A row group of nulls only has no bounds; it must not widen or hide those of the others.
        let bounded = groups().flatten().filter(|s| s.min_bytes_opt().is_some() && s.max_bytes_opt().is_some());
        let all_counted = groups().all(|s| s.is_some());
        if let Some((min, max)) = all_counted.then(|| bounds(field.data_type(), bounded)).flatten() {
            stats.min_values.insert(name.clone(), min);
            stats.max_values.insert(name.clone(), max);
        }
    }
    serde_json::to_string(&stats).expect("maps with text keys always serialise")
}

fn bounds<'a>(kind: &DataType, groups: impl Iterator<Item = &'a Statistics>) -> Option<(Value, Value)> {
    match kind {
        DataType::Int32 | DataType::Int64 | DataType::Timestamp(..) => {
            let whole = groups.map(integer_bounds).collect::<Option<Vec<_>>>()?;
            let (min, max) = (whole.iter().map(|b| b.0).min()?, whole.iter().map(|b| b.1).max()?);
            match kind {
                DataType::Timestamp(..) => Some((instant(min)?, instant(max)?)),
                _ => Some((min.into(), max.into())),
            }
        }
        DataType::Utf8 => {
            let whole: Vec<(&[u8], &[u8])> = groups.map(text_bounds).collect::<Option<_>>()?;
            let (min, max) = (whole.iter().map(|b| b.0).min()?, whole.iter().map(|b| b.1).max()?);
            Some((std::str::from_utf8(min).ok()?.into(), std::str::from_utf8(max).ok()?.into()))
        }
        _ => None,
    }
}

fn integer_bounds(group: &Statistics) -> Option<(i64, i64)> {
    match group {
        Statistics::Int32(s) => Some(((*s.min_opt()?).into(), (*s.max_opt()?).into())),
        Statistics::Int64(s) => Some((*s.min_opt()?, *s.max_opt()?)),
        _ => None,
    }
}

fn text_bounds(group: &Statistics) -> Option<(&[u8], &[u8])> {
    match group {
        Statistics::ByteArray(s) => Some((s.min_opt()?.as_bytes(), s.max_opt()?.as_bytes())),
        _ => None,
    }
}

fn instant(micros: i64) -> Option<Value> {
    Some(Timestamp::from_micros(micros)?.to_string().into())
}
