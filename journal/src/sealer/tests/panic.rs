//! A partition whose task breaks.

use async_trait::async_trait;
use tributary_eventlog::{Bounds, LogError, LoggedRecord, Record};

use super::*;

/// A log that breaks whoever asks for this partition.
struct Broken {
    log: Arc<MemoryLog>,
    partition: Partition,
}

#[async_trait]
impl EventLog for Broken {
    fn partition_count(&self) -> PartitionCount {
        self.log.partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        self.log.append(records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        assert!(partition != self.partition, "as the test wants it");
        self.log.bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        assert!(partition != self.partition, "as the test wants it");
        self.log.read(partition, from, max_bytes).await
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        self.log.wait_beyond(partition, offset).await
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        self.log.release(partition, before).await
    }
}

#[tokio::test]
async fn a_partition_whose_task_breaks_is_told_at_once_while_the_others_go_on() {
    let (folder, store, log) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()), MemoryLog::new(3));
    let clock = HandClock::new();
    let settings = Settings { batch_age_max: Duration::ZERO, ..settings() };
    let journal = Journal::open_with(store, PartitionCount::new(3), clock.clone(), settings.clone()).await.unwrap();
    let broken = Arc::new(Broken { log: log.clone(), partition: partition(1) });
    let sealer = Sealer::new(journal.clone(), broken, SeenIndex::open(folder.path()).unwrap(), clock, settings);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (sealer, shutdown) = (sealer.clone(), shutdown.clone());
        async move { sealer.run(super::all_of(&sealer), shutdown).await }
    });
    let told = async {
        while !sealer.state()[1].stopped {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    assert!(sealer.state()[1].error.as_ref().unwrap().contains("ended early"), "{:?}", sealer.state());
    // Records of every partition: the other two are sealed.
    log.append((0..100).map(|n| event(&format!("k{n}"), "a", 1)).collect()).await.unwrap();
    for number in [0, 2] {
        let sealed = journal.wait_beyond(partition(number), None);
        tokio::time::timeout(Duration::from_secs(60), sealed).await.unwrap().unwrap();
    }
    assert_eq!(journal.head(partition(1)), None);
    shutdown.cancel();
    running.await.unwrap();
    assert!(sealer.state()[1].stopped);
}
