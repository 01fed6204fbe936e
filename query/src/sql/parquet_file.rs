//! A Parquet file, written row group by row group.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::encoder::Encoder;
use crate::error::{Code, QueryError};

/// A row group is closed, and so can be sent, once it is about this large.
const ROW_GROUP_BYTES: usize = 8 << 20;

/// Writes row groups of bounded size, compressed with zstd.
pub(crate) struct ParquetFile {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetFile {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, QueryError> {
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer =
            ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties)).map_err(|error| unsupported(&error))?;
        Ok(Self { writer })
    }
}

fn unsupported(error: &ParquetError) -> QueryError {
    QueryError::new(Code::UnsupportedType, error.to_string())
}

impl Encoder for ParquetFile {
    fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.writer.write(rows).map_err(|error| unsupported(&error))?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES {
            self.writer.flush().map_err(|error| unsupported(&error))?;
        }
        out.append(self.writer.inner_mut());
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.writer.finish().map_err(|error| unsupported(&error))?;
        out.append(self.writer.inner_mut());
        Ok(())
    }
}
