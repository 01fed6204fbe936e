//! How far each partition is known to reach.

use std::sync::atomic::{AtomicI64, Ordering};

use tributary_schemas::ids::{Offset, Partition, PartitionCount};

/// The next offset of each partition, as far as this process knows: it never says less than what was acknowledged to it, or
/// what it was told before.
pub(super) struct Watermarks(Vec<AtomicI64>);

impl Watermarks {
    pub(super) fn new(partitions: PartitionCount) -> Self {
        Self(partitions.partitions().map(|_| AtomicI64::new(0)).collect())
    }

    /// A record lies at the offset.
    pub(super) fn recorded(&self, partition: i32, offset: i64) {
        self.reaches(partition, offset + 1);
    }

    /// The partition's next offset is at least this.
    pub(super) fn reaches(&self, partition: i32, next: i64) {
        if let Some(known) = usize::try_from(partition).ok().and_then(|partition| self.0.get(partition)) {
            known.fetch_max(next, Ordering::AcqRel);
        }
    }

    /// The brokers say that the partition ends here, and they are right, even if less than was known is left.
    pub(super) fn ends(&self, partition: Partition, next: Offset) {
        if let (Some(known), Ok(next)) = (self.0.get(partition.index()), i64::try_from(next.get())) {
            known.store(next, Ordering::Release);
        }
    }

    /// The next offset as far as it is known.
    pub(super) fn next(&self, partition: Partition) -> i64 {
        self.0.get(partition.index()).map_or(0, |known| known.load(Ordering::Acquire))
    }
}
