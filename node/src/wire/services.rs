//! The services of the front half: any number of processes of each, joined by Kafka and the store.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tributary_eventlog::kafka::Member;
use tributary_eventlog::{EmbeddedLog, EventLog, Jitter, KafkaLog, Share};
use tributary_ingest::Door;
use tributary_journal::sealer::Sealer;
use tributary_journal::{Genesis, Journal, JournalError};
use tributary_schemas::ids::{Clock, PartitionCount, SystemClock};

use super::{door_settings, open_log, sealer, store_directory, store_to_read, store_to_write, take};
use crate::config::{Config, ConfigError};
use crate::exit::{Failure, Outcome, code};
use crate::lock::DirectoryLock;
use crate::stages::Stages;
use crate::status::failing::Failing;

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
    if let Some(settings) = config.kafka.settings()? {
        return Ok(Log::Kafka(KafkaLog::open(settings, partitions).await?));
    }
    let directory = config.data.dir.join("log");
    if !directory.is_dir() {
        let name = config.data.dir.display();
        let reason = format!("there is no log: `kafka.bootstrap` is not set, and {name} (`data.dir`) holds none");
        return Err(ConfigError::Invalid(reason).into());
    }
    let lock = take(&config.data.dir)?;
    Ok(Log::Embedded { log: open_log(&directory, partitions).await?, _lock: lock })
}

/// What the deployment was born with; `None` if there is none.
pub async fn found_genesis(config: &Config) -> Result<Option<Genesis>, Failure> {
    let directory = store_directory(config)?;
    if !directory.is_dir() {
        return Ok(None);
    }
    Ok(tributary_journal::store::read_genesis(&*store_to_read(&directory)?).await?)
}

/// What the deployment was born with.
pub async fn existing_genesis(config: &Config) -> Result<Genesis, Failure> {
    let directory = store_directory(config)?;
    let missing = || {
        let name = directory.display();
        let cure = "`tributary topics create` makes one; if it is elsewhere, name its store in `store.url`";
        Failure::Failed(format!("there is no deployment in {name}: {cure}")).with_code(code::DEPLOYMENT_MISSING)
    };
    found_genesis(config).await?.ok_or_else(missing)
}

/// The partitions that a new deployment is born with.
pub fn partitions_of_new(config: &Config) -> Result<PartitionCount, Failure> {
    let count = config.data.partitions;
    let refused = || ConfigError::Invalid(format!("`data.partitions` must be 1 to {}, not {count}", PartitionCount::MAX));
    Ok(PartitionCount::new(count).ok_or_else(refused)?)
}

/// What the deployment was born with; it is born now, with the partitions of the configuration, if there is none.
pub async fn genesis_or_new(config: &Config) -> Result<Genesis, Failure> {
    let store = store_to_write(&store_directory(config)?)?;
    let born_with = match tributary_journal::store::read_genesis(&*store).await? {
        Some(_) => None,
        None => Some(partitions_of_new(config)?),
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
    jitter: Jitter,
}

impl Ingest {
    /// Joins the door to the log. Nothing is asked of the brokers yet.
    pub async fn new(config: &Config) -> Result<Self, Failure> {
        let genesis = existing_genesis(config).await?;
        let log = connect(config, genesis.partitions)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let door = Arc::new(Door::new(Arc::clone(&log) as Arc<dyn EventLog>, clock, door_settings(config)));
        Ok(Self { log, door, jitter: Jitter::default() })
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
        let (log, shutdown, jitter) = (Arc::clone(&self.log), shutdown.clone(), self.jitter.clone());
        let mut stages = Stages::default();
        stages.add("the topic's check", async move {
            until_checked(&log, &shutdown, &jitter).await?;
            // Nobody sends to a door that is not ready: it looks itself whether the brokers are back.
            while !shutdown.is_cancelled() {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = pause(&jitter) => {
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
    /// What fails, and for how long.
    pub failing: Failing,
    jitter: Jitter,
    settings: tributary_eventlog::kafka::Settings,
    group: String,
    session: Duration,
    _lock: DirectoryLock,
}

impl Seal {
    /// Takes the data directory for the seen-index, opens the journal and joins both to the log. A store that holds the deployment
    /// and then does not answer is waited for; nothing is asked of the brokers yet.
    pub async fn new(config: &Config) -> Result<Self, Failure> {
        let genesis = existing_genesis(config).await?;
        let settings = required_settings(config)?;
        let lock = take(&config.data.dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let jitter = Jitter::default();
        let store = store_to_write(&store_directory(config)?)?;
        let journal = journal_at_last(&store, genesis.partitions, &clock, &jitter).await?;
        let log = connect(config, genesis.partitions)?;
        let sealer = sealer(config, Arc::clone(&journal), Arc::clone(&log) as Arc<dyn EventLog>, clock)?;
        let group = match config.kafka.group.as_str() {
            "" => format!("tributary-seal-{}", genesis.deployment),
            named => named.to_owned(),
        };
        let session = Duration::from_millis(config.kafka.session_timeout_ms);
        let failing = Failing::default();
        Ok(Self { log, journal, sealer, failing, jitter, settings, group, session, _lock: lock })
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
        let (failing, jitter) = (self.failing.clone(), self.jitter.clone());
        let mut stages = Stages::default();
        stages.add("the sealer", async move {
            until_checked(&log, &shutdown, &jitter).await?;
            if shutdown.is_cancelled() {
                return Ok(());
            }
            let member = Member::join(&settings, (&group, session), log.partition_count(), log.metrics().clone())?;
            let share = Arc::clone(&member) as Arc<dyn Share>;
            tokio::select! {
                () = sealer.run(share, shutdown) => Ok(()),
                never = failing.watch(&*log, &sealer, &member, &jitter) => match never {},
            }
        });
        stages
    }

    /// Ends what reads the log.
    pub async fn close(&self) {
        self.log.close().await;
    }
}

/// Opens the journal of a deployment that is there. A store that does not answer is waited for.
pub(super) async fn journal_at_last(
    store: &Arc<dyn ObjectStore>,
    partitions: PartitionCount,
    clock: &Arc<dyn Clock>,
    jitter: &Jitter,
) -> Result<Arc<Journal>, Failure> {
    loop {
        match Journal::open(Arc::clone(store), Some(partitions), Arc::clone(clock)).await {
            Err(error @ JournalError::Retry { .. }) => {
                tracing::warn!(code = error.code(), %error, "the journal is not opened yet");
                pause(jitter).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Asks the brokers until one has told what the topic is like, or until shut down.
async fn until_checked(log: &KafkaLog, shutdown: &CancellationToken, jitter: &Jitter) -> Outcome {
    loop {
        let checked = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            checked = log.check_topic() => checked,
        };
        match checked {
            Ok(()) => return Ok(()),
            Err(fault) if fault.is_passing() => tracing::warn!(code = fault.code(), error = %fault, "Kafka"),
            Err(fault) => return Err(fault.into()),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = pause(jitter) => {}
        }
    }
}

async fn pause(jitter: &Jitter) {
    tokio::time::sleep(jitter.pause(ASK_AGAIN)).await;
}

fn connect(config: &Config, partitions: PartitionCount) -> Result<Arc<KafkaLog>, Failure> {
    Ok(KafkaLog::connect(required_settings(config)?, partitions)?)
}

/// How Kafka is reached, which this command needs.
pub fn required_settings(config: &Config) -> Result<tributary_eventlog::kafka::Settings, Failure> {
    let missing = || ConfigError::Invalid("`kafka.bootstrap` is not set: name some brokers as host:port".to_owned());
    Ok(config.kafka.settings()?.ok_or_else(missing)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A deployment in a folder, and a configuration whose brokers are not there.
    async fn deployment() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = folder.path().join("data");
        config.kafka.bootstrap = "127.0.0.1:1".to_owned();
        genesis_or_new(&config).await.unwrap();
        (folder, config)
    }

    #[tokio::test]
    async fn a_service_that_cannot_start_says_the_code_the_key_and_the_cure() {
        let (_folder, mut config) = deployment().await;
        config.kafka.tls = true;
        config.kafka.tls_ca_file = config.data.dir.join("no-such-ca.pem");
        for failure in [Ingest::new(&config).await.err().unwrap(), Seal::new(&config).await.err().unwrap()] {
            let text = failure.to_string();
            assert!(text.starts_with("`kafka.tls_ca_file`: ") && text.ends_with("[kafka_tls_file]"), "{text}");
            assert!(text.contains("no-such-ca.pem") && matches!(failure, Failure::Usage(_)), "{text}");
        }
        config.kafka.bootstrap.clear();
        let text = Ingest::new(&config).await.err().unwrap().to_string();
        assert!(text.contains("`kafka.bootstrap`") && text.ends_with("[config_invalid]"), "{text}");
        config.data.dir = config.data.dir.join("elsewhere");
        let text = Seal::new(&config).await.err().unwrap().to_string();
        assert!(text.contains("`tributary topics create`") && text.ends_with("[deployment_missing]"), "{text}");
    }

    #[tokio::test]
    async fn a_data_directory_that_is_in_use_is_named_with_the_code() {
        let (_folder, config) = deployment().await;
        let _held = take(&config.data.dir).unwrap();
        let text = Seal::new(&config).await.err().unwrap().to_string();
        assert!(text.contains("--data-dir") && text.ends_with("[directory_in_use]"), "{text}");
    }

    #[tokio::test]
    async fn the_log_of_a_command_whose_brokers_are_away_is_refused_with_the_code() {
        let (_folder, config) = deployment().await;
        let text = event_log(&config, PartitionCount::new(4).unwrap()).await.err().unwrap().to_string();
        assert!(text.contains("`kafka.bootstrap` (127.0.0.1:1)") && text.ends_with("[kafka_unreachable]"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_before_brokers_are_asked_again_lasts_as_long_as_chance_has_it() {
        for (share, longest) in [(0.0, ASK_AGAIN / 2), (1.0, ASK_AGAIN)] {
            let began = tokio::time::Instant::now();
            pause(&Jitter::new(move || share)).await;
            let lasted = began.elapsed();
            assert!((longest..longest + Duration::from_millis(5)).contains(&lasted), "{lasted:?}");
        }
    }
}
