//! Comma-separated values as in RFC 4180, lines ended by a line feed. A null is an empty field, an empty text `""`; lists, maps
//! and structures are written as JSON.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::cell::Cells;
use super::encoder::Encoder;
use crate::error::QueryError;

/// Writes a header and then the rows.
pub(crate) struct Csv {
    /// The header, until it is written.
    header: Option<Vec<u8>>,
}

impl Csv {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let mut header = Vec::new();
        for (place, field) in schema.fields().iter().enumerate() {
            if place > 0 {
                header.push(b',');
            }
            write_field(field.name().as_bytes(), &mut header);
        }
        header.push(b'\n');
        Self { header: Some(header) }
    }

    fn write_header(&mut self, out: &mut Vec<u8>) {
        if let Some(header) = self.header.take() {
            out.extend_from_slice(&header);
        }
    }
}

impl Encoder for Csv {
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.write_header(out);
        let columns = rows.columns().iter().map(|column| Cells::of(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let mut text = Vec::new();
        for row in 0..rows.num_rows() {
            for (place, cells) in columns.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                if !cells.is_null(row) {
                    text.clear();
                    cells.write_plain(row, &mut text);
                    write_field(&text, out);
                }
            }
            out.push(b'\n');
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.write_header(out);
        Ok(())
    }
}

fn write_field(text: &[u8], out: &mut Vec<u8>) {
    let quoted = text.is_empty() || text.iter().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'));
    if !quoted {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
