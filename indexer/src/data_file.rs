//! One Parquet file of a table: rows in, bytes with their statistics and their digest out.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Hash, keccak256};

use crate::error::{Error, Result};
use crate::settings::LakeSettings;
use crate::stats;

/// Rows of one page. A reader who knows which batches it wants reads few rows besides, and pages compress well enough.
const PAGE_ROWS: usize = 1_024;

/// A finished data file. Its name ends in the keccak-256 of its bytes, so that the log, which names the file, also vouches
/// for its content; the random part keeps two writers of the same rows from sharing a file.
#[derive(Clone, Debug)]
pub(crate) struct DataFile {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
    pub(crate) stats: String,
}

/// Writes the rows of one table into one file, held in memory (compressed) until it is finished.
pub(crate) struct Encoder {
    table: Table,
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl Encoder {
    pub(crate) fn new(table: Table, settings: &LakeSettings) -> Result<Self> {
        let properties = properties(table, settings).map_err(Error::format("preparing a data file", table))?;
        let writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties))
            .map_err(Error::format("preparing a data file", table))?;
        Ok(Self { table, writer, rows: 0 })
    }

    /// Adds rows, in the order given. The columns must be those of the table.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        check_columns(self.table, rows)?;
        self.writer.write(rows).map_err(Error::format("encoding rows", self.table))?;
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// The file, or `None` when no row was written.
    pub(crate) fn finish(mut self) -> Result<Option<DataFile>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let metadata = self.writer.finish().map_err(Error::format("finishing a data file", self.table))?;
        let stats = stats::render(&self.table.schema(), &metadata, self.rows);
        let bytes = std::mem::take(self.writer.inner_mut());
        let name = file_name(keccak256(&bytes));
        Ok(Some(DataFile { name, bytes: Bytes::from(bytes), rows: self.rows, stats }))
    }
}

/// Encodes all rows into one file; `None` when there are none.
pub(crate) fn encode(table: Table, batches: &[RecordBatch], settings: &LakeSettings) -> Result<Option<DataFile>> {
    let mut encoder = Encoder::new(table, settings)?;
    for rows in batches {
        encoder.write(rows)?;
    }
    encoder.finish()
}

fn file_name(digest: Hash) -> String {
    format!("part-{}-{digest:x}.parquet", uuid::Uuid::new_v4().simple())
}

/// The keccak-256 that a data file's name promises; `None` for any other name.
pub(crate) fn digest_in_name(name: &str) -> Option<Hash> {
    let digest = name.strip_prefix("part-")?.strip_suffix(".parquet")?.split_once('-')?.1;
    tributary_schemas::units::parse_hash(&format!("0x{digest}")).ok()
}

fn check_columns(table: Table, rows: &RecordBatch) -> Result<()> {
    let expected = table.schema();
    let given = rows.schema();
    let fits = Arc::ptr_eq(&expected, &given)
        || (expected.fields().len() == given.fields().len()
            && expected.fields().iter().zip(given.fields()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type()));
    if fits {
        return Ok(());
    }
    let names = given.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect::<Vec<_>>().join(", ");
    Err(Error::Rows { table: table.name(), problem: format!("their columns are {names}") })
}

fn properties(table: Table, settings: &LakeSettings) -> parquet::errors::Result<WriterProperties> {
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("Tributary ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(settings.zstd_level)?))
        .set_max_row_group_row_count(Some(settings.row_group_rows_max))
        .set_write_batch_size(PAGE_ROWS)
        .set_data_page_row_count_limit(PAGE_ROWS);
    for field in table.schema().fields() {
        // Counters, instants and coordinates rise slowly: deltas are smaller than a dictionary and quicker to write.
        if matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::Timestamp(..)) {
            let column = ColumnPath::from(field.name().as_str());
            builder = builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        } else if has_many_values(field.name()) {
            // A dictionary would only grow to its limit, and every reader of one row would have to read it.
            builder = builder.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
        }
    }
    Ok(builder.build())
}

/// Whether nearly every event has its own value.
fn has_many_values(column: &str) -> bool {
    column.ends_with("_hash") || matches!(column, "event_id" | "key" | "inference_id" | "contribution_id" | "traceparent")
}
