//! Data availability: which backend publishes, what is put around it, and whom readers ask.

use std::sync::Arc;

use object_store::ObjectStore;
use tributary_da::{
    Archive, BackendMetrics, Committer, DaClient, EigenDa, EigenDaSettings, Failover, LocalDa, Outbox, PublisherId,
};
use tributary_schemas::ids::Clock;

use crate::config::{Availability, Backend, Config, ConfigError};
use crate::exit::Failure;

/// The backend and its surroundings.
pub struct DataAvailability {
    /// Makes commitments: one for the process.
    pub committer: Arc<Committer>,
    /// What a publisher publishes through: its payloads come back through it, or do not count.
    pub backend: Arc<dyn DaClient>,
    /// Whom readers ask: the backend, and the archive for what it does not give.
    pub reader: Arc<dyn DaClient>,
    /// What both count.
    pub metrics: BackendMetrics,
}

impl DataAvailability {
    /// What the configuration says, over this store. Nothing is asked of a network yet.
    pub fn new(config: &Config, store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        let (committer, metrics) = (committer(&config.da)?, BackendMetrics::default());
        let parts = Parts { store, clock, committer: &committer, metrics: &metrics };
        let backend: Arc<dyn DaClient> = match config.da.backend()? {
            Backend::Local => parts.local(),
            Backend::EigenDa { settings, failover: None } => parts.eigenda(settings)?,
            Backend::EigenDa { settings, failover: Some(failover) } => {
                let (first, second) = (parts.eigenda(settings)?, parts.local());
                Arc::new(Failover::new(first, second, Arc::clone(clock), failover, metrics.clone()))
            }
        };
        let reader = Archive::new(Arc::clone(&backend), Arc::clone(store), Arc::clone(&committer), metrics.clone());
        Ok(Self { committer, backend, reader: Arc::new(reader), metrics })
    }
}

struct Parts<'a> {
    store: &'a Arc<dyn ObjectStore>,
    clock: &'a Arc<dyn Clock>,
    committer: &'a Arc<Committer>,
    metrics: &'a BackendMetrics,
}

impl Parts<'_> {
    fn local(&self) -> Arc<dyn DaClient> {
        let (store, clock) = (Arc::clone(self.store), Arc::clone(self.clock));
        Arc::new(LocalDa::with_committer(store, clock, Arc::clone(self.committer)))
    }

    /// EigenDA, which is paid: with an outbox in front.
    fn eigenda(&self, settings: EigenDaSettings) -> Result<Arc<dyn DaClient>, Failure> {
        let (clock, metrics) = (Arc::clone(self.clock), self.metrics.clone());
        let eigenda = EigenDa::new(settings, Arc::clone(self.committer), Arc::clone(&clock), metrics.clone())
            .map_err(|error| ConfigError::Invalid(format!("`da.proxy_url`: {error}")))?;
        let publisher = PublisherId(rand::random());
        Ok(Arc::new(Outbox::new(Arc::new(eigenda), Arc::clone(self.store), clock, publisher, metrics)))
    }
}

fn committer(config: &Availability) -> Result<Arc<Committer>, Failure> {
    let Some(file) = config.srs_file() else { return Ok(Committer::shipped()) };
    Ok(Committer::with_file(file).map_err(|error| ConfigError::Invalid(format!("`da.srs_file`: {error}")))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use object_store::memory::InMemory;
    use tributary_schemas::ids::SystemClock;

    use super::*;

    fn plugged(set: impl FnOnce(&mut Availability)) -> Result<DataAvailability, Failure> {
        let mut config = Config::default();
        set(&mut config.da);
        let (store, clock): (Arc<dyn ObjectStore>, Arc<dyn Clock>) = (Arc::new(InMemory::new()), Arc::new(SystemClock));
        DataAvailability::new(&config, &store, &clock)
    }

    #[test]
    fn the_configured_backend_publishes_and_readers_have_an_archive_for_all() {
        let local = plugged(|_| {}).unwrap();
        assert_eq!((local.backend.backend(), local.backend.serves("eigenda")), ("local", false));
        assert!(local.reader.serves("eigenda"), "it may be in the archive");
        let eigenda = plugged(|da| {
            "eigenda".clone_into(&mut da.backend);
            "http://127.0.0.1:1".clone_into(&mut da.proxy_url);
        });
        let eigenda = eigenda.unwrap();
        assert_eq!((eigenda.backend.backend(), eigenda.backend.serves("local")), ("eigenda", false));
        let both = plugged(|da| {
            "eigenda".clone_into(&mut da.backend);
            "http://127.0.0.1:1".clone_into(&mut da.proxy_url);
            "local".clone_into(&mut da.failover_backend);
        });
        let both = both.unwrap();
        assert_eq!((both.backend.backend(), both.backend.serves("local")), ("eigenda", true));
    }

    #[test]
    fn a_file_of_points_that_is_none_is_refused_with_its_key() {
        let refused = plugged(|da| da.srs_file = "/no/such/g1.point".into()).err().unwrap();
        assert!(matches!(refused, Failure::Usage(_)) && refused.to_string().contains("`da.srs_file`"), "{refused}");
    }
}
