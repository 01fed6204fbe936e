//! What can befall the log: time takes records away, it loses its head, is cut off, or is replaced by another.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tributary_eventlog::LoggedRecord;
use tributary_schemas::ids::Partition;

use super::MemoryLog;

/// One log in the place of a partition, from when it was made, or made by cutting off the one before it, until it was cut off
/// or replaced itself.
#[derive(Clone, Debug)]
pub(crate) struct Incarnation {
    /// Every record that it began with or took, from offset 0 on.
    pub(crate) records: Vec<LoggedRecord>,
    /// The records before this offset are lost.
    pub(crate) lost_before: u64,
    /// Every offset that it was held from, at one time or another.
    pub(crate) held_from: BTreeSet<u64>,
}

impl Incarnation {
    pub(super) fn new() -> Self {
        Self { records: Vec::new(), lost_before: 0, held_from: BTreeSet::from([0]) }
    }
}

impl MemoryLog {
    /// Time takes away the records before the offset, which lies in the log.
    pub(in crate::simulation) fn expire(&self, partition: Partition, before: u64) {
        let mut kept = self.partitions[partition.index()].lock();
        let first = before.max(kept.first);
        kept.hold_from(first);
    }

    /// The records before the offset, which lies in the log, are gone, sealed or not. Whoever reads behind them is not
    /// disturbed.
    pub(in crate::simulation) fn lose_head(&self, partition: Partition, before: u64) {
        self.expire(partition, before);
        let mut kept = self.partitions[partition.index()].lock();
        let first = kept.first;
        kept.log().lost_before = first;
    }

    /// The records from the offset on, which lies in the log, are gone: what is appended now takes their places.
    pub(in crate::simulation) fn cut_off(&self, partition: Partition, end: u64) {
        let mut kept = self.partitions[partition.index()].lock();
        let (first, whole) = (kept.first, kept.log());
        let left = Incarnation {
            records: whole.records[..usize::try_from(end).unwrap()].to_vec(),
            lost_before: whole.lost_before,
            held_from: BTreeSet::from([first]),
        };
        kept.records.truncate(usize::try_from(end - first).unwrap());
        kept.logs.push(left);
        drop(kept);
        self.disturb();
    }

    /// The log is gone: an empty one lies in its place.
    pub(in crate::simulation) fn replace(&self, partition: Partition) {
        let mut kept = self.partitions[partition.index()].lock();
        kept.records.clear();
        kept.first = 0;
        kept.logs.push(Incarnation::new());
        drop(kept);
        self.disturb();
    }

    fn disturb(&self) {
        self.disturbances.fetch_add(1, Ordering::SeqCst);
        self.changed.iter().for_each(Notify::notify_waiters);
    }

    /// The logs that lay in the place of the partition, one after the other; the last is there now.
    pub(in crate::simulation) fn logs(&self, partition: Partition) -> Vec<Incarnation> {
        self.partitions[partition.index()].lock().logs.clone()
    }

    /// The number of the log that is there now, from 0.
    pub(in crate::simulation) fn number(&self, partition: Partition) -> usize {
        self.partitions[partition.index()].lock().logs.len() - 1
    }

    /// Whether the partition ever lost a record that it had taken, or may have.
    pub(in crate::simulation) fn is_damaged(&self, partition: Partition) -> bool {
        let kept = self.partitions[partition.index()].lock();
        kept.logs.len() > 1 || kept.logs.iter().any(|log| log.lost_before > 0)
    }
}
