//! Reading the rows of our own queries by column name.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use tributary_schemas::ids::{Partition, Seq, Timestamp};
use tributary_schemas::units::{Address, Hash, parse_hash};

use super::global_id::Place;
use tributary_query::error::{Code, QueryError};

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Row<'b> {
    batch: &'b RecordBatch,
    at: usize,
}

/// All rows, in order.
pub(crate) fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row<'_>> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| Row { batch, at }))
}

type Read<T> = Result<T, QueryError>;

impl<'b> Row<'b> {
    fn column(&self, name: &str) -> Read<&'b ArrayRef> {
        self.batch.column_by_name(name).ok_or_else(|| internal(format!("the query gives no column {name}")))
    }

    /// `None` where the value is null.
    fn value<T>(&self, name: &str, read: impl FnOnce(&'b ArrayRef, usize) -> Option<T>) -> Read<Option<T>> {
        let column = self.column(name)?;
        if column.is_null(self.at) {
            return Ok(None);
        }
        let of_type = || internal(format!("column {name} is of type {}", column.data_type()));
        read(column, self.at).map(Some).ok_or_else(of_type)
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Read<String> {
        required(name, self.maybe_text(name)?)
    }

    /// A text or null.
    pub(crate) fn maybe_text(&self, name: &str) -> Read<Option<String>> {
        self.value(name, |column, at| text_at(column, at).map(str::to_owned))
    }

    /// A whole number of either width.
    pub(crate) fn long(&self, name: &str) -> Read<i64> {
        required(name, self.maybe_long(name)?)
    }

    /// A whole number or null.
    pub(crate) fn maybe_long(&self, name: &str) -> Read<Option<i64>> {
        self.value(name, |column, at| match column.data_type() {
            DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(at)),
            DataType::Int32 => Some(column.as_primitive::<Int32Type>().value(at).into()),
            _ => None,
        })
    }

    /// An amount.
    pub(crate) fn wei(&self, name: &str) -> Read<u128> {
        required(name, self.maybe_wei(name)?)
    }

    /// An amount or null.
    pub(crate) fn maybe_wei(&self, name: &str) -> Read<Option<u128>> {
        self.value(name, |column, at| u128::try_from(column.as_primitive_opt::<Decimal128Type>()?.value(at)).ok())
    }

    /// An instant.
    pub(crate) fn instant(&self, name: &str) -> Read<Timestamp> {
        let micros = |column: &'b ArrayRef, at| Some(column.as_primitive_opt::<TimestampMicrosecondType>()?.value(at));
        required(name, self.value(name, |column, at| Timestamp::from_micros(micros(column, at)?))?)
    }

    /// An address.
    pub(crate) fn address(&self, name: &str) -> Read<Address> {
        required(name, self.maybe_address(name)?)
    }

    /// An address or null.
    pub(crate) fn maybe_address(&self, name: &str) -> Read<Option<Address>> {
        self.value(name, |column, at| Address::parse_any_case(text_at(column, at)?).ok())
    }

    /// A hash.
    pub(crate) fn hash(&self, name: &str) -> Read<Hash> {
        required(name, self.maybe_hash(name)?)
    }

    /// A hash or null.
    pub(crate) fn maybe_hash(&self, name: &str) -> Read<Option<Hash>> {
        self.value(name, |column, at| parse_hash(text_at(column, at)?).ok())
    }

    /// A list of texts; none where it is null.
    pub(crate) fn texts(&self, name: &str) -> Read<Vec<String>> {
        let list = self.value(name, |column, at| {
            let items = column.as_list_opt::<i32>()?.value(at);
            (0..items.len()).map(|item| text_at(&items, item).map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        Ok(list?.unwrap_or_default())
    }

    /// The batch that holds the row's event, and its place there.
    pub(crate) fn place(&self) -> Read<Place> {
        let partition = u32::try_from(self.long("_partition")?).ok().and_then(Partition::new);
        let seq = u64::try_from(self.long("_seq")?).ok().and_then(Seq::new);
        let ordinal = u32::try_from(self.long("_ordinal")?).ok();
        match (partition, seq, ordinal) {
            (Some(partition), Some(seq), Some(ordinal)) => Ok(Place { partition, seq, ordinal }),
            _ => Err(QueryError::new(Code::Corrupt, "a row names a batch that cannot be")),
        }
    }

    /// Any value.
    pub(crate) fn scalar(&self, name: &str) -> Read<ScalarValue> {
        Ok(ScalarValue::try_from_array(self.column(name)?, self.at)?)
    }
}

fn text_at(column: &ArrayRef, at: usize) -> Option<&str> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(at)),
        DataType::Utf8View => Some(column.as_string_view().value(at)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(at)),
        _ => None,
    }
}

fn required<T>(name: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| internal(format!("column {name} is null")))
}

fn internal(message: String) -> QueryError {
    QueryError::new(Code::Internal, message)
}
