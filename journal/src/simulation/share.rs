//! A share of the partitions that the seed deals out again and again.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tributary_eventlog::Share;
use tributary_schemas::ids::{Offset, Partition};

/// The share of one sealer. Those of a world may overlap or leave a partition to nobody: shares only spread the work.
pub(super) struct DealtShare(watch::Sender<BTreeSet<Partition>>);

impl DealtShare {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(BTreeSet::new())))
    }

    pub(super) fn deal(&self, partitions: BTreeSet<Partition>) {
        self.0.send_replace(partitions);
    }
}

#[async_trait]
impl Share for DealtShare {
    fn partitions(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.0.subscribe()
    }

    fn done(&self, _partition: Partition, _next: Offset) {}

    async fn leave(&self) {
        self.deal(BTreeSet::new());
    }
}
