//! The event log in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tributary_eventlog::{Bounds, EventLog, LogError, LoggedRecord, Record};
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

mod damage;

pub(super) use damage::Incarnation;

/// A log that keeps every promise, unless somebody damages it.
pub(crate) struct MemoryLog {
    partitions: Vec<Mutex<Kept>>,
    /// Told of every record and every disturbance. It wakes who waits in the order in which they came, which a simulation
    /// relies on.
    changed: Vec<Notify>,
    count: PartitionCount,
    /// Whether what is released stays until time takes it away.
    keeps_released: bool,
    /// How often a log was cut off or replaced: what a client that reads is told of, whichever partition it was.
    disturbances: AtomicU64,
}

struct Kept {
    first: u64,
    records: Vec<LoggedRecord>,
    /// The logs that lay here, one after the other; the last is there now.
    logs: Vec<Incarnation>,
}

impl Kept {
    fn new() -> Self {
        Self { first: 0, records: Vec::new(), logs: vec![Incarnation::new()] }
    }

    fn bounds(&self) -> Bounds {
        Bounds { earliest: offset(self.first), next: offset(self.first + self.records.len() as u64) }
    }

    /// The log that is there.
    fn log(&mut self) -> &mut Incarnation {
        self.logs.last_mut().unwrap()
    }

    /// Forgets what lies before the offset.
    fn hold_from(&mut self, first: u64) {
        let forgotten = usize::try_from(first - self.first).unwrap();
        self.records.drain(..forgotten);
        self.first = first;
        self.log().held_from.insert(first);
    }
}

fn offset(number: u64) -> Offset {
    Offset::new(number).unwrap()
}

impl MemoryLog {
    pub(crate) fn new(partitions: u32) -> Arc<Self> {
        Self::made(partitions, false)
    }

    /// A log that goes by time in what it forgets, and not by what is released.
    pub(super) fn keeping(partitions: u32) -> Arc<Self> {
        Self::made(partitions, true)
    }

    fn made(partitions: u32, keeps_released: bool) -> Arc<Self> {
        Arc::new(Self {
            partitions: (0..partitions).map(|_| Mutex::new(Kept::new())).collect(),
            changed: (0..partitions).map(|_| Notify::new()).collect(),
            count: PartitionCount::new(partitions).unwrap(),
            keeps_released,
            disturbances: AtomicU64::new(0),
        })
    }

    /// Changes what is kept behind everybody's back: `first` offset and the records from there on.
    pub(crate) fn tamper(&self, partition: Partition, change: impl FnOnce(&mut u64, &mut Vec<LoggedRecord>)) {
        let mut kept = self.partitions[partition.index()].lock();
        let kept = &mut *kept;
        change(&mut kept.first, &mut kept.records);
    }

    /// The first record still held, and where the next will be.
    pub(super) fn extent(&self, partition: Partition) -> (u64, u64) {
        let bounds = self.partitions[partition.index()].lock().bounds();
        (bounds.earliest.get(), bounds.next.get())
    }

    /// The record at the offset, if it is held.
    pub(super) fn record_at(&self, partition: Partition, offset: u64) -> Option<LoggedRecord> {
        let kept = self.partitions[partition.index()].lock();
        let place = usize::try_from(offset.checked_sub(kept.first)?).unwrap();
        kept.records.get(place).cloned()
    }

    /// Shows records again that were forgotten, as a log that was opened again may; never what it lost.
    pub(super) fn show_again(&self, partition: Partition, from: u64) {
        let mut kept = self.partitions[partition.index()].lock();
        let kept = &mut *kept;
        let log = kept.logs.last_mut().unwrap();
        kept.first = kept.first.min(from.max(log.lost_before));
        kept.records = log.records[usize::try_from(kept.first).unwrap()..].to_vec();
        log.held_from.insert(kept.first);
    }

    /// How often a log was cut off or replaced.
    pub(super) fn disturbances(&self) -> u64 {
        self.disturbances.load(Ordering::SeqCst)
    }

    /// Comes with the next record of the partition, or the next disturbance, after this was called.
    pub(super) fn change(&self, partition: Partition) -> impl Future<Output = ()> + Send {
        self.changed[partition.index()].notified()
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
            kept.log().records.push(record.clone());
            kept.records.push(record);
            self.changed[partition.index()].notify_waiters();
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
            let change = self.change(partition);
            if self.partitions[partition.index()].lock().bounds().next > offset {
                return Ok(());
            }
            change.await;
        }
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        let mut kept = self.partitions[partition.index()].lock();
        let bounds = kept.bounds();
        if before > bounds.next {
            return Err(LogError::OutOfRange { partition, offset: before, bounds });
        }
        if !self.keeps_released {
            let first = before.get().saturating_sub(1).max(kept.first);
            kept.hold_from(first);
        }
        Ok(())
    }
}
