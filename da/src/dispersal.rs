//! From a payload to a certificate that counts: one way for everything that is published.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::time::Instant;
use tributary_schemas::units::{Hash, keccak256};

use crate::archive;
use crate::client::{Certificate, DaClient};
use crate::committer::Committer;
use crate::error::DaError;
use crate::metrics::Metrics;
use crate::retry::Patience;
use crate::settings::Settings;

/// Publishes payloads.
///
/// **Promise**: the payload lies in the archive before it is sent, and what is given came back through the backend once and was equal.
/// Nothing is recorded here: of the certificates of one payload the one counts that is recorded first.
pub struct Dispersal {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) client: Arc<dyn DaClient>,
    committer: Arc<Committer>,
    pub(crate) patience: Patience,
    pub(crate) metrics: Metrics,
}

impl Dispersal {
    /// Through this client, with the archive in this store. Of the settings those of patience are used.
    pub fn new(store: Arc<dyn ObjectStore>, client: Arc<dyn DaClient>, committer: Arc<Committer>, settings: &Settings) -> Self {
        let metrics = Metrics::default();
        Self { store, client, committer, patience: Patience::new(settings, metrics.clone()), metrics }
    }

    /// Archives the payload, publishes it, and reads it back through the backend. While another publisher is at the same payload, its
    /// end is waited for until the deadline: what it got is used.
    ///
    /// # Errors
    /// Those of [`DaClient::disperse`] and [`DaClient::retrieve`], after the tries that the settings allow.
    /// [`DaError::Corrupt`] if the archive holds something else under the payload's name, or the payload did not come back equal.
    /// [`DaError::UnderWay`] if another publisher is at it still.
    pub async fn certify(&self, payload: Bytes, deadline: Instant) -> Result<Certificate, DaError> {
        let mut looks: u32 = 0;
        loop {
            match self.attempt(&payload).await {
                Err(DaError::UnderWay { .. }) if Instant::now() < deadline => {
                    looks = looks.saturating_add(1);
                    self.patience.pause(looks).await;
                }
                ended => {
                    self.release(&keccak256(&payload)).await;
                    return ended;
                }
            }
        }
    }

    /// A payload is given up for now: nobody is to wait for what certainly was not sent.
    pub(crate) async fn release(&self, payload_hash: &Hash) {
        self.client.release(payload_hash).await;
    }

    /// The same without waiting: [`DaError::UnderWay`] while another publisher is at it.
    async fn attempt(&self, payload: &Bytes) -> Result<Certificate, DaError> {
        // The archive first: what a backend has may be gone before anybody reads it.
        self.archive(payload).await?;
        self.send(payload).await
    }

    /// Puts the payload into the archive. That costs nothing and may be cut off.
    pub(crate) async fn archive(&self, payload: &Bytes) -> Result<(), DaError> {
        let committed = self.patience.run(|| self.committer.commit(payload)).await?;
        archive::put(&self.store, &committed, payload, &self.patience).await
    }

    /// Publishes a payload that lies in the archive, and reads it back: [`DaError::UnderWay`] while another publisher is at it. To cut it
    /// off may be to pay for it in vain.
    pub(crate) async fn send(&self, payload: &Bytes) -> Result<Certificate, DaError> {
        let certificate = self.patience.run(|| self.client.disperse(payload.clone())).await?;
        self.metrics.dispersals.inc();
        let checked = self.read_back(&certificate, payload).await;
        if checked.is_err() {
            self.metrics.read_back_failures.inc();
        }
        checked.map(|()| certificate)
    }

    async fn read_back(&self, certificate: &Certificate, payload: &Bytes) -> Result<(), DaError> {
        let wanted = certificate.wanted();
        let found = self.patience.run(|| self.client.retrieve(&wanted)).await?;
        // What is recorded beside the certificate is of this payload too.
        certificate.check_payload(payload)?;
        match found == payload {
            true => Ok(()),
            false => {
                let name = crate::names::payload(&certificate.commitment);
                Err(DaError::corrupt(name, "it does not read back as it was dispersed"))
            }
        }
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
