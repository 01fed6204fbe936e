//! A backend that fails as told, in front of another: for tests, and for trying out what a deployment does then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::Hash;

use crate::client::{Certificate, DaClient, Wanted};
use crate::error::DaError;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaFault {
    /// Nothing.
    None,
    /// The backend takes no more for now. Nothing is done.
    Busy,
    /// The backend does not work. Nothing is done.
    Down,
    /// The call is carried out, and its answer is lost: the outcome of a dispersal is unknown.
    LosesAnswer,
    /// The call is lost on its way, and nobody knows: the outcome of a dispersal is unknown.
    Vanishes,
    /// It takes so long.
    Slow(Duration),
}

/// A call of the backend, with its number among those of its kind, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A dispersal.
    Disperse(u64),
    /// A retrieval.
    Retrieve(u64),
}

/// A [`DaClient`] in front of another that fails by a script.
pub struct FaultyDa {
    behind: Arc<dyn DaClient>,
    script: Box<dyn Fn(Call) -> DaFault + Send + Sync>,
    dispersals: AtomicU64,
    retrievals: AtomicU64,
}

impl FaultyDa {
    /// The script is asked once for each call.
    pub fn new(behind: Arc<dyn DaClient>, script: impl Fn(Call) -> DaFault + Send + Sync + 'static) -> Arc<Self> {
        let (dispersals, retrievals) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { behind, script: Box::new(script), dispersals, retrievals })
    }

    /// How many dispersals were asked for.
    pub fn dispersals(&self) -> u64 {
        self.dispersals.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl DaClient for FaultyDa {
    fn backend(&self) -> &'static str {
        self.behind.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.behind.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.behind.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        let fault = (self.script)(Call::Disperse(self.dispersals.fetch_add(1, Ordering::SeqCst)));
        match fault {
            DaFault::None => {}
            DaFault::Busy => return Err(DaError::retry("payload", "the backend is busy")),
            DaFault::Down => return Err(DaError::down("payload", "the backend gave up")),
            DaFault::LosesAnswer => {
                self.behind.disperse(payload).await?;
                return Err(DaError::unknown("payload", "the answer is lost"));
            }
            DaFault::Vanishes => return Err(DaError::unknown("payload", "the connection was reset")),
            DaFault::Slow(time) => tokio::time::sleep(time).await,
        }
        self.behind.disperse(payload).await
    }

    async fn under_way(&self, content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        self.behind.under_way(content_hash).await
    }

    async fn release(&self, content_hash: &Hash) {
        self.behind.release(content_hash).await;
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let fault = (self.script)(Call::Retrieve(self.retrievals.fetch_add(1, Ordering::SeqCst)));
        match fault {
            DaFault::None => {}
            DaFault::Slow(time) => tokio::time::sleep(time).await,
            DaFault::Busy | DaFault::Down | DaFault::LosesAnswer | DaFault::Vanishes => {
                return Err(DaError::retry("certificate", "the backend did not answer"));
            }
        }
        self.behind.retrieve(wanted).await
    }
}
