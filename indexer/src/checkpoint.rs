//! Checkpoints of a table's log: the whole state at one version in one Parquet object.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, Int32Array, Int64Array, StringArray, StructArray};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::{Add, Remove};
use deltalake_core::logstore::{StorageConfig, default_logstore};
use deltalake_core::protocol::checkpoints::create_checkpoint;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tributary_schemas::units::keccak256;
use url::Url;

use crate::digests;
use crate::error::{Error, Result};
use crate::log::{Put, TableLog};
use crate::state::TableState;

/// Writes the checkpoint of a version: first its digests, then the checkpoint, then the pointer to it, so that at any
/// crash what lies on the store has its digest there. `false`: another writer has this checkpoint in hand.
pub(crate) async fn write(log: &TableLog, version: i64) -> Result<bool> {
    let captured = Arc::new(Capture { inner: Arc::clone(&log.store), written: InMemory::new() });
    build(log, version, Arc::clone(&captured)).await?;
    let (checkpoint, pointer) = (log.checkpoint_path(version), log.last_checkpoint_path());
    let (Some(checkpoint_bytes), Some(pointer_bytes)) = (captured.take(&checkpoint).await?, captured.take(&pointer).await?)
    else {
        return Ok(false);
    };
    let sidecar = digests::render(&[
        (format!("_delta_log/{version:020}.checkpoint.parquet"), keccak256(&checkpoint_bytes)),
        ("_delta_log/_last_checkpoint".to_owned(), keccak256(&pointer_bytes)),
    ]);
    if log.put_if_absent(&log.checkpoint_digest_path(version), &sidecar).await? == Put::Lost {
        return Ok(false);
    }
    log.put(&checkpoint, checkpoint_bytes).await?;
    log.put(&pointer, pointer_bytes).await?;
    Ok(true)
}

async fn build(log: &TableLog, version: i64, captured: Arc<Capture>) -> Result<()> {
    let path = log.checkpoint_path(version);
    let failed = |problem: String| Error::Format { what: "writing a checkpoint", table: log.table.name(), problem };
    let location = Url::parse(&format!("memory:///{}/", log.root)).map_err(|e| Error::corrupt(&path, e))?;
    let prefixed = Arc::new(PrefixStore::new(Arc::clone(&captured) as Arc<dyn ObjectStore>, log.root.clone()));
    let mut table = DeltaTable::new(default_logstore(prefixed, captured, &location, &StorageConfig::default()));
    table.load_version(version.unsigned_abs()).await.map_err(|e| failed(e.to_string()))?;
    create_checkpoint(&table, None).await.map_err(|e| failed(e.to_string()))
}

/// Fills an empty state from a checkpoint.
pub(crate) fn read(state: &mut TableState, version: i64, path: &Path, bytes: Bytes) -> Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(8_192).build())
        .map_err(|e| Error::corrupt(path, e))?;
    for batch in reader {
        let batch = batch.map_err(|e| Error::corrupt(path, e))?;
        read_batch(state, &batch).map_err(|problem| match problem {
            Problem::Shape(what) => Error::corrupt(path, format!("column {what} is not as the Delta protocol has it")),
            Problem::State(error) => error,
        })?;
    }
    state.version = version;
    state.checkpoint = version;
    Ok(())
}

enum Problem {
    Shape(&'static str),
    State(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::State(error)
    }
}

fn read_batch(state: &mut TableState, batch: &RecordBatch) -> Result<(), Problem> {
    for (row, action) in present(batch, "protocol")? {
        let version = |name| column::<Int32Array>(action, name).map(|c| c.value(row));
        state.check_versions(version("minReaderVersion")?, version("minWriterVersion")?)?;
    }
    for (row, action) in present(batch, "txn")? {
        let app = column::<StringArray>(action, "appId")?.value(row).to_owned();
        state.txns.insert(app, column::<Int64Array>(action, "version")?.value(row));
    }
    for (row, action) in present(batch, "add")? {
        let stats = column::<StringArray>(action, "stats")?;
        let add = Add {
            path: column::<StringArray>(action, "path")?.value(row).to_owned(),
            size: column::<Int64Array>(action, "size")?.value(row),
            modification_time: column::<Int64Array>(action, "modificationTime")?.value(row),
            stats: stats.is_valid(row).then(|| stats.value(row).to_owned()),
            ..Add::default()
        };
        state.add(&add)?;
    }
    for (row, action) in present(batch, "remove")? {
        let deleted = column::<Int64Array>(action, "deletionTimestamp")?;
        state.remove(&Remove {
            path: column::<StringArray>(action, "path")?.value(row).to_owned(),
            deletion_timestamp: deleted.is_valid(row).then(|| deleted.value(row)),
            ..Remove::default()
        });
    }
    Ok(())
}

/// The rows in which an action is present.
fn present<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<Vec<(usize, &'a StructArray)>, Problem> {
    let Some(column) = batch.column_by_name(name) else { return Ok(Vec::new()) };
    let action = column.as_any().downcast_ref::<StructArray>().ok_or(Problem::Shape(name))?;
    Ok((0..action.len()).filter(|row| action.is_valid(*row)).map(|row| (row, action)).collect())
}

fn column<'a, A: Array + 'static>(action: &'a StructArray, name: &'static str) -> Result<&'a A, Problem> {
    action.column_by_name(name).and_then(|c| c.as_any().downcast_ref()).ok_or(Problem::Shape(name))
}

/// A listing in the order of names. Replay counts on that order, and a local directory does not list in it.
fn sorted(listing: BoxStream<'static, object_store::Result<ObjectMeta>>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
    let all = listing.collect::<Vec<_>>().map(|mut objects| {
        objects.sort_by(|a, b| match (a, b) {
            (Ok(a), Ok(b)) => a.location.cmp(&b.location),
            // An error first: nothing after it is looked at.
            (a, b) => a.is_ok().cmp(&b.is_ok()),
        });
        futures::stream::iter(objects)
    });
    all.into_stream().flatten().boxed()
}

/// Reads from the store, writes into memory: so the digest of a checkpoint is known before any byte of it is on the store.
#[derive(Debug)]
struct Capture {
    inner: Arc<dyn ObjectStore>,
    written: InMemory,
}

impl Capture {
    async fn take(&self, path: &Path) -> Result<Option<Bytes>> {
        match self.written.get(path).await {
            Ok(found) => found.bytes().await.map(Some).map_err(Error::store("reading", path)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::store("reading", path)(error)),
        }
    }
}

impl fmt::Display for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checkpoint writer over {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Capture {
    async fn put_opts(&self, location: &Path, payload: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        self.written.put(location, payload).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.written.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        match self.written.get_opts(location, options.clone()).await {
            Err(object_store::Error::NotFound { .. }) => self.inner.get_opts(location, options).await,
            answer => answer,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.written.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        sorted(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        sorted(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.written.copy_opts(from, to, options).await
    }
}
