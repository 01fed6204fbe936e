//! The formats of an answer, and what writes each.

use std::collections::HashSet;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::arrow_stream::ArrowStream;
use super::csv::Csv;
use super::json::{Json, Lines};
use super::parquet_file::ParquetFile;
use crate::error::{Code, QueryError};

/// A format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// Comma-separated, with a header.
    Csv,
    /// Arrow's stream of record batches.
    ArrowStream,
    /// One Parquet file.
    Parquet,
}

impl Format {
    /// All, the default first.
    pub const ALL: [Format; 5] = [Format::Json, Format::Ndjson, Format::Csv, Format::ArrowStream, Format::Parquet];

    /// The media type that asks for it, and under which it is sent.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv",
            Format::ArrowStream => "application/vnd.apache.arrow.stream",
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// A writer for rows of this schema.
    ///
    /// # Errors
    /// `duplicate_columns`, `unsupported_type`.
    pub fn encoder(self, schema: &SchemaRef) -> Result<Box<dyn Encoder>, QueryError> {
        if matches!(self, Format::Json | Format::Ndjson | Format::Parquet) {
            names_differ(schema)?;
        }
        Ok(match self {
            Format::Json => Box::new(Json::default()),
            Format::Ndjson => Box::new(Lines),
            Format::Csv => Box::new(Csv::new(schema)),
            Format::ArrowStream => Box::new(ArrowStream::new(schema)?),
            Format::Parquet => Box::new(ParquetFile::new(schema)?),
        })
    }
}

fn names_differ(schema: &SchemaRef) -> Result<(), QueryError> {
    let mut names = HashSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        None => Ok(()),
        Some(field) => {
            let message = format!("two columns are called {}; tell them apart with AS", field.name());
            Err(QueryError::new(Code::DuplicateColumns, message))
        }
    }
}

/// Writes rows as bytes. What is ready is appended to `out`; some may be held back until `end`.
pub trait Encoder: Send {
    /// Writes the rows.
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError>;

    /// Writes what ends an answer.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError>;
}
