//! JSON: an array of objects, or one object a line.

use arrow::array::Array;
use arrow::record_batch::RecordBatch;

use super::cell::{Cells, write_text};
use super::encoder::Encoder;
use crate::error::QueryError;

/// An array of objects, one a line, so that it can be read by eye.
#[derive(Default)]
pub(crate) struct Json {
    begun: bool,
}

impl Encoder for Json {
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let objects = Objects::of(rows)?;
        for row in 0..rows.num_rows() {
            out.extend_from_slice(if self.begun { b",\n" } else { b"[" });
            self.begun = true;
            objects.write(row, out);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        out.extend_from_slice(if self.begun { b"]\n" } else { b"[]\n" });
        Ok(())
    }
}

/// One object a line.
pub(crate) struct Lines;

impl Encoder for Lines {
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let objects = Objects::of(rows)?;
        for row in 0..rows.num_rows() {
            objects.write(row, out);
            out.push(b'\n');
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }
}

/// The rows of a batch as objects: per column the text `"name":` and what writes its cells.
struct Objects<'a> {
    columns: Vec<(Vec<u8>, Cells<'a>)>,
}

impl<'a> Objects<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, QueryError> {
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let mut name = Vec::new();
            write_text(field.name(), &mut name);
            name.push(b':');
            let column: &'a dyn Array = column.as_ref();
            columns.push((name, Cells::of(column)?));
        }
        Ok(Self { columns })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, (name, cells)) in self.columns.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            cells.write_json(row, out);
        }
        out.push(b'}');
    }
}
