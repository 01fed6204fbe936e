//! Columns under construction: one row after the other, cell by cell in the order of the table's columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder, ListArray, MapArray, NullBufferBuilder, StringArray,
    StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tributary_schemas::tables::Table;

/// Text cells, or the elements of lists. Values that repeat (the producer of every entry of an attribution) are copied from
/// the caller once and then within the buffer.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// One more than there are texts, the first being 0.
    ends: Vec<i32>,
}

impl Texts {
    fn new() -> Self {
        Self { bytes: Vec::new(), ends: vec![0] }
    }

    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.end();
    }

    fn end(&mut self) {
        let end = i32::try_from(self.bytes.len()).expect("the rows of one batch hold far less than 2 GiB of text");
        self.ends.push(end);
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        let Self { bytes, ends } = std::mem::replace(self, Self::new());
        StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(ends)), bytes.into(), nulls)
    }
}

/// One column.
enum Column {
    Text { texts: Texts, nulls: NullBufferBuilder },
    Int(Int32Builder),
    BigInt(Int64Builder),
    Instant(TimestampMicrosecondBuilder),
    Amount(Decimal128Builder),
    Boolean(BooleanBuilder),
    List { element: FieldRef, texts: Texts, ends: Vec<i32>, nulls: NullBufferBuilder },
    Map { entry: FieldRef, keys: Texts, values: Texts, ends: Vec<i32> },
}

impl Column {
    fn of(kind: &DataType) -> Self {
        match kind {
            DataType::Int32 => Self::Int(Int32Builder::new()),
            DataType::Int64 => Self::BigInt(Int64Builder::new()),
            DataType::Timestamp(..) => Self::Instant(TimestampMicrosecondBuilder::new().with_data_type(kind.clone())),
            DataType::Decimal128(..) => Self::Amount(Decimal128Builder::new().with_data_type(kind.clone())),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::List(element) => {
                Self::List { element: element.clone(), texts: Texts::new(), ends: vec![0], nulls: NullBufferBuilder::new(0) }
            }
            DataType::Map(entry, _) => {
                Self::Map { entry: entry.clone(), keys: Texts::new(), values: Texts::new(), ends: vec![0] }
            }
            _ => Self::Text { texts: Texts::new(), nulls: NullBufferBuilder::new(0) },
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text { texts, nulls } => Arc::new(texts.finish(nulls.finish())?),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::BigInt(builder) => Arc::new(builder.finish()),
            Self::Instant(builder) => Arc::new(builder.finish()),
            Self::Amount(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::List { element, texts, ends, nulls } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                Arc::new(ListArray::try_new(element.clone(), ends, Arc::new(texts.finish(None)?), nulls.finish())?)
            }
            Self::Map { entry, keys, values, ends } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                let DataType::Struct(fields) = entry.data_type() else {
                    return Err(ArrowError::SchemaError("the entries of a map are a struct".to_owned()));
                };
                let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish(None)?), Arc::new(values.finish(None)?)];
                let entries = StructArray::try_new(fields.clone(), columns, None)?;
                Arc::new(MapArray::try_new(entry.clone(), ends, entries, None, false)?)
            }
        })
    }
}

/// The rows of one table under construction.
pub(super) struct Rows {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// The column that the next cell goes to.
    at: usize,
    rows: usize,
}

impl Rows {
    pub(super) fn new(table: Table) -> Self {
        let schema = table.schema();
        let columns = schema.fields().iter().map(|field| Column::of(field.data_type())).collect();
        Self { schema, columns, at: 0, rows: 0 }
    }

    /// The rows so far, leaving none; `None` when there are none.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        assert_eq!(self.at, 0, "a row ends with its last column");
        if self.rows == 0 {
            return Ok(None);
        }
        self.rows = 0;
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.schema.clone(), columns).map(Some)
    }

    fn next(&mut self) -> &mut Column {
        let column = self.at;
        self.at += 1;
        if self.at == self.columns.len() {
            self.at = 0;
            self.rows += 1;
        }
        &mut self.columns[column]
    }

    pub(super) fn text(&mut self, text: &str) {
        match self.next() {
            Column::Text { texts, nulls } => {
                texts.push(text);
                nulls.append_non_null();
            }
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn optional_text(&mut self, text: Option<&str>) {
        match (self.next(), text) {
            (Column::Text { texts, nulls }, Some(text)) => {
                texts.push(text);
                nulls.append_non_null();
            }
            (Column::Text { texts, nulls }, None) => {
                texts.end();
                nulls.append_null();
            }
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    /// Bytes as lower-case 0x text.
    pub(super) fn hex(&mut self, bytes: &[u8]) {
        self.optional_hex(Some(bytes));
    }

    pub(super) fn optional_hex(&mut self, bytes: Option<&[u8]>) {
        match (self.next(), bytes) {
            (Column::Text { texts, nulls }, Some(bytes)) => {
                texts.bytes.extend_from_slice(b"0x");
                texts.bytes.extend(bytes.iter().flat_map(|byte| HEX[usize::from(*byte)]));
                texts.end();
                nulls.append_non_null();
            }
            (Column::Text { texts, nulls }, None) => {
                texts.end();
                nulls.append_null();
            }
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn int(&mut self, value: i32) {
        match self.next() {
            Column::Int(builder) => builder.append_value(value),
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn bigint(&mut self, value: i64) {
        self.optional_bigint(Some(value));
    }

    pub(super) fn optional_bigint(&mut self, value: Option<i64>) {
        match self.next() {
            Column::BigInt(builder) => builder.append_option(value),
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn instant(&mut self, micros: i64) {
        match self.next() {
            Column::Instant(builder) => builder.append_value(micros),
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn optional_amount(&mut self, value: Option<i128>) {
        match self.next() {
            Column::Amount(builder) => builder.append_option(value),
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn optional_boolean(&mut self, value: Option<bool>) {
        match self.next() {
            Column::Boolean(builder) => builder.append_option(value),
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn list<'a>(&mut self, items: impl IntoIterator<Item = &'a str>) {
        self.optional_list(Some(items));
    }

    pub(super) fn optional_list<'a>(&mut self, items: Option<impl IntoIterator<Item = &'a str>>) {
        match self.next() {
            Column::List { texts, ends, nulls, .. } => {
                nulls.append(items.is_some());
                for item in items.into_iter().flatten() {
                    texts.push(item);
                }
                ends.push(count(texts));
            }
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }

    pub(super) fn map<'a>(&mut self, entries: impl IntoIterator<Item = (&'a str, &'a str)>) {
        match self.next() {
            Column::Map { keys, values, ends, .. } => {
                for (key, value) in entries {
                    keys.push(key);
                    values.push(value);
                }
                ends.push(count(keys));
            }
            _ => unreachable!("the cell is filled in the order of the columns"),
        }
    }
}

fn count(texts: &Texts) -> i32 {
    i32::try_from(texts.len()).expect("a list has fewer elements than a batch has bytes")
}

const HEX: [[u8; 2]; 256] = {
    let digits = *b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};
