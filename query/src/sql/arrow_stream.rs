//! Arrow's stream of record batches.

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

use super::encoder::Encoder;
use crate::error::{Code, QueryError};

/// Writes messages of Arrow's interprocess format.
pub(crate) struct ArrowStream {
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowStream {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, QueryError> {
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), schema).map_err(|error| unsupported(&error))? })
    }
}

fn unsupported(error: &ArrowError) -> QueryError {
    QueryError::new(Code::UnsupportedType, error.to_string())
}

impl Encoder for ArrowStream {
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.writer.write(rows).map_err(|error| unsupported(&error))?;
        out.append(self.writer.get_mut());
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.writer.finish().map_err(|error| unsupported(&error))?;
        out.append(self.writer.get_mut());
        Ok(())
    }
}
