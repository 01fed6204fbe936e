//! The log as the door sees it: it takes no event that could not be sealed.

use std::sync::Arc;

use async_trait::async_trait;
use tributary_eventlog::{Bounds, EventLog, LogError, LoggedRecord, Record};
use tributary_journal::sealer::Sealer;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

/// Refuses records of a partition whose sealer stands still, as when log and journal contradict each other: what were
/// accepted then would lie in a log that nobody reads on, and be lost with it.
pub struct Gate {
    log: Arc<dyn EventLog>,
    sealer: Sealer,
}

impl Gate {
    /// A gate in front of the log that the sealer reads.
    pub fn new(log: Arc<dyn EventLog>, sealer: Sealer) -> Self {
        Self { log, sealer }
    }
}

#[async_trait]
impl EventLog for Gate {
    fn partition_count(&self) -> PartitionCount {
        self.log.partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        let (stopped, count) = (self.sealer.stopped(), self.log.partition_count());
        let met = |(partition, _): &&(Partition, String)| records.iter().any(|r| count.partition_of(&r.key) == *partition);
        if let Some((partition, error)) = stopped.iter().find(met) {
            let reason = format!("partition {partition} stands still until an operator mends its cause: {error}");
            return Err(LogError::Retry { reason });
        }
        self.log.append(records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.log.bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        self.log.read(partition, from, max_bytes).await
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        self.log.wait_beyond(partition, offset).await
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        self.log.release(partition, before).await
    }

    fn forget(&self, partition: Partition) {
        self.log.forget(partition);
    }

    fn trouble(&self) -> Option<LogError> {
        self.log.trouble()
    }
}
