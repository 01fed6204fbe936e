//! Which partitions a process works on, where several share them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

/// The partitions of a process among those that share the work. It only spreads the work: what keeps two processes from doing it
/// twice is the journal.
#[async_trait]
pub trait Share: Send + Sync + 'static {
    /// The partitions that are this process's now. The channel closes when the share ends.
    fn partitions(&self) -> watch::Receiver<BTreeSet<Partition>>;

    /// Tells the outside how far a partition is done, for tools that show lag. Best effort.
    fn done(&self, partition: Partition, next: Offset);

    /// Gives the partitions to the others at once.
    async fn leave(&self);
}

/// All partitions, for a process that works alone.
#[derive(Debug)]
pub struct Alone(watch::Sender<BTreeSet<Partition>>);

impl Alone {
    /// The share of all.
    pub fn new(partitions: PartitionCount) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(partitions.partitions().collect())))
    }
}

#[async_trait]
impl Share for Alone {
    fn partitions(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.0.subscribe()
    }

    fn done(&self, _partition: Partition, _next: Offset) {}

    async fn leave(&self) {
        self.0.send_replace(BTreeSet::new());
    }
}
