//! The openings of blobs at the headers of batches: made when they are first asked for, and kept.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tributary_da::proof::{HeaderOpening, open};
use tributary_da::{Committer, ListedBlob, committed};
use tributary_journal::{Journal, SealedBatch};
use tributary_query::cache::Cache;
use tributary_query::error::{Code, QueryError};
use tributary_schemas::ids::Seq;
use tributary_schemas::units::Hash;

use super::types::blob::Blob;

/// What an opening takes in the cache, beside its key: nine symbols and proofs.
const OPENING_BYTES: usize = size_of::<HeaderOpening>() + 128;

/// Makes openings, a few at a time and each once.
pub(crate) struct Openings {
    journal: Arc<Journal>,
    committer: Arc<Committer>,
    /// By the blob and the batch.
    kept: Arc<Cache<(Hash, Seq), Arc<HeaderOpening>>>,
    places: Arc<Semaphore>,
}

impl Openings {
    pub(crate) fn new(journal: Arc<Journal>, committer: Arc<Committer>, at_once_max: usize, bytes_max: usize) -> Self {
        let places = Semaphore::new(at_once_max.clamp(1, Semaphore::MAX_PERMITS));
        Self { journal, committer, kept: Arc::new(Cache::new(bytes_max)), places: Arc::new(places) }
    }

    /// The opening of a blob at the header of one of its batches.
    ///
    /// The payload is put together from the journal. That it is the blob's own, the opening itself shows: it is checked against
    /// the certificate before it is given.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub(crate) async fn of(&self, blob: &Blob, seq: Seq) -> Result<Arc<HeaderOpening>, QueryError> {
        let key = (blob.listed.blob_id, seq);
        if let Some(kept) = self.kept.get(&key) {
            return Ok(kept);
        }
        // Before the place is taken: the record comes with a wave of the request, and nobody else is to wait for that.
        let record = blob.record().await?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|error| internal(&error))?;
        // Whoever had the place before may have made it.
        if let Some(kept) = self.kept.get(&key) {
            return Ok(kept);
        }
        let (_, committed) = committed(&record.certificate.bytes)?;
        let batches = self.batches(&blob.listed).await?;
        let (committer, kept) = (Arc::clone(&self.committer), Arc::clone(&self.kept));
        // It goes on when nobody waits any more, and is kept: who asks again finds it.
        let made = tokio::task::spawn_blocking(move || {
            let opening = open(&tributary_da::blob::encode(&batches), seq, &committed, &committer).map(Arc::new);
            if let Ok(opening) = &opening {
                kept.put(key, Arc::clone(opening), OPENING_BYTES);
            }
            drop(place);
            opening
        });
        Ok(made.await.map_err(|error| internal(&error))??)
    }

    /// The batches of a blob, no more than fill one.
    async fn batches(&self, blob: &ListedBlob) -> Result<Vec<SealedBatch>, QueryError> {
        let mut batches = Vec::new();
        for seq in (blob.first_seq.get()..=blob.last_seq.get()).filter_map(Seq::new) {
            batches.push(self.journal.read(blob.partition, seq).await?);
        }
        Ok(batches)
    }
}

fn internal(error: &dyn std::error::Error) -> QueryError {
    QueryError::new(Code::Internal, error.to_string())
}
