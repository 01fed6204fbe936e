//! The log on Kafka: one topic, whose partitions are those of the deployment.
//!
//! Appends go through an idempotent producer and answer once all in-sync replicas have the records. Reading assigns partitions by
//! itself and starts where it is told: there is no automatic reset of offsets, and no group decides what can be read. Kafka's own
//! retention forgets records; [`EventLog::release`] only says how far the journal is.
//!
//! Memory: the appends that wait ([`Settings::append_bytes_max`]) and, for each partition that is read,
//! [`Settings::read_ahead_bytes`] twice, until the partition is forgotten.

mod appender;
mod disturbances;
mod events;
mod fault;
mod group;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod topic;
mod watermarks;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use self::appender::Appender;
pub use self::fault::{Fault, FaultKind};
pub use self::group::Member;
use self::reader::Reader;
pub use self::settings::{Compression, OAuth, Password, Sasl, Security, Settings, Tls};
pub use self::topic::{Finding, TopicPlan, check, check_when_known, create, rehearse};
use self::watermarks::Watermarks;
use crate::EventLog;
use crate::error::LogError;
use crate::metrics::Metrics;
use crate::record::{Bounds, LoggedRecord, Record, place};

/// The log on Kafka.
pub struct KafkaLog {
    partitions: PartitionCount,
    appender: Arc<Appender>,
    reader: Reader,
    metrics: Metrics,
    settings: Settings,
    /// Whether the topic was seen to be the deployment's.
    is_checked: AtomicBool,
    /// Why it was not at the last look.
    fault: Mutex<Option<Fault>>,
}

impl KafkaLog {
    /// Opens the log in a topic that is there.
    ///
    /// # Errors
    /// A [`Fault`]: as [`Self::connect`] and [`Self::check_topic`].
    pub async fn open(settings: Settings, partitions: PartitionCount) -> Result<Arc<Self>, Fault> {
        let log = Self::connect(settings, partitions)?;
        log.check_topic().await?;
        Ok(log)
    }

    /// A log that takes no record before [`Self::check_topic`] has succeeded. Brokers need not be there yet.
    ///
    /// # Errors
    /// A [`Fault`] for settings that make no client, and for files that cannot be used.
    pub fn connect(settings: Settings, partitions: PartitionCount) -> Result<Arc<Self>, Fault> {
        settings.security.check()?;
        let (metrics, watermarks) = (Metrics::default(), Arc::new(Watermarks::new(partitions)));
        let appender = Arc::new(Appender::new(settings.clone(), Arc::clone(&watermarks), metrics.clone()));
        let reader = Reader::new(settings.clone(), partitions, watermarks, metrics.clone())?;
        let (is_checked, fault) = (AtomicBool::new(false), Mutex::default());
        Ok(Arc::new(Self { partitions, appender, reader, metrics, settings, is_checked, fault }))
    }

    /// Compares the topic with the deployment.
    ///
    /// # Errors
    /// A [`Fault`] when no broker answers, or the topic does not exist or has another number of partitions.
    pub async fn check_topic(&self) -> Result<(), Fault> {
        let checked = self.compare().await;
        *self.fault.lock() = checked.as_ref().err().cloned();
        checked?;
        self.is_checked.store(true, Ordering::Release);
        self.appender.forget_trouble();
        Ok(())
    }

    async fn compare(&self) -> Result<(), Fault> {
        let found = topic::partitions_of(&self.settings).await?;
        let (topic, born) = (&self.settings.topic, self.partitions.get());
        if found == born as usize {
            return Ok(());
        }
        let what = format!("topic {topic} has {found} partitions; the deployment has {born}");
        Err(Fault::new(FaultKind::PartitionCount, what))
    }

    fn check_ready(&self) -> Result<(), LogError> {
        if self.is_checked.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(LogError::Retry { reason: format!("no broker has told yet what topic {} is like", self.settings.topic) })
    }

    /// The log's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits for what is on its way, and ends. Whoever waits gets [`LogError::Closed`].
    pub async fn close(&self) {
        let appender = Arc::clone(&self.appender);
        let _ = tokio::task::spawn_blocking(move || appender.flush()).await;
        self.reader.close();
    }

    fn known(&self, partition: Partition) -> Result<(), LogError> {
        let count = self.partitions.get();
        if partition.index() < count as usize {
            return Ok(());
        }
        Err(LogError::Reject { reason: format!("there is no partition {partition} among {count}") })
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    fn partition_count(&self) -> PartitionCount {
        self.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        self.check_ready()?;
        let (placed, bytes) = place(records, self.partitions, self.appender.bytes_max())?;
        self.appender.append(placed, bytes).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.known(partition)?;
        self.reader.bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        self.known(partition)?;
        self.reader.read(partition, from, max_bytes).await
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        self.known(partition)?;
        self.reader.wait_beyond(partition, offset).await
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        self.known(partition)?;
        if self.reader.reaches(partition, before) {
            return Ok(());
        }
        let bounds = self.reader.bounds(partition).await?;
        if before > bounds.next {
            return Err(LogError::OutOfRange { partition, offset: before, bounds });
        }
        Ok(())
    }

    fn forget(&self, partition: Partition) {
        if self.known(partition).is_ok() {
            self.reader.forget(partition);
        }
    }

    fn trouble(&self) -> Option<LogError> {
        let Err(unknown) = self.check_ready() else { return self.appender.trouble() };
        // Who asks for the state of this process may know what it is that the senders of records are not told.
        Some(self.fault.lock().as_ref().map_or(unknown, Fault::to_retry))
    }
}
