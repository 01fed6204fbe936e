//! Data availability: which backend publishes, what is put around it, and whom checks ask.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use tributary_da::{
    Archive, BackendMetrics, Committer, DaClient, EigenDa, EigenDaSettings, Failover, FailoverSettings, LocalDa, Outbox,
    OutboxSettings, PublisherId, Witness,
};
use tributary_schemas::ids::Clock;

use crate::config::{Availability, Backend, Config, ConfigError};
use crate::exit::Failure;

/// The backends and their surroundings.
pub struct DataAvailability {
    /// Makes commitments: one for the process.
    pub committer: Arc<Committer>,
    /// What all of it counts.
    pub metrics: BackendMetrics,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    local: Arc<dyn DaClient>,
    paid: Option<Paid>,
}

/// EigenDA.
struct Paid {
    eigenda: Arc<dyn DaClient>,
    settings: EigenDaSettings,
    failover: Option<FailoverSettings>,
    pause_max: Duration,
}

impl DataAvailability {
    /// What the configuration says, over this store. Nothing is asked of a network yet.
    pub fn new(config: &Config, store: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        let (committer, metrics) = (committer(&config.da)?, BackendMetrics::default());
        metrics.price_wei_per_symbol.set(i64::try_from(config.da.price_wei_per_symbol).unwrap_or(i64::MAX));
        let (store, clock) = (Arc::clone(store), Arc::clone(clock));
        let local = LocalDa::with_committer(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&committer));
        let local: Arc<dyn DaClient> = Arc::new(local);
        let paid = match config.da.backend()? {
            Backend::Local => None,
            Backend::EigenDa { settings, failover } => {
                let eigenda = EigenDa::new(settings.clone(), Arc::clone(&committer), Arc::clone(&clock), metrics.clone())
                    .map_err(|error| ConfigError::Invalid(format!("`da.proxy_url`: {error}")))?;
                let pause_max = Duration::from_millis(config.da.paid_pause_max_ms);
                Some(Paid { eigenda: Arc::new(eigenda), settings, failover, pause_max })
            }
        };
        Ok(Self { committer, metrics, store, clock, local, paid })
    }

    /// Whom one check or one rebuild asks: the backend, and the archive for what it does not give.
    pub fn witness(&self) -> Arc<Witness> {
        let (backend, committer) = (self.joined(|eigenda| eigenda), Arc::clone(&self.committer));
        Arc::new(Witness::new(Archive::new(backend, Arc::clone(&self.store), committer, self.metrics.clone())))
    }

    /// What a publisher of this name publishes through: its payloads come back through it, or do not count. In front of what is paid
    /// stands an outbox.
    pub fn publishing_as(&self, publisher: PublisherId) -> Arc<dyn DaClient> {
        self.joined(|eigenda| {
            let times = self.paid.as_ref().map(|paid| (paid.settings.put_timeout, paid.pause_max));
            let (attempt_max, paid_pause_max) = times.unwrap_or_default();
            let settings = OutboxSettings { publisher, attempt_max, paid_pause_max };
            let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
            Arc::new(Outbox::new(eigenda, store, clock, settings, self.metrics.clone()))
        })
    }

    /// The backend that is configured, EigenDA with something in front; and the second one behind, if there is one.
    fn joined(&self, in_front: impl FnOnce(Arc<dyn DaClient>) -> Arc<dyn DaClient>) -> Arc<dyn DaClient> {
        let Some(Paid { eigenda, failover, .. }) = &self.paid else { return Arc::clone(&self.local) };
        let (first, second) = (in_front(Arc::clone(eigenda)), Arc::clone(&self.local));
        match failover {
            None => first,
            Some(settings) => {
                let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
                Arc::new(Failover::new(first, second, clock, settings.clone(), metrics))
            }
        }
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
    fn the_configured_backend_publishes_and_checks_have_an_archive_for_all() {
        let publishing = |plugged: &DataAvailability| plugged.publishing_as(PublisherId([1; 16]));
        let local = plugged(|_| {}).unwrap();
        assert_eq!((publishing(&local).backend(), publishing(&local).serves("eigenda")), ("local", false));
        assert!(local.witness().serves("eigenda"), "it may be in the archive");
        let eigenda = plugged(|da| {
            "eigenda".clone_into(&mut da.backend);
            "http://127.0.0.1:1".clone_into(&mut da.proxy_url);
        });
        let eigenda = eigenda.unwrap();
        assert_eq!((publishing(&eigenda).backend(), publishing(&eigenda).serves("local")), ("eigenda", false));
        let both = plugged(|da| {
            "eigenda".clone_into(&mut da.backend);
            "http://127.0.0.1:1".clone_into(&mut da.proxy_url);
            "local".clone_into(&mut da.failover_backend);
        });
        let both = both.unwrap();
        assert_eq!((publishing(&both).backend(), publishing(&both).serves("local")), ("eigenda", true));
    }

    #[test]
    fn a_file_of_points_that_is_none_is_refused_with_its_key() {
        let refused = plugged(|da| da.srs_file = "/no/such/g1.point".into()).err().unwrap();
        assert!(matches!(refused, Failure::Usage(_)) && refused.to_string().contains("`da.srs_file`"), "{refused}");
    }
}
