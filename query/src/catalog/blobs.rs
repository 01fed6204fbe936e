//! The table `blobs`: the recorded certificates.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;
use tributary_da::BlobRecord;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};

/// The columns of `blobs`.
pub(crate) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("blob_id", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("first_seq", DataType::Int64, false),
        Field::new("last_seq", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("commitment", DataType::Utf8, false),
        Field::new("certificate", DataType::Utf8, false),
        Field::new("backend", DataType::Utf8, false),
        Field::new("certified_at", time(), false),
        Field::new("expires_at", time(), true),
    ]))
});

/// Rows of one batch of the table.
const ROWS: usize = 1024;

/// The blobs that hold at least one batch of a cut, found by batch.
#[derive(Debug)]
pub(crate) struct BlobIndex {
    /// In ascending order of partition and first batch.
    blobs: Vec<BlobRecord>,
}

impl BlobIndex {
    pub(crate) fn new(blobs: Vec<BlobRecord>, cut: &Cut) -> Self {
        let mut blobs: Vec<_> = blobs.into_iter().filter(|blob| cut.covers(blob.partition, blob.first_seq)).collect();
        blobs.sort_by_key(|blob| (blob.partition, blob.first_seq));
        Self { blobs }
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> &[BlobRecord] {
        &self.blobs
    }

    /// The blob that holds the batch.
    pub(crate) fn blob_of(&self, partition: Partition, seq: Seq) -> Option<&BlobRecord> {
        let after = self.blobs.partition_point(|blob| (blob.partition, blob.first_seq) <= (partition, seq));
        self.blobs[..after].last().filter(|blob| blob.partition == partition && seq <= blob.last_seq)
    }
}

/// `blobs` at the cut of the index.
pub(crate) fn table(index: Arc<BlobIndex>) -> Result<StreamingTable> {
    StreamingTable::try_new(Arc::clone(&SCHEMA), vec![Arc::new(Rows { index })])
}

#[derive(Debug)]
struct Rows {
    index: Arc<BlobIndex>,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let index = Arc::clone(&self.index);
        let starts = (0..index.blobs.len()).step_by(ROWS);
        let rows = starts.map(move |start| rows_of(&index.blobs[start..index.blobs.len().min(start + ROWS)]));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&SCHEMA), stream::iter(rows)))
    }
}

fn rows_of(blobs: &[BlobRecord]) -> Result<RecordBatch> {
    let (mut blob_id, mut partition) = (StringBuilder::new(), Int32Builder::new());
    let (mut first, mut last, mut bytes) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut commitment, mut certificate, mut backend) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let mut certified_at = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut expires_at = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    for blob in blobs {
        blob_id.append_value(format!("{:#x}", blob.blob_id));
        partition.append_value(blob.partition.as_i32());
        first.append_value(blob.first_seq.as_i64());
        last.append_value(blob.last_seq.as_i64());
        bytes.append_value(i64::try_from(blob.certificate.payload_bytes).unwrap_or(i64::MAX));
        commitment.append_value(hex(&blob.certificate.commitment));
        certificate.append_value(hex(&blob.certificate.bytes));
        backend.append_value(&blob.certificate.backend);
        certified_at.append_value(blob.certificate.certified_at.micros());
        expires_at.append_option(blob.certificate.expires_at.map(|at| at.micros()));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(blob_id.finish()),
        Arc::new(partition.finish()),
        Arc::new(first.finish()),
        Arc::new(last.finish()),
        Arc::new(bytes.finish()),
        Arc::new(commitment.finish()),
        Arc::new(certificate.finish()),
        Arc::new(backend.finish()),
        Arc::new(certified_at.finish()),
        Arc::new(expires_at.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// 0x and the bytes in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
