//! `tributary da`: the publisher as a service of its own, over a store that others seal into. It keeps nothing, so any number of them
//! may run, anywhere.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tributary_da::{BackendMetrics, Certificates, Dispersal, Publisher, PublisherId};
use tributary_eventlog::Jitter;
use tributary_journal::Journal;
use tributary_schemas::ids::{Clock, SystemClock};

use super::availability::DataAvailability;
use super::services::{existing_genesis, journal_at_last};
use super::{publisher_settings, store_directory, store_to_write};
use crate::config::Config;
use crate::exit::Failure;
use crate::stages::Stages;
use crate::status::failing::Failing;
use crate::status::publishing::Publishing;

/// A publisher and what its reports are read from.
pub struct Publish {
    publisher: Arc<Publisher>,
    journal: Arc<Journal>,
    certificates: Arc<Certificates>,
    backend: &'static str,
    metrics: BackendMetrics,
    failing: Failing,
    jitter: Jitter,
}

impl Publish {
    /// Joins a publisher to the store and to its backend. A store that holds the deployment and then does not answer is waited for;
    /// nothing is asked of the backend yet.
    pub async fn new(config: &Config) -> Result<Self, Failure> {
        let genesis = existing_genesis(config).await?;
        let (clock, jitter): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Jitter::default());
        let store = store_to_write(&store_directory(config)?)?;
        let journal = journal_at_last(&store, genesis.partitions, &clock, &jitter).await?;
        let availability = DataAvailability::new(config, &store, &clock)?;
        let id = match config.da.publisher.as_str() {
            "" => PublisherId(rand::random()),
            name => PublisherId::named(name),
        };
        let client = availability.publishing_as(id);
        let (backend, settings) = (client.backend(), publisher_settings(config));
        let dispersal = Dispersal::new(store, client, availability.committer, &settings);
        let publisher = Publisher::new(dispersal, Arc::clone(&journal), clock, settings);
        let (certificates, metrics) = (publisher.certificates(), availability.metrics);
        Ok(Self { publisher, journal, certificates, backend, metrics, failing: Failing::default(), jitter })
    }

    /// The name of its backend.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// What reports are read from.
    pub fn publishing(&self) -> Publishing {
        Publishing {
            journal: Arc::clone(&self.journal),
            certificates: Arc::clone(&self.certificates),
            publisher: Arc::clone(&self.publisher),
            backend: self.backend,
            failing: self.failing.clone(),
        }
    }

    /// Registers its metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.journal.metrics().register(registry);
        self.publisher.metrics().register(registry);
        self.metrics.register(registry);
    }

    /// Starts publishing.
    pub fn start(&self, shutdown: &CancellationToken) -> Stages {
        let (publisher, publishing, jitter) = (Arc::clone(&self.publisher), self.publishing(), self.jitter.clone());
        let shutdown = shutdown.clone();
        let mut stages = Stages::default();
        stages.add("the publisher", async move {
            tokio::select! {
                () = publisher.run(shutdown) => Ok(()),
                never = publishing.watch(&jitter) => match never {},
            }
        });
        stages
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::genesis_or_new;
    use super::*;

    #[tokio::test]
    async fn any_number_of_publishers_work_on_one_store_and_none_where_there_is_no_deployment() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = folder.path().join("data");
        let text = Publish::new(&config).await.err().unwrap().to_string();
        assert!(text.ends_with("[deployment_missing]"), "{text}");
        genesis_or_new(&config).await.unwrap();
        let _held = super::super::take(&config.data.dir).unwrap();
        let (one, two) = (Publish::new(&config).await.unwrap(), Publish::new(&config).await.unwrap());
        assert_eq!((one.backend, two.publishing().report().await.unwrap().partitions.len()), ("local", 4));
    }
}
