//! The archive: every payload lies in the object store too, for longer than a backend keeps it, under the name that its commitment
//! gives. So a certificate alone finds its payload in any copy of the archive, whoever holds it.
//!
//! The publisher puts a payload there before it asks a backend to publish it. Who reads asks the backend first, which shows that others
//! can get it, and then the archive. Neither is trusted: the commitment is computed anew from what either gives.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::Hash;

use crate::client::{Certificate, DaClient, Wanted};
use crate::committed;
use crate::committer::{BlobCommitment, Committer};
use crate::error::DaError;
use crate::metrics::BackendMetrics;
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;

/// A [`DaClient`] for readers: a backend, and the archive behind it.
///
/// A certificate that the backend calls bad for good stays refused. Whatever else keeps it from giving a payload (that it is away, that the payload
/// has expired or is not what was certified, that another backend has certified it) is made up for by the archive.
///
/// A publisher needs the backend itself, for a certificate only counts if its payload came back through it.
pub struct Archive {
    backend: Arc<dyn DaClient>,
    store: Arc<dyn ObjectStore>,
    committer: Arc<Committer>,
    metrics: BackendMetrics,
}

impl Archive {
    /// The archive in this store, behind a backend.
    pub fn new(
        backend: Arc<dyn DaClient>,
        store: Arc<dyn ObjectStore>,
        committer: Arc<Committer>,
        metrics: BackendMetrics,
    ) -> Self {
        Self { backend, store, committer, metrics }
    }

    /// The payload of a certificate, and why the backend did not give it, if the archive did.
    ///
    /// # Errors
    /// Those of [`DaClient::retrieve`].
    pub(crate) async fn find(&self, wanted: &Wanted) -> Result<(Bytes, Option<Missed>), DaError> {
        let (theirs, committed) = committed::committed(&wanted.certificate)?;
        let missed = match self.backend.serves(theirs) {
            false => Missed::Another { theirs, ours: self.backend.backend() },
            true => match self.backend.retrieve(wanted).await {
                Ok(payload) => return Ok((payload, None)),
                Err(refused @ DaError::Reject { .. }) => return Err(refused),
                Err(error) => Missed::Failed(error),
            },
        };
        match self.archived(&committed).await {
            Ok(Some(payload)) => {
                tracing::debug!(code = missed.code(), %missed, "read from the archive");
                self.metrics.archive_reads.inc();
                Ok((payload, Some(missed)))
            }
            Ok(None) => Err(missed.in_neither(&committed)),
            Err(error) => Err(missed.with_damaged_archive(error)),
        }
    }

    /// The payload as it lies in the archive, checked; `None` if it does not.
    async fn archived(&self, committed: &BlobCommitment) -> Result<Option<Bytes>, DaError> {
        let name = committed.payload_name();
        let Some(payload) = read(&self.store, &name).await? else { return Ok(None) };
        self.committer.check(name, committed, &payload).await?;
        Ok(Some(payload))
    }
}

#[async_trait]
impl DaClient for Archive {
    fn backend(&self) -> &'static str {
        self.backend.backend()
    }

    /// Whatever was certified may be in the archive.
    fn serves(&self, _backend: &str) -> bool {
        true
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

    async fn release(&self, content_hash: &Hash) {
        self.backend.release(content_hash).await;
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        self.find(wanted).await.map(|(payload, _)| payload)
    }
}

/// Why a backend did not give a payload.
#[derive(Debug)]
pub(crate) enum Missed {
    /// Another one has certified it, so that it was not asked.
    Another { theirs: &'static str, ours: &'static str },
    /// What it said.
    Failed(DaError),
}

impl Missed {
    fn code(&self) -> &'static str {
        match self {
            Self::Another { .. } => "another_backend",
            Self::Failed(error) => error.code(),
        }
    }

    pub(crate) fn has_expired(&self) -> bool {
        matches!(self, Self::Failed(DaError::Expired { .. }))
    }

    /// What is to be said if the archive does not have it either.
    fn in_neither(self, committed: &BlobCommitment) -> DaError {
        let name = committed.payload_name();
        match self {
            // The backend may have it later.
            Self::Failed(DaError::Retry { object, source }) => {
                DaError::retry(object, format!("{source}; and the archive does not have it: {name}"))
            }
            Self::Failed(DaError::Expired { object, at }) => {
                DaError::missing(name, format!("{object} expired at {at}, and the archive does not have it"))
            }
            Self::Failed(DaError::Missing { what, .. }) => {
                DaError::missing(name, format!("{what}, and the archive does not have it"))
            }
            another @ Self::Another { .. } => DaError::missing(name, format!("{another}, and the archive does not have it")),
            Self::Failed(error) => error,
        }
    }

    /// What is to be said if what lies in the archive is not the payload, or the archive does not answer.
    fn with_damaged_archive(self, archived: DaError) -> DaError {
        match self {
            Self::Failed(DaError::Retry { object, source }) => {
                DaError::retry(object, format!("{source}; nor does the archive give it: {archived}"))
            }
            _ => archived,
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Another { theirs, ours } => write!(f, "`{theirs}` has certified it, not the backend at hand, `{ours}`"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Puts a payload into the archive: durable when it returns.
pub(crate) async fn put(
    store: &Arc<dyn ObjectStore>,
    committed: &BlobCommitment,
    payload: &Bytes,
    patience: &Patience,
) -> Result<(), DaError> {
    let name = committed.payload_name();
    match put_once(store, &name, payload, patience).await? {
        Placed::Ours => Ok(()),
        Placed::Theirs(_) => Err(DaError::corrupt(name, "what lies there is not what the commitment in its name is to")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::eigenda::stub::{Answer, Stub};
    use crate::eigenda::{EigenDa, EigenDaSettings, RETENTION};
    use crate::fixture::{World, quick};
    use crate::metrics::Metrics;
    use crate::names;

    struct Scene {
        world: World,
        stub: Stub,
        eigenda: Arc<EigenDa>,
        archive: Archive,
        certificate: Certificate,
    }

    fn payload() -> Bytes {
        Bytes::from(vec![3; 1234])
    }

    impl Scene {
        /// A payload that is archived and then dispersed.
        async fn new() -> Self {
            let (world, stub) = (World::new(1).await, Stub::start().await);
            let (metrics, committer) = (BackendMetrics::default(), Arc::clone(&world.committer));
            let settings = EigenDaSettings::new(stub.url());
            let eigenda = EigenDa::new(settings, Arc::clone(&committer), world.clock.clone(), metrics.clone()).unwrap();
            let eigenda = Arc::new(eigenda);
            let backend = Arc::clone(&eigenda) as Arc<dyn DaClient>;
            let archive = Archive::new(backend, Arc::clone(&world.store), committer, metrics);
            let committed = world.committer.commit(&payload()).await.unwrap();
            put(&world.store, &committed, &payload(), &Patience::new(&quick(), Metrics::default())).await.unwrap();
            let certificate = archive.disperse(payload()).await.unwrap();
            Self { world, stub, eigenda, archive, certificate }
        }

        async fn retrieve(&self) -> Result<Bytes, DaError> {
            self.archive.retrieve(&self.certificate.wanted()).await
        }

        fn archive_reads(&self) -> u64 {
            self.archive.metrics.archive_reads.get()
        }

        async fn overwrite_archived(&self, bytes: &'static [u8]) {
            self.world.overwrite(&names::payload(&self.certificate.commitment), Bytes::from_static(bytes)).await;
        }
    }

    #[tokio::test]
    async fn the_backend_is_asked_first() {
        let scene = Scene::new().await;
        scene.overwrite_archived(b"damaged").await;
        assert_eq!(scene.retrieve().await.unwrap(), payload());
        assert_eq!(scene.archive_reads(), 0);
    }

    #[tokio::test]
    async fn what_the_backend_does_not_give_comes_from_the_archive() {
        let scene = Scene::new().await;
        let statuses = [302, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503].map(|code| Answer::Status(code, b"no".to_vec()));
        let bodies = [Answer::Lost, Answer::Status(200, b"a lie".to_vec()), Answer::Status(200, Vec::new())];
        for answer in statuses.into_iter().chain(bodies) {
            scene.stub.on_get(answer);
            assert_eq!(scene.retrieve().await.unwrap(), payload());
        }
        scene.stub.forget();
        scene.world.clock.advance(RETENTION);
        assert_eq!(scene.retrieve().await.unwrap(), payload());
        assert_eq!(scene.archive_reads(), 15);
        let local = Archive::new(
            scene.world.client(),
            Arc::clone(&scene.world.store),
            Arc::clone(&scene.world.committer),
            BackendMetrics::default(),
        );
        assert_eq!(
            local.retrieve(&scene.certificate.wanted()).await.unwrap(),
            payload(),
            "without the backend that certified it"
        );
    }

    #[tokio::test]
    async fn the_archive_is_not_trusted_and_what_it_lacks_is_said() {
        let scene = Scene::new().await;
        scene.stub.forget();
        scene.overwrite_archived(b"damaged").await;
        let missed = scene.retrieve().await.unwrap_err();
        let archived = names::payload(&scene.certificate.commitment).to_string();
        assert!(missed.code() == "da_unavailable" && missed.to_string().contains(&archived), "both are named: {missed}");
        scene.world.clock.advance(RETENTION);
        assert_eq!(scene.retrieve().await.unwrap_err().code(), "da_corrupt");
        object_store::ObjectStoreExt::delete(&scene.world.store, &names::payload(&scene.certificate.commitment)).await.unwrap();
        let lost = scene.retrieve().await.unwrap_err();
        assert!(lost.code() == "da_missing" && lost.to_string().contains("expired"), "{lost}");
        assert_eq!(scene.eigenda.retrieve(&scene.certificate.wanted()).await.unwrap_err().code(), "da_expired");
    }

    #[tokio::test]
    async fn a_certificate_alone_finds_its_payload_in_a_copy_of_the_archive() {
        let scene = Scene::new().await;
        let copy = World::new(1).await;
        copy.overwrite(&names::payload(&scene.certificate.commitment), payload()).await;
        let committer = Arc::clone(&scene.world.committer);
        let archive = Archive::new(copy.client(), Arc::clone(&copy.store), committer, BackendMetrics::default());
        let wanted = Wanted { certificate: scene.certificate.bytes.clone(), expires_at: None };
        assert_eq!(archive.retrieve(&wanted).await.unwrap(), payload());
        // And nothing else passes for it there.
        let other = scene.archive.disperse(Bytes::from(vec![4; 1234])).await.unwrap();
        copy.overwrite(&names::payload(&other.commitment), payload()).await;
        let refused = archive.retrieve(&other.wanted()).await.unwrap_err();
        assert!(refused.code() == "da_corrupt" && refused.to_string().contains("commitment"), "{refused}");
    }

    #[tokio::test]
    async fn a_certificate_that_the_backend_calls_bad_is_not_made_good_by_the_archive() {
        let scene = Scene::new().await;
        scene.stub.on_get(Answer::Status(418, b"{\"StatusCode\":3,\"Msg\":\"no\"}".to_vec()));
        assert_eq!(scene.retrieve().await.unwrap_err().code(), "da_rejected");
    }
}
