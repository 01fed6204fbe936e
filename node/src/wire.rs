//! The only composition root: chooses backends and joins the stages. `dev` and the jobs run the same stages; only what is
//! plugged into the seams differs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tributary_da::{Certificates, Committer, Dispersal, Publisher, PublisherId};
use tributary_eventlog::embedded::EmbeddedLog;
use tributary_eventlog::{Alone, EventLog, folder};
use tributary_graphql::Graphql;
use tributary_indexer::Indexer;
use tributary_indexer::lake::Lake;
use tributary_ingest::Door;
use tributary_journal::Journal;
use tributary_journal::sealer::Sealer;
use tributary_journal::seen::SeenIndex;
use tributary_journal::storage::LocalStore;
use tributary_query::Engine;
use tributary_schemas::ids::{Clock, PartitionCount, SystemClock};

mod availability;
mod publishing;
mod services;
mod settlement;

use crate::config::Config;
use crate::exit::{Failure, Outcome, code};
use crate::gate::Gate;
use crate::lock::{DirectoryLock, JobLock, LockError};
use crate::stages::Stages;
use crate::status::Sources;
use availability::DataAvailability;
pub use publishing::Publish;
pub use services::{
    Ingest, Seal, event_log, existing_genesis, found_genesis, genesis_or_new, journal_to_read, journal_to_write,
    partitions_of_new, required_settings,
};
pub use settlement::{blob_source, no_store, settlement_settings};

/// How long `dev` waits for a job that finishes what the log holds.
const DEV_WAIT_MAX: Duration = Duration::from_secs(30);

/// What reads the record of a data directory: works beside a running `dev`.
pub struct Record {
    /// The data directory.
    pub directory: PathBuf,
    /// The tree under `DIR/store`, the same as in a bucket.
    pub store: Arc<dyn ObjectStore>,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// The sealed batches.
    pub journal: Arc<Journal>,
    /// What publishers publish through, and checks read through.
    pub availability: DataAvailability,
    /// The name of this process among publishers, where it has no better one.
    random_name: PublisherId,
    /// What commitments and proofs are made with.
    pub committer: Arc<Committer>,
    /// The certificates.
    pub certificates: Arc<Certificates>,
    /// The tables.
    pub lake: Arc<Lake>,
    /// Queries over them.
    pub engine: Arc<Engine>,
    /// The GraphQL interface over the same.
    pub graphql: Arc<Graphql>,
}

/// What writes the record: one process per data directory.
pub struct Writers {
    /// The embedded log.
    pub log: Arc<EmbeddedLog>,
    /// Log → journal.
    pub sealer: Sealer,
    /// Journal → data availability.
    pub publisher: Arc<Publisher>,
    /// Journal → tables.
    pub indexer: Arc<Indexer>,
    _lock: DirectoryLock,
}

impl Record {
    /// Opens the record of a data directory. `born_with` creates the deployment when there is none yet.
    pub async fn open(config: &Config, born_with: Option<PartitionCount>) -> Result<Self, Failure> {
        let directory = store_directory(config)?;
        if born_with.is_none() {
            check_is_one(config, &directory)?;
        }
        Self::over(store_to_write(&directory)?, config, born_with).await
    }

    /// Opens the record for reading alone: nothing in the directory is made or changed, so it may be a copy that this
    /// process cannot write to.
    pub async fn open_read_only(config: &Config) -> Result<Self, Failure> {
        let directory = store_directory(config)?;
        check_is_one(config, &directory)?;
        Self::over(store_to_read(&directory)?, config, None).await
    }

    async fn over(store: Arc<dyn ObjectStore>, config: &Config, born_with: Option<PartitionCount>) -> Result<Self, Failure> {
        let directory = config.data.dir.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let journal = Journal::open(Arc::clone(&store), born_with, Arc::clone(&clock)).await?;
        let availability = DataAvailability::new(config, &store, &clock)?;
        let committer = Arc::clone(&availability.committer);
        let certificates = Arc::new(Certificates::new(Arc::clone(&store)));
        let lake = Lake::open(Arc::clone(&store));
        let engine = Engine::new(
            Arc::clone(&lake),
            Arc::clone(&journal),
            Arc::clone(&certificates),
            Arc::clone(&clock),
            query_settings(config),
        );
        let graphql = Graphql::new(Arc::clone(&engine), Arc::clone(&committer), graphql_settings(config));
        Ok(Self {
            directory,
            store,
            clock,
            journal,
            availability,
            random_name: PublisherId(rand::random()),
            committer,
            certificates,
            lake,
            engine,
            graphql,
        })
    }

    /// An indexer over this record; cheap until it runs.
    pub fn indexer(&self, config: &Config) -> Arc<Indexer> {
        let settings = tributary_indexer::Settings {
            round_bytes_max: to_usize(config.index.round_bytes_max),
            ..tributary_indexer::Settings::default()
        };
        Indexer::new(Arc::clone(&self.journal), Arc::clone(&self.lake), Arc::clone(&self.clock), settings)
    }

    /// What publishes payloads, for who holds nothing that keeps others from doing the same.
    pub fn dispersal(&self, config: &Config) -> Dispersal {
        self.dispersal_of(config, None)
    }

    fn dispersal_of(&self, config: &Config, lock: Option<&DirectoryLock>) -> Dispersal {
        let backend = self.availability.publishing_as(self.publisher_id(config, lock));
        Dispersal::new(Arc::clone(&self.store), backend, Arc::clone(&self.committer), &publisher_settings(config))
    }

    /// A publisher over this record; cheap until it runs.
    pub fn publisher(&self, config: &Config) -> Arc<Publisher> {
        self.publisher_with(self.dispersal(config), config)
    }

    fn publisher_with(&self, dispersal: Dispersal, config: &Config) -> Arc<Publisher> {
        Publisher::new(dispersal, Arc::clone(&self.journal), Arc::clone(&self.clock), publisher_settings(config))
    }

    /// By which name a process knows its own dispersals when it starts again. Who holds the directory in which the store lies has that
    /// of the deployment, for nobody else can hold it; others the one that is configured, or a new one each time.
    fn publisher_id(&self, config: &Config, lock: Option<&DirectoryLock>) -> PublisherId {
        match (config.da.publisher.as_str(), lock) {
            ("", Some(_)) if config.store.url.is_empty() => {
                PublisherId::named(&format!("the holder of {}", self.journal.genesis().deployment))
            }
            ("", _) => self.random_name,
            (name, _) => PublisherId::named(name),
        }
    }

    /// Brings everything that is sealed through the stages behind, then returns.
    async fn bring_on(&self, config: &Config, lock: Option<&DirectoryLock>) -> Outcome {
        let publisher = self.publisher_with(self.dispersal_of(config, lock), config);
        let published = publisher.publish_available().await;
        published.map_err(|e| Failure::failed("publishing what is sealed", e))?;
        let indexed = self.indexer(config).index_available().await;
        indexed.map(drop).map_err(|e| Failure::failed("indexing what is sealed", e))
    }

    /// Takes the directory for writing and opens the log and the stages behind it.
    pub async fn writers(&self, config: &Config, lock: DirectoryLock) -> Result<Writers, Failure> {
        let partitions = self.journal.genesis().partitions;
        let log = open_log(&self.directory.join("log"), partitions).await?;
        let events: Arc<dyn EventLog> = Arc::clone(&log) as Arc<dyn EventLog>;
        let sealer = sealer(config, Arc::clone(&self.journal), events, Arc::clone(&self.clock))?;
        let publisher = self.publisher_with(self.dispersal_of(config, Some(&lock)), config);
        Ok(Writers { log, sealer, publisher, indexer: self.indexer(config), _lock: lock })
    }
}

impl Writers {
    /// Brings everything that the log holds through all stages, then returns.
    pub async fn catch_up(&self) -> Result<(), Failure> {
        self.sealer.seal_available().await.map_err(|e| Failure::failed("sealing what the log holds", e))?;
        self.publisher.publish_available().await.map_err(|e| Failure::failed("publishing what is sealed", e))?;
        self.indexer.index_available().await.map_err(|e| Failure::failed("indexing what is sealed", e))?;
        self.log.close().await;
        Ok(())
    }

    /// Starts every stage as a task. Each ends when `shutdown` is cancelled, and not before.
    pub fn start(&self, shutdown: &CancellationToken) -> Stages {
        let (sealer, publisher, indexer) = (self.sealer.clone(), Arc::clone(&self.publisher), Arc::clone(&self.indexer));
        let (a, b, c) = (shutdown.clone(), shutdown.clone(), shutdown.clone());
        let mut stages = Stages::default();
        let share = Alone::new(self.log.partition_count());
        stages.add("the sealer", async move {
            sealer.run(share, a).await;
            Ok(())
        });
        stages.add("the publisher", async move {
            publisher.run(b).await;
            Ok(())
        });
        stages.add("the indexer", async move {
            indexer.run(c).await;
            Ok(())
        });
        stages
    }

    /// The door in front of the log.
    pub fn door(&self, record: &Record, config: &Config) -> Arc<Door> {
        let log: Arc<dyn EventLog> = Arc::new(Gate::new(Arc::clone(&self.log) as Arc<dyn EventLog>, self.sealer.clone()));
        Arc::new(Door::new(log, Arc::clone(&record.clock), door_settings(config)))
    }

    /// What status reports are read from.
    pub fn sources(&self, record: &Record) -> Sources {
        Sources {
            log: Arc::clone(&self.log) as Arc<dyn EventLog>,
            journal: Arc::clone(&record.journal),
            certificates: Arc::clone(&record.certificates),
            indexer: Arc::clone(&self.indexer),
            engine: Arc::clone(&record.engine),
            sealer: self.sealer.clone(),
            publisher: Arc::clone(&self.publisher),
        }
    }

    /// Registers the metrics of every stage.
    pub fn register_metrics(&self, record: &Record, door: &Door, registry: &mut Registry) {
        self.log.metrics().register(registry);
        record.journal.metrics().register(registry);
        record.lake.metrics().register(registry);
        self.publisher.metrics().register(registry);
        record.availability.metrics.register(registry);
        self.indexer.metrics().register(registry);
        record.engine.metrics().register(registry);
        record.graphql.metrics().register(registry);
        door.metrics().register(registry);
    }
}

/// A sealer with its seen-index in the folder of views.
fn sealer(config: &Config, journal: Arc<Journal>, log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Result<Sealer, Failure> {
    let views = config.data.dir.join("views");
    folder::create(&views)
        .map_err(|e| Failure::failed(&format!("{} cannot be made", views.display()), e).with_code(code::DIRECTORY_FAILED))?;
    let seen = SeenIndex::open(&views.join("seen"));
    let seen = seen.map_err(|e| Failure::failed("the seen-index cannot be opened", e).with_code(code::INDEX_FAILED))?;
    let settings = tributary_journal::Settings {
        batch_bytes_max: u32::try_from(config.seal.batch_bytes_max).unwrap_or(u32::MAX),
        batch_age_max: Duration::from_millis(config.seal.batch_age_ms),
        ..tributary_journal::Settings::default()
    };
    Ok(Sealer::new(journal, log, seen, clock, settings))
}

fn door_settings(config: &Config) -> tributary_ingest::Settings {
    tributary_ingest::Settings {
        in_flight_bytes_max: to_usize(config.ingest.in_flight_bytes_max),
        in_flight_requests_max: to_usize(config.ingest.in_flight_requests_max),
        ..tributary_ingest::Settings::default()
    }
}

/// The folder of the store.
pub fn store_directory(config: &Config) -> Result<PathBuf, Failure> {
    Ok(config.store.directory()?.unwrap_or_else(|| config.data.dir.join("store")))
}

fn check_is_one(config: &Config, store: &Path) -> Outcome {
    if store.is_dir() {
        return Ok(());
    }
    let directory = config.data.dir.display();
    Err(Failure::Failed(match config.store.url.is_empty() {
        true => format!("{directory} is no data directory: name the one that `tributary dev` writes with --data-dir"),
        false => format!("there is no store at {}: name the one that sealers write with `store.url`", store.display()),
    }))
}

/// A store that is written to.
pub fn store_to_write(directory: &Path) -> Result<Arc<dyn ObjectStore>, Failure> {
    LocalStore::open(directory).map_err(|e| Failure::failed("the store cannot be opened", e).with_code(code::STORE_FAILED))
}

/// A store that is only read.
pub fn store_to_read(directory: &Path) -> Result<Arc<dyn ObjectStore>, Failure> {
    let store = LocalStore::open_read_only(directory);
    store.map_err(|e| Failure::failed("the store cannot be read", e).with_code(code::STORE_FAILED))
}

/// Takes the directory for writing, creating it if need be.
pub fn take(directory: &Path) -> Result<DirectoryLock, LockError> {
    make(directory)?;
    DirectoryLock::take(directory)
}

/// Takes the directory for `dev`. A job that works on it is waited for, for at most [`DEV_WAIT_MAX`]; another `dev` is not.
pub async fn take_for_dev(directory: &Path) -> Result<DirectoryLock, LockError> {
    make(directory)?;
    let _turn = JobLock::take(directory, DEV_WAIT_MAX, |holder| {
        // A stderr that takes nothing is no reason to end.
        let name = directory.display();
        let _ = writeln!(
            std::io::stderr(),
            "waiting for the job of process {holder} that works on {name}, for at most {DEV_WAIT_MAX:?}"
        );
    })
    .await?;
    DirectoryLock::take(directory)
}

fn make(directory: &Path) -> Result<(), LockError> {
    folder::create(directory).map_err(|source| LockError::Io { directory: directory.display().to_string(), source })
}

/// What a job does before what is sealed can be settled.
#[derive(Debug)]
enum Part {
    /// All that the log holds is brought through all stages: nobody else works on the directory.
    All(DirectoryLock),
    /// What is sealed is brought through the stages behind. What is accepted lies in Kafka, and others seal it: a `seal` that runs on
    /// this directory, or elsewhere.
    WhatIsSealed(Option<DirectoryLock>),
    /// Nothing: a `dev` runs on the directory, and does it all.
    Nothing,
}

impl Part {
    /// To be asked behind the turnstile of jobs, so that whoever holds the directory is no job.
    fn of(directory: &Path) -> Result<Self, LockError> {
        let has_log = directory.join("log").is_dir();
        match take(directory) {
            Ok(lock) if has_log => Ok(Self::All(lock)),
            Ok(lock) => Ok(Self::WhatIsSealed(Some(lock))),
            Err(LockError::Held { .. }) if has_log => Ok(Self::Nothing),
            Err(LockError::Held { .. }) => Ok(Self::WhatIsSealed(None)),
            Err(error) => Err(error),
        }
    }
}

/// Opens the record for a job. What nobody else does first for what is accepted is done here ([`Part`]). Of several jobs at once
/// each waits until the one before it is through with this: what it finds sealed is then all that was accepted, and not a part of
/// it. The wait is `settlement.wait_ms` at most.
pub async fn record_for_job(config: &Config) -> Result<Record, Failure> {
    let record = Record::open(config, None).await?;
    make(&record.directory)?;
    let wait_max = Duration::from_millis(config.settlement.wait_ms);
    let _turn = JobLock::take(&record.directory, wait_max, |_| {}).await?;
    match Part::of(&record.directory)? {
        Part::All(lock) => record.writers(config, lock).await?.catch_up().await?,
        Part::WhatIsSealed(lock) => record.bring_on(config, lock.as_ref()).await?,
        Part::Nothing => {}
    }
    Ok(record)
}

async fn open_log(directory: &Path, partitions: PartitionCount) -> Result<Arc<EmbeddedLog>, Failure> {
    let log = EmbeddedLog::open(directory, partitions, tributary_eventlog::Settings::default()).await;
    log.map_err(|e| {
        let code = e.code();
        Failure::failed("the log cannot be opened", e).with_code(code)
    })
}

fn publisher_settings(config: &Config) -> tributary_da::Settings {
    tributary_da::Settings {
        blob_bytes_max: to_usize(config.da.blob_bytes_max),
        blob_age_max: Duration::from_millis(config.da.blob_age_ms),
        paused: config.da.paused,
        blobs_in_flight_max: to_usize(config.da.blobs_in_flight_max),
        ..tributary_da::Settings::default()
    }
}

fn query_settings(config: &Config) -> tributary_query::Settings {
    tributary_query::Settings {
        query_timeout: Duration::from_millis(config.query.timeout_ms),
        query_memory_max: to_usize(config.query.memory_bytes_max),
        rows_max: config.query.rows_max,
        queries_max: to_usize(config.query.queries_max),
        index_bytes_max: to_usize(config.query.index_bytes_max),
        ..tributary_query::Settings::default()
    }
}

fn graphql_settings(config: &Config) -> tributary_graphql::Settings {
    let graphql = &config.graphql;
    let origins = graphql.cors_origins.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    tributary_graphql::Settings {
        request_timeout: Duration::from_millis(graphql.timeout_ms),
        requests_max: to_usize(graphql.requests_max),
        complexity_max: graphql.complexity_max,
        depth_max: to_usize(graphql.depth_max),
        subscribers_max: to_usize(graphql.subscribers_max),
        stall_max: Duration::from_millis(graphql.stall_ms),
        cors_origins: origins.map(str::to_owned).collect(),
        version: crate::cli::VERSION.to_owned(),
        ..tributary_graphql::Settings::default()
    }
}

/// A configured size; on a 32-bit machine a larger one means "as much as there is".
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn beside_a_seal_a_job_brings_on_what_is_sealed_and_beside_a_dev_it_leaves_that_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let part = || Part::of(directory.path()).unwrap();
        assert!(matches!(part(), Part::WhatIsSealed(Some(_))), "nobody is there, and the log is in Kafka");
        let held = DirectoryLock::take(directory.path()).unwrap();
        assert!(matches!(part(), Part::WhatIsSealed(None)), "a `seal` holds it, which publishes nothing");
        std::fs::create_dir(directory.path().join("log")).unwrap();
        assert!(matches!(part(), Part::Nothing), "a `dev` holds it");
        drop(held);
        assert!(matches!(part(), Part::All(_)));
    }

    #[tokio::test]
    async fn who_holds_the_directory_with_the_store_publishes_under_one_name_and_others_under_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = directory.path().to_owned();
        let one = Record::open(&config, PartitionCount::new(1)).await.unwrap();
        let two = Record::open(&config, None).await.unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        let holds = |record: &Record, config: &Config| record.publisher_id(config, Some(&lock));
        assert_eq!(holds(&one, &config), holds(&two, &config), "whoever holds it after a crash knows what was under way");
        assert_ne!(one.publisher_id(&config, None), two.publisher_id(&config, None));
        assert_eq!(one.publisher_id(&config, None), one.publisher_id(&config, None));
        config.store.url = "file:///srv/store".to_owned();
        assert_ne!(holds(&one, &config), holds(&two, &config), "in a store elsewhere others may publish too");
        config.da.publisher = "tributary-0".to_owned();
        assert_eq!(holds(&one, &config), two.publisher_id(&config, None));
    }
}
