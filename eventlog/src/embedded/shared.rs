//! What the writer and the readers of a log share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use super::store::Store;
use crate::error::LogError;
use crate::metrics::Metrics;
use crate::record::Bounds;
use crate::settings::Settings;

/// Taken for the size of a record before any was appended.
const RECORD_BYTES_GUESS: u64 = 512;

/// The state of an open log.
pub struct Shared {
    pub dir: PathBuf,
    pub partitions: PartitionCount,
    pub settings: Settings,
    pub metrics: Metrics,
    /// `None` after it was closed, and while it could not be reopened.
    store: RwLock<Option<Store>>,
    /// What can be read of each partition; its change wakes those who wait.
    heads: Vec<watch::Sender<Bounds>>,
    closed: watch::Sender<bool>,
    records_counted: AtomicU64,
    bytes_counted: AtomicU64,
}

impl Shared {
    /// Reads the bounds of every partition.
    pub fn new(dir: PathBuf, partitions: PartitionCount, settings: Settings, store: Store) -> Result<Self, LogError> {
        let mut heads = Vec::with_capacity(partitions.get() as usize);
        let metrics = Metrics::default();
        for partition in partitions.partitions() {
            let bounds = store.bounds(partition)?;
            metrics.backlog_records.inc_by(records(&bounds));
            heads.push(watch::Sender::new(bounds));
        }
        let (records_counted, bytes_counted) = (AtomicU64::new(0), AtomicU64::new(0));
        let (store, closed) = (RwLock::new(Some(store)), watch::Sender::new(false));
        Ok(Self { dir, partitions, settings, metrics, store, heads, closed, records_counted, bytes_counted })
    }

    /// Runs `work` on the storage; others may read meanwhile, but it stays open.
    pub fn with_store<T>(&self, work: impl FnOnce(&Store) -> Result<T, LogError>) -> Result<T, LogError> {
        match self.store.read().as_ref() {
            Some(store) => work(store),
            None if self.is_closed() => Err(LogError::Closed),
            None => Err(LogError::Retry { reason: "the storage failed and has not been reopened yet".into() }),
        }
    }

    /// Closes the storage and opens it again, with no reader in between. Gives the bounds it found.
    pub fn replace_store(&self, open: impl FnOnce() -> Result<Store, LogError>) -> Result<Vec<Bounds>, LogError> {
        let mut slot = self.store.write();
        // RocksDB locks its directory: the old one must be gone before the new one comes.
        drop(slot.take());
        let store = open()?;
        let bounds = self.partitions.partitions().map(|partition| store.bounds(partition)).collect::<Result<_, _>>()?;
        *slot = Some(store);
        Ok(bounds)
    }

    /// Closes the storage for good.
    pub fn drop_store(&self) {
        drop(self.store.write().take());
    }

    /// What can be read of the partition with this index.
    pub fn bounds(&self, index: usize) -> Bounds {
        *self.heads[index].borrow()
    }

    /// What can be read of every partition.
    pub fn all_bounds(&self) -> Vec<Bounds> {
        self.heads.iter().map(|head| *head.borrow()).collect()
    }

    /// The head of a partition that may not exist.
    pub fn head(&self, partition: Partition) -> Result<&watch::Sender<Bounds>, LogError> {
        self.heads.get(partition.index()).ok_or_else(|| LogError::Reject {
            reason: format!("there is no partition {partition}: the log has {}", self.partitions.get()),
        })
    }

    /// Makes the records before `next` readable.
    pub fn advance(&self, index: usize, next: Offset) {
        self.heads[index].send_modify(|bounds| {
            self.metrics.backlog_records.inc_by(i64::try_from(next.get() - bounds.next.get()).unwrap_or(i64::MAX));
            bounds.next = next;
        });
    }

    /// Forgets the records before `earliest`; never goes back, never beyond the next offset.
    pub fn release(&self, partition: Partition, before: Offset) -> Result<Bounds, LogError> {
        let head = self.head(partition)?;
        let mut outcome = Ok(*head.borrow());
        head.send_if_modified(|bounds| {
            if before > bounds.next {
                outcome = Err(LogError::OutOfRange { partition, offset: before, bounds: *bounds });
                return false;
            }
            // The last record before `before` stays, for the reader's check that nothing is missing.
            let earliest = before.previous().unwrap_or(Offset::FIRST).max(bounds.earliest);
            let freed = earliest.get() - bounds.earliest.get();
            self.metrics.backlog_records.dec_by(i64::try_from(freed).unwrap_or(i64::MAX));
            bounds.earliest = earliest;
            outcome = Ok(*bounds);
            // Nobody waits for a release.
            false
        });
        outcome
    }

    /// Counts what was appended, for [`Self::mean_record_bytes`].
    pub fn count_bytes(&self, records: u64, bytes: u64) {
        self.records_counted.fetch_add(records, Ordering::Relaxed);
        self.bytes_counted.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The mean size of the records appended since the log was opened.
    pub fn mean_record_bytes(&self) -> u64 {
        let records = self.records_counted.load(Ordering::Relaxed);
        self.bytes_counted.load(Ordering::Relaxed).checked_div(records).unwrap_or(RECORD_BYTES_GUESS).max(1)
    }

    /// Whether the log was closed.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Tells everyone who waits that nothing more will come.
    pub fn set_closed(&self) {
        self.closed.send_replace(true);
    }

    /// Wakes when the log is closed.
    pub fn watch_closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }
}

fn records(bounds: &Bounds) -> i64 {
    i64::try_from(bounds.records()).unwrap_or(i64::MAX)
}
