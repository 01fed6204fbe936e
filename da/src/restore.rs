//! A store into which everything that was published is brought again, as it was.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use tributary_journal::Genesis;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::keccak256;

use crate::archive;
use crate::client::{Certificate, DaClient, Wanted};
use crate::committed::{self, committed};
use crate::committer::Committer;
use crate::eigenda;
use crate::error::DaError;
use crate::local::{self, LocalCertificate};
use crate::manifest::ManifestRecord;
use crate::metrics::Metrics;
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::plan::Plan;
use crate::record::BlobRecord;
use crate::retry::Patience;
use crate::settings::Settings;

/// The store that is restored. Each object is put if it is absent, so that what was begun before is gone on with.
pub struct Restored {
    store: Arc<dyn ObjectStore>,
    patience: Patience,
}

impl Restored {
    /// Into this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, patience: Patience::new(&Settings::default(), Metrics::default()) }
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The copy of the genesis record.
    ///
    /// # Errors
    /// [`DaError::Reject`] if something else lies under the name, [`DaError::Retry`] if the store does not answer; so for all of these.
    pub async fn genesis(&self, genesis: &Genesis) -> Result<(), DaError> {
        self.put(&Path::from(names::GENESIS), &genesis.encode()).await
    }

    /// A blob whose batches are in the journal: its plan, its payload in the archive, its certificate. When it was planned is not
    /// known any more; it was before it was certified.
    pub async fn blob(&self, blob: &BlobRecord, payload: &Bytes) -> Result<(), DaError> {
        let plan = Plan {
            deployment: blob.deployment,
            partition: blob.partition,
            first_seq: blob.first_seq,
            last_seq: blob.last_seq,
            payload_hash: blob.certificate.content_hash,
            payload_bytes: blob.certificate.payload_bytes,
            planned_at: blob.certificate.certified_at,
        };
        self.put(&names::plan(blob.partition, blob.first_seq), &plan.encode()).await?;
        self.payload(&blob.certificate, payload).await?;
        self.put(&names::certificate(blob.partition, blob.first_seq), &blob.encode()).await
    }

    /// A page of a manifest: its payload in the archive and its certificate. The times beside a certificate may be others than
    /// at an earlier attempt, which had them from elsewhere.
    pub async fn page(&self, record: &ManifestRecord, payload: &Bytes) -> Result<(), DaError> {
        self.payload(&record.certificate, payload).await?;
        let name = names::manifest(record.epoch, record.page);
        match put_once(&self.store, &name, &record.encode(), &self.patience).await? {
            Placed::Ours => Ok(()),
            Placed::Theirs(found) => {
                let theirs = ManifestRecord::decode(record.epoch, record.page, &found)?;
                match theirs.certificate.bytes == record.certificate.bytes && theirs.last == record.last {
                    true => Ok(()),
                    false => Err(taken(&name)),
                }
            }
        }
    }

    async fn payload(&self, certificate: &Certificate, payload: &Bytes) -> Result<(), DaError> {
        let (_, committed) = committed(&certificate.bytes)?;
        archive::put(&self.store, &committed, payload, &self.patience).await
    }

    async fn put(&self, name: &Path, bytes: &Bytes) -> Result<(), DaError> {
        match put_once(&self.store, name, bytes, &self.patience).await? {
            Placed::Ours => Ok(()),
            Placed::Theirs(_) => Err(taken(name)),
        }
    }
}

impl Certificate {
    /// What would be recorded of a certificate whose payload came back. EigenDA's say no times: its payload was sent 14 days before
    /// the expiry that is wanted, or else at `since`, before which it certainly was not.
    ///
    /// # Errors
    /// [`DaError::Corrupt`] naming the certificate if the payload is not of it, [`DaError::Reject`] if it cannot be read.
    pub fn recovered(wanted: &Wanted, payload: &Bytes, since: Timestamp) -> Result<Self, DaError> {
        let (backend, committed) = committed(&wanted.certificate)?;
        if backend == local::BACKEND {
            let bad = |what: String| DaError::corrupt(committed::name_of(&wanted.certificate), what);
            let certificate = LocalCertificate::decode(&wanted.certificate).map_err(bad)?.certificate();
            return certificate.check_payload(payload).map(|()| certificate);
        }
        Ok(Self {
            bytes: wanted.certificate.clone(),
            content_hash: keccak256(payload),
            commitment: committed.bytes(),
            backend: backend.to_owned(),
            certified_at: wanted.expires_at.and_then(eigenda::sent_at).unwrap_or(since),
            expires_at: Some(wanted.expires_at.map_or_else(|| eigenda::expiry(since), Ok)?),
            payload_bytes: payload.len() as u64,
        })
    }
}

fn taken(name: &Path) -> DaError {
    DaError::reject(name, "the target holds another object there than the source: restore into an empty one")
}

/// A [`DaClient`] that looks into the archive of the store that is restored before it asks another one: what an earlier attempt
/// brought is not fetched again. Neither is trusted. The other one is asked again where it does not answer.
pub struct Nearby {
    store: Arc<dyn ObjectStore>,
    committer: Arc<Committer>,
    far: Arc<dyn DaClient>,
    patience: Patience,
}

impl Nearby {
    /// The archive of this store in front of a client.
    pub fn new(store: Arc<dyn ObjectStore>, committer: Arc<Committer>, far: Arc<dyn DaClient>) -> Self {
        Self { store, committer, far, patience: Patience::new(&Settings::default(), Metrics::default()) }
    }
}

#[async_trait]
impl DaClient for Nearby {
    fn backend(&self) -> &'static str {
        self.far.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.far.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.far.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        self.far.disperse(payload).await
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let (_, committed) = committed::committed(&wanted.certificate)?;
        let name = committed.payload_name();
        let Some(payload) = read(&self.store, &name).await? else {
            return self.patience.run(|| self.far.retrieve(wanted)).await;
        };
        self.committer.check(name, &committed, &payload).await?;
        Ok(payload)
    }
}
