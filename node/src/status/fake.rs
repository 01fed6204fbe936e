//! A sealer over a log of one partition that a test owns.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use object_store::memory::InMemory;
use tempfile::TempDir;
use tributary_eventlog::{Bounds, EventLog, LogError, LoggedRecord, Record};
use tributary_journal::sealer::Sealer;
use tributary_journal::{Journal, SeenIndex, Settings};
use tributary_schemas::ids::{Offset, Partition, PartitionCount, SystemClock};

use super::failing::Failing;
use super::sealing::Sealing;

/// A log without records, which may be away, and may begin late.
pub(super) struct FakeLog {
    pub(super) is_away: AtomicBool,
    begins: Offset,
}

impl FakeLog {
    pub(super) fn beginning_at(offset: u64) -> Arc<Self> {
        Arc::new(Self { is_away: AtomicBool::new(false), begins: Offset::new(offset).unwrap() })
    }
}

#[async_trait]
impl EventLog for FakeLog {
    fn partition_count(&self) -> PartitionCount {
        PartitionCount::new(1).unwrap()
    }

    async fn append(&self, _records: Vec<Record>) -> Result<(), LogError> {
        Ok(())
    }

    async fn bounds(&self, _partition: Partition) -> Result<Bounds, LogError> {
        match self.is_away.load(Ordering::Acquire) {
            true => Err(LogError::Retry { reason: "no broker answers".to_owned() }),
            false => Ok(Bounds { earliest: self.begins, next: self.begins }),
        }
    }

    async fn read(&self, _partition: Partition, _from: Offset, _max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        Ok(Vec::new())
    }

    async fn wait_beyond(&self, _partition: Partition, _offset: Offset) -> Result<(), LogError> {
        std::future::pending().await
    }

    async fn release(&self, _partition: Partition, _before: Offset) -> Result<(), LogError> {
        Ok(())
    }
}

/// What a sealer of this log is asked for. The folder of its index goes with the test.
pub(super) async fn sealing(log: &Arc<FakeLog>) -> (TempDir, Sealing) {
    let (folder, clock, store) = (tempfile::tempdir().unwrap(), Arc::new(SystemClock), Arc::new(InMemory::new()));
    let journal = Journal::open(store, PartitionCount::new(1), clock.clone()).await.unwrap();
    let seen = SeenIndex::open(folder.path()).unwrap();
    let sealer = Sealer::new(journal, log.clone(), seen, clock, Settings::default());
    (folder, Sealing { log: log.clone(), sealer, failing: Failing::default() })
}
