//! The log on Kafka: one topic, whose partitions are those of the deployment.
//!
//! Appends go through an idempotent producer and answer once all in-sync replicas have the records. Reading assigns partitions by
//! itself and starts where it is told: there is no automatic reset of offsets, and no group decides what can be read. Kafka's own
//! retention forgets records; [`EventLog::release`] only says how far the journal is.
//!
//! Memory: the appends that wait ([`Settings::append_bytes_max`]) and, for each partition that is read,
//! [`Settings::read_ahead_bytes`] twice.

mod appender;
mod group;
mod reader;
mod settings;
mod topic;
mod watermarks;

use std::sync::Arc;

use async_trait::async_trait;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use self::appender::Appender;
pub use self::group::Member;
use self::reader::Reader;
pub use self::settings::{Compression, Mechanism, Sasl, Security, Settings, Tls};
pub use self::topic::{Finding, TopicPlan, check, create};
use self::watermarks::Watermarks;
use crate::EventLog;
use crate::error::LogError;
use crate::metrics::Metrics;
use crate::record::{Bounds, LoggedRecord, Record};

/// The log on Kafka.
pub struct KafkaLog {
    partitions: PartitionCount,
    appender: Arc<Appender>,
    reader: Reader,
    metrics: Metrics,
}

impl KafkaLog {
    /// Opens the log in a topic that is there.
    ///
    /// # Errors
    /// [`LogError::Reject`] when the topic does not exist or has another number of partitions, and for settings that make no
    /// client; [`LogError::Retry`] when no broker answers.
    pub async fn open(settings: Settings, partitions: PartitionCount) -> Result<Arc<Self>, LogError> {
        let asked = settings.clone();
        let found = tokio::task::spawn_blocking(move || topic::partitions_of(&asked)).await.map_err(|_| LogError::Closed)??;
        if found != partitions.get() as usize {
            let reason = format!("topic {} has {found} partitions; the deployment has {}", settings.topic, partitions.get());
            return Err(LogError::Reject { reason });
        }
        let (metrics, watermarks) = (Metrics::default(), Arc::new(Watermarks::new(partitions)));
        let appender = Arc::new(Appender::new(settings.clone(), Arc::clone(&watermarks), metrics.clone())?);
        let reader = Reader::new(settings, partitions, watermarks)?;
        Ok(Arc::new(Self { partitions, appender, reader, metrics }))
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
        let (placed, bytes) = place(records, self.partitions)?;
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
        let bounds = self.reader.bounds(partition).await?;
        if before > bounds.next {
            return Err(LogError::OutOfRange { partition, offset: before, bounds });
        }
        Ok(())
    }

    fn trouble(&self) -> Option<LogError> {
        self.appender.trouble()
    }
}

/// Each record with its partition, and their bytes.
fn place(records: Vec<Record>, partitions: PartitionCount) -> Result<(Vec<(Partition, Record)>, usize), LogError> {
    let mut bytes = 0_usize;
    let mut placed = Vec::with_capacity(records.len());
    for record in records {
        record.check()?;
        bytes += record.bytes();
        placed.push((partitions.partition_of(&record.key), record));
    }
    Ok((placed, bytes))
}
