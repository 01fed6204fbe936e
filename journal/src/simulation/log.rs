//! The event log in memory.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tributary_eventlog::{Bounds, EventLog, LogError, LoggedRecord, Record};
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

/// A log that keeps every promise.
pub(crate) struct MemoryLog {
    partitions: Vec<Mutex<Kept>>,
    /// Told of every record. It wakes who waits in the order in which they came, which a simulation relies on.
    grown: Vec<Notify>,
    count: PartitionCount,
}

#[derive(Default)]
struct Kept {
    first: u64,
    records: Vec<LoggedRecord>,
    /// What was ever recorded, from offset 0 on.
    ever: Vec<LoggedRecord>,
}

impl Kept {
    fn bounds(&self) -> Bounds {
        Bounds { earliest: offset(self.first), next: offset(self.first + self.records.len() as u64) }
    }
}

fn offset(number: u64) -> Offset {
    Offset::new(number).unwrap()
}

impl MemoryLog {
    pub(crate) fn new(partitions: u32) -> Arc<Self> {
        Arc::new(Self {
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
            grown: (0..partitions).map(|_| Notify::new()).collect(),
            count: PartitionCount::new(partitions).unwrap(),
        })
    }

    /// Changes what is kept behind everybody's back: `first` offset and the records from there on.
    pub(crate) fn tamper(&self, partition: Partition, change: impl FnOnce(&mut u64, &mut Vec<LoggedRecord>)) {
        let mut kept = self.partitions[partition.index()].lock();
        let kept = &mut *kept;
        change(&mut kept.first, &mut kept.records);
    }

    /// Every record that the partition ever took, forgotten or not.
    pub(super) fn ever(&self, partition: Partition) -> Vec<LoggedRecord> {
        self.partitions[partition.index()].lock().ever.clone()
    }

    /// The first record still held.
    pub(super) fn earliest(&self, partition: Partition) -> u64 {
        self.partitions[partition.index()].lock().first
    }

    /// Shows records again that were forgotten, as a log that was opened again may.
    pub(super) fn show_again(&self, partition: Partition, from: u64) {
        let mut kept = self.partitions[partition.index()].lock();
        let kept = &mut *kept;
        kept.first = kept.first.min(from);
        kept.records = kept.ever[usize::try_from(kept.first).unwrap()..].to_vec();
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn partition_count(&self) -> PartitionCount {
        self.count
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        for Record { key, value } in records {
            let partition = self.count.partition_of(&key);
            let mut kept = self.partitions[partition.index()].lock();
            let record = LoggedRecord { offset: kept.bounds().next, key, value };
            kept.ever.push(record.clone());
            kept.records.push(record);
            self.grown[partition.index()].notify_waiters();
        }
        Ok(())
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        Ok(self.partitions[partition.index()].lock().bounds())
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let kept = self.partitions[partition.index()].lock();
        let bounds = kept.bounds();
        if from < bounds.earliest || from > bounds.next {
            return Err(LogError::OutOfRange { partition, offset: from, bounds });
        }
        let skip = usize::try_from(from.get() - kept.first).unwrap();
        let mut bytes = 0;
        let fits = |record: &&LoggedRecord| {
            let first = bytes == 0;
            bytes += record.bytes();
            first || bytes <= max_bytes
        };
        Ok(kept.records[skip..].iter().take_while(fits).cloned().collect())
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        loop {
            // Made before the look, so that a record between the two is not missed.
            let grown = self.grown[partition.index()].notified();
            if self.partitions[partition.index()].lock().bounds().next > offset {
                return Ok(());
            }
            grown.await;
        }
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        let mut kept = self.partitions[partition.index()].lock();
        let bounds = kept.bounds();
        if before > bounds.next {
            return Err(LogError::OutOfRange { partition, offset: before, bounds });
        }
        let keep_from = before.get().saturating_sub(1).max(kept.first);
        let forget = usize::try_from(keep_from - kept.first).unwrap();
        kept.records.drain(..forget);
        kept.first = keep_from;
        Ok(())
    }
}
