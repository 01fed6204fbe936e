//! A hash of a row that depends on its values alone.

use arrow::array::{
    Array, BooleanArray, Decimal128Array, Int32Array, Int64Array, ListArray, MapArray, StringArray, TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use tributary_schemas::tables::Table;
use tributary_schemas::units::keccak256;

use crate::error::{Error, Result};

enum Cells<'a> {
    Text(&'a StringArray),
    Int(&'a Int32Array),
    BigInt(&'a Int64Array),
    Instant(&'a TimestampMicrosecondArray),
    Amount(&'a Decimal128Array),
    Boolean(&'a BooleanArray),
    List(&'a ListArray, &'a StringArray),
    Map(&'a MapArray, &'a StringArray, &'a StringArray),
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array) -> Option<Self> {
        let any = array.as_any();
        let text = |array: &'a dyn Array| array.as_any().downcast_ref::<StringArray>();
        if let Some(list) = any.downcast_ref::<ListArray>() {
            return Some(Self::List(list, text(list.values())?));
        }
        if let Some(map) = any.downcast_ref::<MapArray>() {
            return Some(Self::Map(map, text(map.keys())?, text(map.values())?));
        }
        text(array)
            .map(Self::Text)
            .or_else(|| any.downcast_ref().map(Self::Int))
            .or_else(|| any.downcast_ref().map(Self::BigInt))
            .or_else(|| any.downcast_ref().map(Self::Instant))
            .or_else(|| any.downcast_ref().map(Self::Amount))
            .or_else(|| any.downcast_ref().map(Self::Boolean))
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Text(a) => *a,
            Self::Int(a) => *a,
            Self::BigInt(a) => *a,
            Self::Instant(a) => *a,
            Self::Amount(a) => *a,
            Self::Boolean(a) => *a,
            Self::List(a, _) => *a,
            Self::Map(a, ..) => *a,
        }
    }

    /// Writes a cell so that no two different rows have the same bytes: null or not, then a fixed width or a length.
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.array().is_null(row) {
            out.push(0);
            return;
        }
        out.push(1);
        match self {
            Self::Text(a) => write_text(a.value(row), out),
            Self::Int(a) => out.extend(a.value(row).to_be_bytes()),
            Self::BigInt(a) => out.extend(a.value(row).to_be_bytes()),
            Self::Instant(a) => out.extend(a.value(row).to_be_bytes()),
            Self::Amount(a) => out.extend(a.value(row).to_be_bytes()),
            Self::Boolean(a) => out.push(u8::from(a.value(row))),
            Self::List(list, texts) => {
                let (from, to) = span(list.value_offsets(), row);
                out.extend((to - from).to_be_bytes());
                (from..to).for_each(|item| write_text(texts.value(item), out));
            }
            Self::Map(map, keys, values) => {
                let (from, to) = span(map.value_offsets(), row);
                out.extend((to - from).to_be_bytes());
                for entry in from..to {
                    write_text(keys.value(entry), out);
                    write_text(values.value(entry), out);
                }
            }
        }
    }
}

fn span(offsets: &[i32], row: usize) -> (usize, usize) {
    let at = |i: usize| usize::try_from(offsets[i]).expect("Arrow checked that offsets are not negative");
    (at(row), at(row + 1))
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend(text.len().to_be_bytes());
    out.extend(text.as_bytes());
}

/// Hashes rows of one record batch.
pub(super) struct RowHasher<'a> {
    columns: Vec<Cells<'a>>,
}

impl<'a> RowHasher<'a> {
    pub(super) fn new(table: Table, rows: &'a RecordBatch) -> Result<Self> {
        let columns: Option<Vec<_>> = rows.columns().iter().map(|column| Cells::of(column.as_ref())).collect();
        let problem = || format!("a column has a type that no table has: {}", rows.schema());
        columns.map(|columns| Self { columns }).ok_or_else(|| Error::Rows { table: table.name(), problem: problem() })
    }

    /// The first 16 bytes of the keccak-256 of the row's cells. The buffer is only there to be used again.
    pub(super) fn hash(&self, row: usize, buffer: &mut Vec<u8>) -> u128 {
        buffer.clear();
        self.columns.iter().for_each(|column| column.write(row, buffer));
        let hash = keccak256(&*buffer);
        u128::from_be_bytes(hash.as_slice()[..16].try_into().expect("a hash has 32 bytes"))
    }
}
