//! The table `batches`: the headers of the journal, each with the blob that holds it.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt, stream};
use tributary_da::Blobs;
use tributary_journal::{Header, Journal};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};

use crate::cache::Cache;
use crate::error::QueryError;

/// The columns of `batches`.
pub(crate) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Int32, false),
        Field::new("seq", DataType::Int64, false),
        Field::new("first_offset", DataType::Int64, false),
        Field::new("next_offset", DataType::Int64, false),
        Field::new("events", DataType::Int64, false),
        Field::new("root", DataType::Utf8, false),
        Field::new("hash", DataType::Utf8, false),
        Field::new("previous_hash", DataType::Utf8, false),
        Field::new("sealed_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("blob_id", DataType::Utf8, true),
    ]))
});

/// Headers are read and kept in runs of this many.
const RUN: u64 = 512;
/// Headers read from the store at the same time by one stream.
const READS_AT_ONCE: usize = 16;

/// Reads headers in runs, and keeps whole runs: a header never changes.
pub(crate) struct Headers {
    journal: Arc<Journal>,
    runs: Cache<(Partition, u64), Arc<Vec<Header>>>,
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers")
    }
}

impl Headers {
    pub(crate) fn new(journal: Arc<Journal>, cache_bytes: usize) -> Self {
        Self { journal, runs: Cache::new(cache_bytes) }
    }

    /// The headers of a partition from `from` to `to`, both included and both in one run.
    async fn run(&self, partition: Partition, from: u64, to: u64) -> Result<Arc<Vec<Header>>> {
        let whole = from.is_multiple_of(RUN) && to == from + RUN - 1;
        let key = (partition, from / RUN);
        if let Some(kept) = self.runs.get(&key) {
            let skip = usize::try_from(from % RUN).unwrap_or(0);
            let take = usize::try_from(to - from + 1).unwrap_or(usize::MAX);
            return Ok(if whole { kept } else { Arc::new(kept.iter().skip(skip).take(take).cloned().collect()) });
        }
        let headers: Vec<Header> = stream::iter((from..=to).filter_map(Seq::new))
            .map(|seq| async move { self.journal.header(partition, seq).await })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
            .map_err(QueryError::from)?;
        let headers = Arc::new(headers);
        if whole {
            self.runs.put(key, Arc::clone(&headers), headers.len() * size_of::<Header>());
        }
        Ok(headers)
    }
}

/// `batches` at one cut.
#[derive(Debug)]
pub(crate) struct BatchesTable {
    headers: Arc<Headers>,
    blobs: Arc<Blobs>,
    cut: Cut,
}

impl BatchesTable {
    pub(crate) fn new(headers: Arc<Headers>, blobs: Arc<Blobs>, cut: Cut) -> Self {
        Self { headers, blobs, cut }
    }

    /// The runs to read when all filters hold, in order.
    fn runs(&self, filters: &[Expr]) -> Vec<Run> {
        let mut wanted = Bounds { partition: (0, i64::MAX), seq: (0, i64::MAX) };
        for filter in filters {
            wanted.narrow(filter);
        }
        let mut runs = Vec::new();
        for (partition, last) in self.cut.iter() {
            if !(wanted.partition.0..=wanted.partition.1).contains(&i64::from(partition.as_i32())) {
                continue;
            }
            let mut from = wanted.seq.0.max(0).unsigned_abs();
            let last = last.get().min(wanted.seq.1.max(-1).try_into().unwrap_or(0));
            if wanted.seq.1 < 0 {
                continue;
            }
            while from <= last {
                let to = last.min((from / RUN + 1) * RUN - 1);
                runs.push(Run { partition, from, to });
                from = to + 1;
            }
        }
        runs
    }
}

#[derive(Clone, Copy, Debug)]
struct Run {
    partition: Partition,
    from: u64,
    to: u64,
}

/// The least and the greatest value wanted of each column that batches are found by.
struct Bounds {
    partition: (i64, i64),
    seq: (i64, i64),
}

impl Bounds {
    /// Takes in a filter that compares one of the columns with a number; leaves others alone.
    fn narrow(&mut self, filter: &Expr) {
        let Some((column, operator, number)) = comparison(filter) else { return };
        let bounds = if column == "seq" { &mut self.seq } else { &mut self.partition };
        match operator {
            Operator::Eq => *bounds = (bounds.0.max(number), bounds.1.min(number)),
            Operator::Gt => bounds.0 = bounds.0.max(number.saturating_add(1)),
            Operator::GtEq => bounds.0 = bounds.0.max(number),
            Operator::Lt => bounds.1 = bounds.1.min(number.saturating_sub(1)),
            Operator::LtEq => bounds.1 = bounds.1.min(number),
            _ => {}
        }
    }
}

/// A filter of the form `column operator number` (or the other way round) on `partition` or `seq`.
fn comparison(filter: &Expr) -> Option<(&str, Operator, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
    let (column, operator, number) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(number, _)) => (column, *op, number),
        (Expr::Literal(number, _), Expr::Column(column)) => (column, op.swap()?, number),
        _ => return None,
    };
    let number = match number {
        ScalarValue::Int64(Some(number)) => *number,
        ScalarValue::Int32(Some(number)) => i64::from(*number),
        _ => return None,
    };
    let known = matches!(operator, Operator::Eq | Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq);
    (known && matches!(column.name.as_str(), "partition" | "seq")).then_some((column.name.as_str(), operator, number))
}

#[async_trait]
impl TableProvider for BatchesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let known = |filter: &&Expr| match comparison(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(known).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let runs = self.runs(filters);
        let share = runs.len().div_ceil(state.config().target_partitions()).max(1);
        let mut streams: Vec<Arc<dyn PartitionStream>> = Vec::new();
        for runs in runs.chunks(share) {
            streams.push(Arc::new(RunsStream {
                headers: Arc::clone(&self.headers),
                blobs: Arc::clone(&self.blobs),
                runs: runs.to_vec(),
            }));
        }
        if streams.is_empty() {
            streams.push(Arc::new(RunsStream {
                headers: Arc::clone(&self.headers),
                blobs: Arc::clone(&self.blobs),
                runs: Vec::new(),
            }));
        }
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&SCHEMA), streams, projection, None, false, limit)?))
    }
}

/// Reads runs one after the other, as they are asked for.
#[derive(Debug)]
struct RunsStream {
    headers: Arc<Headers>,
    blobs: Arc<Blobs>,
    runs: Vec<Run>,
}

impl PartitionStream for RunsStream {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (headers, blobs) = (Arc::clone(&self.headers), Arc::clone(&self.blobs));
        let rows = stream::iter(self.runs.clone()).then(move |run| {
            let (headers, blobs) = (Arc::clone(&headers), Arc::clone(&blobs));
            async move { rows_of(&headers.run(run.partition, run.from, run.to).await?, &blobs) }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&SCHEMA), rows))
    }
}

fn rows_of(headers: &[Header], blobs: &Blobs) -> Result<RecordBatch> {
    let (mut partition, mut seq) = (Int32Builder::new(), Int64Builder::new());
    let (mut first, mut next, mut events) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut root, mut hash, mut previous) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut sealed_at, mut blob_id) = (TimestampMicrosecondBuilder::new().with_timezone("UTC"), StringBuilder::new());
    for header in headers {
        partition.append_value(header.partition.as_i32());
        seq.append_value(header.seq.as_i64());
        first.append_value(header.first_offset.as_i64());
        next.append_value(header.next_offset.as_i64());
        events.append_value(i64::from(header.events));
        root.append_value(format!("{:#x}", header.root));
        hash.append_value(format!("{:#x}", header.hash()));
        previous.append_value(format!("{:#x}", header.previous_hash));
        sealed_at.append_value(header.sealed_at.micros());
        blob_id.append_option(blobs.blob_of(header.partition, header.seq).map(|blob| format!("{:#x}", blob.blob_id)));
    }
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(partition.finish()),
        Arc::new(seq.finish()),
        Arc::new(first.finish()),
        Arc::new(next.finish()),
        Arc::new(events.finish()),
        Arc::new(root.finish()),
        Arc::new(hash.finish()),
        Arc::new(previous.finish()),
        Arc::new(sealed_at.finish()),
        Arc::new(blob_id.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
