//! Whom `verify` and a rebuild ask: a backend with the archive behind it, and a memory of which of the two gave each payload.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use parking_lot::Mutex;
use serde::Serialize;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::{Hash, keccak256};

use crate::archive::Archive;
use crate::client::{Certificate, DaClient, Wanted};
use crate::committed;
use crate::committer::Committer;
use crate::error::DaError;
use crate::local;
use crate::metrics::BackendMetrics;
use crate::placement::read;

/// What came from the archive alone, because the backend did not give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FromArchive {
    /// Payloads of blobs and of pages of manifests, each counted once.
    pub blobs_from_archive: u64,
    /// Those of them that the backend keeps no longer, because their time is over.
    pub blobs_expired: u64,
    /// Why the backend did not give the first of them: the first that has not expired, if there is one.
    pub archive_reason: Option<String>,
}

impl fmt::Display for FromArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blobs_from_archive: all, blobs_expired: expired, archive_reason } = self;
        let reason = archive_reason.as_deref().unwrap_or_default();
        write!(f, "{all} payloads of blobs and manifests from the archive alone")?;
        match expired {
            0 => write!(f, ": {reason}"),
            _ if expired == all => write!(f, ", for they have expired: {reason}"),
            _ => write!(f, ", {expired} of them for they have expired, the others: {reason}"),
        }
    }
}

/// A [`DaClient`] for readers, as an [`Archive`] is one, that remembers what the archive made up for. What it remembers grows with the
/// number of payloads that are read, so each check and each rebuild has one of its own.
pub struct Witness {
    reader: Archive,
    asked: Arc<Asked>,
    store: Arc<dyn ObjectStore>,
    tally: Mutex<Tally>,
}

/// The backend, and what it did not give so far, by the ids of blobs.
struct Asked {
    backend: Arc<dyn DaClient>,
    missed: Mutex<BTreeMap<Hash, Missed>>,
}

/// Why the backend did not give a payload.
struct Missed {
    kind: Kind,
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Another one has certified it, so that it was not asked.
    Another,
    /// Its time is over.
    Expired,
    /// It is gone there, or what it gave is not what was certified.
    Wrong,
    /// It did not answer.
    Silent,
}

#[derive(Default)]
struct Tally {
    counted: BTreeSet<Hash>,
    expired: u64,
    first: Option<String>,
    first_expired: Option<String>,
}

impl Witness {
    /// Over a backend, and the archive in this store.
    pub fn new(
        backend: Arc<dyn DaClient>,
        store: Arc<dyn ObjectStore>,
        committer: Arc<Committer>,
        metrics: BackendMetrics,
    ) -> Self {
        let asked = Arc::new(Asked { backend, missed: Mutex::default() });
        let behind = Arc::clone(&asked) as Arc<dyn DaClient>;
        let reader = Archive::new(behind, Arc::clone(&store), committer, metrics);
        Self { reader, asked, store, tally: Mutex::default() }
    }

    /// What came from the archive alone so far.
    pub fn from_archive(&self) -> FromArchive {
        let tally = self.tally.lock();
        FromArchive {
            blobs_from_archive: tally.counted.len() as u64,
            blobs_expired: tally.expired,
            archive_reason: tally.first.clone().or_else(|| tally.first_expired.clone()),
        }
    }

    /// Whether a payload that did not come back is nowhere, rather than damaged: the archive lacks it, and the backend at hand has not
    /// certified it, or keeps it no longer. Then it says where it was looked for.
    ///
    /// # Errors
    /// [`DaError::Reject`] if the certificate cannot be read, [`DaError::Retry`] if the store does not answer.
    pub async fn absent(&self, wanted: &Wanted) -> Result<Option<String>, DaError> {
        let (theirs, committed) = committed::committed(&wanted.certificate)?;
        let name = committed.payload_name();
        if read(&self.store, &name).await?.is_some() {
            return Ok(None);
        }
        let missed = self.asked.missed.lock();
        let Some(Missed { kind, reason }) = missed.get(&keccak256(&wanted.certificate)) else { return Ok(None) };
        // The local backend has its payloads where the archive has them.
        let is_absent = matches!(kind, Kind::Another | Kind::Expired) || (theirs == local::BACKEND && *kind == Kind::Wrong);
        Ok(is_absent.then(|| format!("the archive does not have {name}, and {reason}")))
    }
}

impl Asked {
    fn note(&self, wanted: &Wanted, kind: Kind, reason: String) {
        self.missed.lock().insert(keccak256(&wanted.certificate), Missed { kind, reason });
    }
}

impl Tally {
    fn add(&mut self, blob_id: Hash, missed: Missed) {
        if !self.counted.insert(blob_id) {
            return;
        }
        let first = match missed.kind {
            Kind::Expired => {
                self.expired += 1;
                &mut self.first_expired
            }
            Kind::Another | Kind::Wrong | Kind::Silent => &mut self.first,
        };
        first.get_or_insert(missed.reason);
    }
}

#[async_trait]
impl DaClient for Witness {
    fn backend(&self) -> &'static str {
        self.reader.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.reader.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.reader.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        self.reader.disperse(payload).await
    }

    async fn under_way(&self, content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        self.reader.under_way(content_hash).await
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let (theirs, _) = committed::committed(&wanted.certificate)?;
        let ours = self.asked.backend();
        if !self.asked.serves(theirs) {
            let reason = format!("`{theirs}` has certified it, not the backend at hand, `{ours}`");
            self.asked.note(wanted, Kind::Another, reason);
        }
        let payload = self.reader.retrieve(wanted).await?;
        let blob_id = keccak256(&wanted.certificate);
        let missed = self.asked.missed.lock().remove(&blob_id);
        if let Some(missed) = missed {
            self.tally.lock().add(blob_id, missed);
        }
        Ok(payload)
    }
}

#[async_trait]
impl DaClient for Asked {
    fn backend(&self) -> &'static str {
        self.backend.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.backend.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.backend.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        self.backend.disperse(payload).await
    }

    async fn under_way(&self, content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        self.backend.under_way(content_hash).await
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let retrieved = self.backend.retrieve(wanted).await;
        match &retrieved {
            Ok(_) => drop(self.missed.lock().remove(&keccak256(&wanted.certificate))),
            Err(error) => {
                let kind = match error {
                    DaError::Expired { .. } => Kind::Expired,
                    DaError::Corrupt { .. } | DaError::Reject { .. } => Kind::Wrong,
                    _ => Kind::Silent,
                };
                self.note(wanted, kind, error.to_string());
            }
        }
        retrieved
    }
}

#[cfg(test)]
mod tests;
