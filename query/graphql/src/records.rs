//! The records of blobs with their certificates: read when they are first asked for, and kept for the other events of the blob.

use std::sync::Arc;

use tributary_da::{BlobRecord, ListedBlob};
use tributary_query::cache::Cache;
use tributary_query::error::QueryError;
use tributary_query::session::Session;
use tributary_schemas::units::Hash;

/// What all records that are kept may take together.
const BYTES_MAX: usize = 8 << 20;
/// What a record takes beside its certificate, with its key.
const RECORD_BYTES: usize = size_of::<BlobRecord>() + 128;

pub(crate) struct Records {
    /// By the id of the blob.
    kept: Cache<Hash, Arc<BlobRecord>>,
}

impl Records {
    pub(crate) fn new() -> Self {
        Self { kept: Cache::new(BYTES_MAX) }
    }

    /// The records of blobs in their order, each of which may have an error of its own.
    pub(crate) async fn of(&self, session: &Session, blobs: &[ListedBlob]) -> Vec<Result<Arc<BlobRecord>, QueryError>> {
        let mut found: Vec<_> = blobs.iter().map(|blob| self.kept.get(&blob.blob_id).map(Ok)).collect();
        let missing = blobs.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(blob, _)| *blob);
        let mut read = session.blob_records(missing.collect()).await.into_iter();
        for place in found.iter_mut().filter(|place| place.is_none()) {
            *place = read.next().map(|record| record.map(|record| self.keep(record)));
        }
        found.into_iter().flatten().collect()
    }

    fn keep(&self, record: BlobRecord) -> Arc<BlobRecord> {
        let (blob_id, bytes) = (record.blob_id, RECORD_BYTES + record.certificate.bytes.len());
        let record = Arc::new(record);
        self.kept.put(blob_id, Arc::clone(&record), bytes);
        record
    }
}
