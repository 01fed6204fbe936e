//! The services of the front half: any number of processes of each, joined by Kafka and the store.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tributary_eventlog::kafka::Member;
use tributary_eventlog::{EmbeddedLog, EventLog, KafkaLog, LogError, Share};
use tributary_ingest::Door;
use tributary_journal::sealer::Sealer;
use tributary_journal::{Genesis, Journal, JournalError};
use tributary_schemas::ids::{Clock, PartitionCount, SystemClock};

use super::{door_settings, open_log, sealer, store_directory, store_to_read, store_to_write, take};
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::lock::DirectoryLock;
use crate::stages::Stages;

/// How long to wait before brokers or a store that did not answer are asked again: half of this to the whole.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The log that the configuration names.
pub enum Log {
    /// In Kafka.
    Kafka(Arc<KafkaLog>),
    /// In the data directory, which nobody else may use meanwhile.
    Embedded {
        /// The log.
        log: Arc<EmbeddedLog>,
        /// What keeps others out.
        _lock: DirectoryLock,
    },
}

impl Log {
    /// Whatever it is, as a log.
    pub fn as_log(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Kafka(log) => Arc::clone(log) as Arc<dyn EventLog>,
            Self::Embedded { log, .. } => Arc::clone(log) as Arc<dyn EventLog>,
        }
    }
}

/// Opens the log for one command: Kafka where it is configured, else the log of the data directory.
pub async fn event_log(config: &Config, partitions: PartitionCount) -> Result<Log, Failure> {
    let failed = |error: LogError| Failure::failed("the log cannot be opened", error);
    if let Some(settings) = kafka_settings(config)? {
        return KafkaLog::open(settings, partitions).await.map(Log::Kafka).map_err(failed);
    }
    let directory = config.data.dir.join("log");
    if !directory.is_dir() {
        let name = config.data.dir.display();
        return Err(Failure::Usage(format!("there is no log: `kafka.bootstrap` is not set, and {name} holds none")));
    }
    let lock = take(&config.data.dir).map_err(|e| Failure::Failed(e.to_string()))?;
    Ok(Log::Embedded { log: open_log(&directory, partitions).await?, _lock: lock })
}

/// What the deployment was born with.
pub async fn existing_genesis(config: &Config) -> Result<Genesis, Failure> {
    let directory = store_directory(config)?;
    let missing = || {
        let name = directory.display();
        Failure::Failed(format!("there is no deployment in {name}: `tributary topics create` makes one"))
    };
    if !directory.is_dir() {
        return Err(missing());
    }
    let found = tributary_journal::store::read_genesis(&*store_to_read(&directory)?).await?;
    found.ok_or_else(missing)
}

/// What the deployment was born with; it is born now, with the partitions of the configuration, if there is none.
pub async fn genesis_or_new(config: &Config) -> Result<Genesis, Failure> {
    let store = store_to_write(&store_directory(config)?)?;
    let found = tributary_journal::store::read_genesis(&*store).await?;
    let count = config.data.partitions;
    let refused = || Failure::Usage(format!("{count} partitions cannot be had: name 1 to {}", PartitionCount::MAX));
    let born_with = match found {
        Some(_) => None,
        None => Some(PartitionCount::new(count).ok_or_else(refused)?),
    };
    let journal = Journal::open(store, born_with, Arc::new(SystemClock)).await?;
    Ok(journal.genesis().clone())
}

/// The journal, for a command that writes it.
pub async fn journal_to_write(config: &Config) -> Result<(Arc<Journal>, Arc<dyn Clock>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = store_to_write(&store_directory(config)?)?;
    Ok((Journal::open(store, None, Arc::clone(&clock)).await?, clock))
}

/// The journal, for a command that reads it.
pub async fn journal_to_read(config: &Config) -> Result<Arc<Journal>, Failure> {
    existing_genesis(config).await?;
    Ok(Journal::open(store_to_read(&store_directory(config)?)?, None, Arc::new(SystemClock)).await?)
}

/// `tributary ingest`: the door in front of Kafka. It keeps nothing.
pub struct Ingest {
    log: Arc<KafkaLog>,
    /// The door.
    pub door: Arc<Door>,
}

impl Ingest {
    /// Joins the door to the log. Nothing is asked of the brokers yet.
    pub async fn new(config: &Config) -> Result<Self, Failure> {
        let genesis = existing_genesis(config).await?;
        let log = connect(config, genesis.partitions)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let door = Arc::new(Door::new(Arc::clone(&log) as Arc<dyn EventLog>, clock, door_settings(config)));
        Ok(Self { log, door })
    }

    /// Registers its metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.log.metrics().register(registry);
        self.door.metrics().register(registry);
    }

    /// Why it takes no events now, line by line.
    pub fn unready(&self) -> Vec<String> {
        self.log.trouble().map(|error| format!("takes no events: {error}")).into_iter().collect()
    }

    /// Starts what must run beside the door.
    pub fn start(&self, shutdown: &CancellationToken) -> Stages {
        let (log, shutdown) = (Arc::clone(&self.log), shutdown.clone());
        let mut stages = Stages::default();
        stages.add("the topic's check", async move {
            until_checked(&log, &shutdown).await?;
            // Nobody sends to a door that is not ready: it looks itself whether the brokers are back.
            while !shutdown.is_cancelled() {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = pause() => {
                        if log.trouble().is_some() && log.check_topic().await.is_ok() {
                            tracing::info!("the brokers answer again");
                        }
                    }
                }
            }
            Ok(())
        });
        stages
    }

    /// Waits for the records that are on their way.
    pub async fn close(&self) {
        self.log.close().await;
    }
}

/// `tributary seal`: sealers that share the partitions with those of other processes.
pub struct Seal {
    log: Arc<KafkaLog>,
    /// What it writes.
    pub journal: Arc<Journal>,
    /// Log → journal.
    pub sealer: Sealer,
    settings: tributary_eventlog::kafka::Settings,
    group: String,
    session: Duration,
    _lock: DirectoryLock,
}

impl Seal {
    /// Takes the data directory for the seen-index, opens the journal and joins both to the log. A store that does not answer is
    /// waited for; nothing is asked of the brokers yet.
    pub async fn new(config: &Config) -> Result<Self, Failure> {
        let genesis = existing_genesis(config).await?;
        let settings = required_settings(config)?;
        let lock = take(&config.data.dir).map_err(|e| Failure::Failed(e.to_string()))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = store_to_write(&store_directory(config)?)?;
        let journal = loop {
            match Journal::open(Arc::clone(&store), Some(genesis.partitions), Arc::clone(&clock)).await {
                Ok(journal) => break journal,
                Err(error @ JournalError::Retry { .. }) => {
                    tracing::warn!(%error, "the journal is not opened yet");
                    pause().await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let log = connect(config, genesis.partitions)?;
        let sealer = sealer(config, Arc::clone(&journal), Arc::clone(&log) as Arc<dyn EventLog>, clock)?;
        let (group, session) = (config.kafka.group.clone(), Duration::from_millis(config.kafka.session_timeout_ms));
        Ok(Self { log, journal, sealer, settings, group, session, _lock: lock })
    }

    /// The log, for reports.
    pub fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log) as Arc<dyn EventLog>
    }

    /// Registers its metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.log.metrics().register(registry);
        self.journal.metrics().register(registry);
    }

    /// Starts sealing as soon as the topic is known to be the deployment's.
    pub fn start(&self, shutdown: &CancellationToken) -> Stages {
        let (log, sealer, shutdown) = (Arc::clone(&self.log), self.sealer.clone(), shutdown.clone());
        let (settings, group, session) = (self.settings.clone(), self.group.clone(), self.session);
        let mut stages = Stages::default();
        stages.add("the sealer", async move {
            until_checked(&log, &shutdown).await?;
            if shutdown.is_cancelled() {
                return Ok(());
            }
            let member = Member::join(&settings, (&group, session), log.partition_count(), log.metrics().clone());
            let member: Arc<dyn Share> = member.map_err(|e| Failure::failed("the group cannot be joined", e))?;
            sealer.run(member, shutdown).await;
            Ok(())
        });
        stages
    }

    /// Ends what reads the log.
    pub async fn close(&self) {
        self.log.close().await;
    }
}

/// Asks the brokers until one has told what the topic is like, or until shut down.
async fn until_checked(log: &KafkaLog, shutdown: &CancellationToken) -> Outcome {
    loop {
        let checked = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            checked = log.check_topic() => checked,
        };
        match checked {
            Ok(()) => return Ok(()),
            Err(error @ LogError::Retry { .. }) => tracing::warn!(%error, "Kafka"),
            Err(error) => return Err(Failure::Failed(error.to_string())),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = pause() => {}
        }
    }
}

async fn pause() {
    tokio::time::sleep(ASK_AGAIN.mul_f64(rand::random_range(0.5..=1.0))).await;
}

fn connect(config: &Config, partitions: PartitionCount) -> Result<Arc<KafkaLog>, Failure> {
    KafkaLog::connect(required_settings(config)?, partitions).map_err(|e| Failure::failed("Kafka cannot be used", e))
}

fn kafka_settings(config: &Config) -> Result<Option<tributary_eventlog::kafka::Settings>, Failure> {
    config.kafka.settings().map_err(|e| Failure::Usage(e.to_string()))
}

/// How Kafka is reached, which this command needs.
pub fn required_settings(config: &Config) -> Result<tributary_eventlog::kafka::Settings, Failure> {
    let missing = || Failure::Usage("`kafka.bootstrap` is not set: name some brokers as host:port".to_owned());
    kafka_settings(config)?.ok_or_else(missing)
}
