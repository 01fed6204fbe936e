//! Settlement, its manifests, and what a rebuild from blobs reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tributary_da::Manifests;
use tributary_da::manifest::ManifestSettings;
use tributary_schemas::ids::{Clock, SystemClock};
use tributary_settlement::{BlobSource, Settlement, SettlementError, Stages, publish_manifests};

use super::Record;
use super::availability::DataAvailability;
use crate::config::Config;
use crate::exit::Failure;

impl Record {
    /// The settlement job over this record.
    pub fn settlement(&self, config: &Config, settings: tributary_settlement::Settings) -> Settlement {
        Settlement::new(self.stages(), self.manifests(config), settings)
    }

    /// Publishes the manifests of all closed epochs that lack one.
    pub async fn publish_manifests(&self, config: &Config) -> Result<(), SettlementError> {
        let wait_max = Duration::from_millis(config.settlement.wait_ms);
        publish_manifests(&self.stages(), self.manifests(config), wait_max).await
    }

    fn manifests(&self, config: &Config) -> Manifests {
        let (store, certificates) = (Arc::clone(&self.store), Arc::clone(&self.certificates));
        let settings = ManifestSettings { paused: config.da.paused, ..ManifestSettings::default() };
        Manifests::new(store, self.journal.genesis().clone(), certificates, self.dispersal(config), settings)
    }

    fn stages(&self) -> Stages {
        Stages {
            store: Arc::clone(&self.store),
            journal: Arc::clone(&self.journal),
            certificates: Arc::clone(&self.certificates),
            lake: Arc::clone(&self.lake),
            engine: Arc::clone(&self.engine),
            clock: Arc::clone(&self.clock),
        }
    }
}

/// What the configuration says of settlement. Refused without a treasury.
pub fn settlement_settings(config: &Config) -> Result<tributary_settlement::Settings, Failure> {
    let values = config.settlement.parsed()?;
    let treasury = values.treasury.ok_or_else(|| {
        Failure::Usage("`settlement.treasury` is not set: name the address that receives the protocol's share".to_owned())
    })?;
    Ok(tributary_settlement::Settings {
        max_fee: values.max_fee,
        max_epoch_total: values.max_epoch_total,
        wait_max: Duration::from_millis(config.settlement.wait_ms),
        available_backends: values.available_backends,
        ..tributary_settlement::Settings::new(treasury)
    })
}

/// What a rebuild from blobs reads: the configured backend, and the archive in this store, of which is said where it is.
pub fn blob_source(
    config: &Config,
    (store, place): (Arc<dyn ObjectStore>, String),
    manifest: Option<Bytes>,
) -> Result<BlobSource, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let availability = DataAvailability::new(config, &store, &clock)?;
    Ok(BlobSource { client: availability.witness(), committer: availability.committer, store, manifest, place })
}

/// A store that holds nothing, where there is none and none is needed.
pub fn no_store() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}
