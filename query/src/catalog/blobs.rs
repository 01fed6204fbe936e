//! The table `blobs`: the recorded certificates.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Builder, Int64Builder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use futures::{StreamExt, TryStreamExt, stream};
use tributary_da::{Blobs, Certificates, ListedBlob};

use crate::error::QueryError;

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

/// The place of the column for which records are read again.
const CERTIFICATE: usize = 6;

/// Rows of one batch of the table: fewer with certificates, which have up to 32,000 bytes.
const ROWS: usize = 1024;
const ROWS_WITH_CERTIFICATES: usize = 128;

/// `blobs` at one cut.
#[derive(Debug)]
pub(crate) struct BlobsTable {
    blobs: Arc<Blobs>,
    certificates: Arc<Certificates>,
}

impl BlobsTable {
    pub(crate) fn new(blobs: Arc<Blobs>, certificates: Arc<Certificates>) -> Self {
        Self { blobs, certificates }
    }
}

#[async_trait]
impl TableProvider for BlobsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Rows are tested before their certificates are read.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let tested = |filter: &&Expr| match filter.column_refs().iter().any(|column| column.name == "certificate") {
            true => TableProviderFilterPushDown::Unsupported,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(tested).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let is_wanted = projection.is_none_or(|columns| columns.contains(&CERTIFICATE));
        let certificates = is_wanted.then(|| Arc::clone(&self.certificates));
        let test = match conjunction(filters.iter().cloned()).filter(|_| is_wanted) {
            Some(test) => Some(state.create_physical_expr(test, &DFSchema::try_from(Arc::clone(&SCHEMA))?)?),
            None => None,
        };
        let rows = Arc::new(Rows { blobs: Arc::clone(&self.blobs), test, certificates, limit });
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&SCHEMA), vec![rows], projection, None, false, limit)?))
    }
}

/// Makes rows as they are asked for.
#[derive(Clone, Debug)]
struct Rows {
    blobs: Arc<Blobs>,
    /// What is known of the rows that are wanted.
    test: Option<Arc<dyn PhysicalExpr>>,
    /// `None`: nobody asks for them, and their column stays empty.
    certificates: Option<Arc<Certificates>>,
    /// So many rows are enough.
    limit: Option<usize>,
}

impl Rows {
    /// Those of these blobs whose rows are wanted.
    fn wanted(&self, listed: Vec<ListedBlob>) -> Result<Vec<ListedBlob>> {
        let Some(test) = &self.test else { return Ok(listed) };
        let rows = rows_of(&listed, &vec![String::new(); listed.len()])?;
        let wanted = test.evaluate(&rows)?.into_array(listed.len())?;
        let wanted = as_boolean_array(&wanted)?;
        Ok(listed.into_iter().zip(wanted).filter(|(_, wanted)| *wanted == Some(true)).map(|(blob, _)| blob).collect())
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.clone();
        let step = if self.certificates.is_some() { ROWS_WITH_CERTIFICATES } else { ROWS };
        // With a test more rows may be needed than are wanted.
        let step = self.limit.filter(|_| self.test.is_none()).map_or(step, |limit| step.min(limit.max(1)));
        let rows = stream::iter((0..self.blobs.len()).step_by(step)).then(move |start| {
            let listed = rows.wanted(rows.blobs.from(start).take(step).copied().collect());
            let certificates = rows.certificates.clone();
            async move {
                let listed = listed?;
                let texts = match certificates {
                    Some(certificates) => texts_of(&certificates, &listed).await?,
                    None => vec![String::new(); listed.len()],
                };
                rows_of(&listed, &texts)
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&SCHEMA), rows))
    }
}

async fn texts_of(certificates: &Certificates, listed: &[ListedBlob]) -> Result<Vec<String>, QueryError> {
    let records = certificates.records(listed.iter().copied());
    Ok(records.map_ok(|record| hex(&record.certificate.bytes)).try_collect().await?)
}

fn rows_of(blobs: &[ListedBlob], certificates: &[String]) -> Result<RecordBatch> {
    let (mut blob_id, mut partition) = (StringBuilder::new(), Int32Builder::new());
    let (mut first, mut last, mut bytes) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut commitment, mut backend) = (StringBuilder::new(), StringBuilder::new());
    let mut certified_at = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut expires_at = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    for blob in blobs {
        blob_id.append_value(format!("{:#x}", blob.blob_id));
        partition.append_value(blob.partition.as_i32());
        first.append_value(blob.first_seq.as_i64());
        last.append_value(blob.last_seq.as_i64());
        bytes.append_value(i64::try_from(blob.payload_bytes).unwrap_or(i64::MAX));
        commitment.append_value(hex(&blob.commitment));
        backend.append_value(blob.backend);
        certified_at.append_value(blob.certified_at.micros());
        expires_at.append_option(blob.expires_at.map(|at| at.micros()));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(blob_id.finish()),
        Arc::new(partition.finish()),
        Arc::new(first.finish()),
        Arc::new(last.finish()),
        Arc::new(bytes.finish()),
        Arc::new(commitment.finish()),
        Arc::new(StringArray::from_iter_values(certificates)),
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
