//! Gaps between log and journal: nothing is sealed over one before an operator's decision is in the chain.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;
use tributary_eventlog::{Bounds, LogError, LoggedRecord, Record};
use tributary_schemas::ids::Clock;

use super::*;
use crate::gap::{self, Accepted, Decision};
use crate::idlist;
use crate::sealer::gaps::check;

async fn accept(process: &Process, log: &MemoryLog, from: Option<u64>, reason: &str) -> Result<Accepted, JournalError> {
    let wanted = (partition(P0), from.map(|offset| Offset::new(offset).unwrap()));
    let clock: &dyn Clock = &*process.clock;
    gap::accept(&process.journal, log, clock, wanted, reason).await
}

/// The same store and log under a process that starts now.
async fn restarted(process: Process, log: &Arc<MemoryLog>, folder: &tempfile::TempDir) -> Process {
    let store = process.journal.store().clone();
    drop(process);
    Process::start(store, log.clone(), folder.path(), settings()).await
}

/// A process that has sealed `a` and `b` in a batch of their own each, and what it wrote to.
async fn sealed() -> (tempfile::TempDir, Arc<MemoryLog>, Process) {
    let (folder, _store, log, process) = alone(settings()).await;
    for id in ["a", "b"] {
        put(&log, &[id]).await;
        process.sealer.seal_available().await.unwrap();
    }
    (folder, log, process)
}

#[tokio::test]
async fn a_log_that_starts_late_is_sealed_from_its_first_record_after_the_decision() {
    let (_folder, log, process) = sealed().await;
    put(&log, &["c", "d", "e"]).await;
    log.tamper(partition(P0), |first, records| {
        records.retain(|record| record.offset.get() >= 4);
        *first = 4;
    });
    assert!(process.sealer.seal_available().await.unwrap_err().to_string().contains("records 2 to 3 are missing"));
    let accepted = accept(&process, &log, None, " lost with a disk ").await.unwrap();
    assert_eq!((accepted.seq, accepted.journal_offset, accepted.next_offset), (2, 2, 4));
    let decision = &accepted.decision;
    assert_eq!((decision.reason.as_str(), decision.log_earliest, decision.log_next), ("lost with a disk", 4, 5));
    assert!(decision.found.contains("records 2 to 3 are missing"), "{decision:?}");
    process.sealer.seal_available().await.unwrap();
    let expected = [(1, ids(&["a"])), (2, ids(&["b"])), (4, vec![]), (5, ids(&["e"]))];
    assert_eq!(process.batches(P0).await, expected);
    assert_eq!(gap::list(&process.journal).await.unwrap(), [accepted]);
}

#[tokio::test]
async fn a_log_that_is_replaced_after_a_decision_where_it_began_late_is_another() {
    let (folder, log, process) = sealed().await;
    put(&log, &["c", "d", "e"]).await;
    log.tamper(partition(P0), |first, records| {
        records.retain(|record| record.offset.get() >= 4);
        *first = 4;
    });
    accept(&process, &log, None, "lost with a disk").await.unwrap();
    log.tamper(partition(P0), |first, records| {
        *first = 0;
        records.clear();
    });
    put(&log, &["u", "v", "w", "x", "y", "z"]).await;
    let process = restarted(process, &log, &folder).await;
    let error = process.sealer.seal_available().await.unwrap_err().to_string();
    assert!(error.contains("the record at offset 3 is not the one"), "{error}");
}

#[tokio::test]
async fn a_log_that_forgets_the_record_it_is_known_by_while_it_is_compared_is_asked_again() {
    let (_folder, log, process) = sealed().await;
    let head = process.journal.head(partition(P0)).unwrap();
    let forgetting = Forgetting { log };
    let error = check(&forgetting, partition(P0), Some(&head)).await.unwrap_err();
    assert!(error.is_retry(), "{error}");
}

#[tokio::test]
async fn a_hole_in_the_log_stops_the_partition_behind_what_lies_before_it_and_is_gone_over_by_name() {
    let (folder, _store, log, _process) = alone(settings()).await;
    put(&log, &["a", "b", "of a marker", "c"]).await;
    let holey = Arc::new(Holey { log: log.clone(), hole: 2 });
    let (store, clock) = (Arc::new(InMemory::new()), HandClock::new());
    let born_with = Some(holey.partition_count());
    let journal = Journal::open_with(store, born_with, clock.clone(), settings()).await.unwrap();
    let seen = SeenIndex::open(&folder.path().join("other")).unwrap();
    let sealer = Sealer::new(journal.clone(), holey.clone(), seen, clock.clone(), settings());
    let error = sealer.seal_available().await.unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("offset 2: no record is there"), "{error}");
    assert!(gap::cure(partition(P0), &error).contains("--from 3"), "{error}");
    assert_eq!(journal.head(partition(P0)).unwrap().next_offset.get(), 2, "what lies before it is sealed");
    let accept = |from| gap::accept(&journal, &*holey, &*clock, (partition(P0), Offset::new(from)), "somebody's transaction");
    let refused = accept(4).await.unwrap_err().to_string();
    assert!(refused.contains("naming offset 3"), "{refused}");
    assert_eq!(accept(3).await.unwrap().next_offset, 3);
    sealer.seal_available().await.unwrap();
    let head = journal.head(partition(P0)).unwrap();
    assert_eq!((head.next_offset.get(), head.events), (4, 1));
}

/// A log that has no record at one offset.
struct Holey {
    log: Arc<MemoryLog>,
    hole: u64,
}

#[async_trait]
impl EventLog for Holey {
    fn partition_count(&self) -> PartitionCount {
        self.log.partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        self.log.append(records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.log.bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        if partition.index() == 0 && from.get() == self.hole {
            return Err(LogError::Missing { partition, offset: from, next: from.next() });
        }
        let mut records = self.log.read(partition, from, max_bytes).await?;
        if from.get() < self.hole {
            records.retain(|record| record.offset.get() < self.hole);
        }
        Ok(records)
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        self.log.wait_beyond(partition, offset).await
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        self.log.release(partition, before).await
    }
}

/// A log that forgets everything as soon as it has said what it holds.
struct Forgetting {
    log: Arc<MemoryLog>,
}

#[async_trait]
impl EventLog for Forgetting {
    fn partition_count(&self) -> PartitionCount {
        self.log.partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        self.log.append(records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.log.bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        self.log.tamper(partition, |first, records| {
            *first += u64::try_from(records.len()).unwrap();
            records.clear();
        });
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
async fn a_log_that_was_cut_off_goes_on_behind_the_last_batch_that_it_still_has() {
    let (folder, log, process) = sealed().await;
    let mut kept = Vec::new();
    for id in ["c", "d"] {
        put(&log, &[id]).await;
        let offset = log.bounds(partition(P0)).await.unwrap().next.previous().unwrap();
        kept.extend(log.read(partition(P0), offset, 1).await.unwrap());
        process.sealer.seal_available().await.unwrap();
    }
    // `c` is left, `d` is lost.
    log.tamper(partition(P0), |first, records| {
        *first = 2;
        *records = kept[..1].to_vec();
    });
    let process = restarted(process, &log, &folder).await;
    assert!(process.sealer.seal_available().await.unwrap_err().to_string().contains("ends before offset 3"));
    let accepted = accept(&process, &log, None, "cut off").await.unwrap();
    assert_eq!((accepted.journal_offset, accepted.next_offset), (4, 3));
    put(&log, &["x", "c"]).await;
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await[4..], [(3, vec![]), (5, ids(&["x"]))]);
}

#[tokio::test]
async fn a_log_that_was_made_again_is_sealed_from_its_beginning() {
    let (folder, log, process) = sealed().await;
    log.tamper(partition(P0), |first, records| {
        records.clear();
        *first = 0;
    });
    put(&log, &["b", "y", "z"]).await;
    let process = restarted(process, &log, &folder).await;
    assert!(process.sealer.seal_available().await.unwrap_err().is_corrupt());
    assert_eq!(accept(&process, &log, None, "made again").await.unwrap().next_offset, 0);
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await[2..], [(0, vec![]), (3, ids(&["y", "z"]))]);
}

#[tokio::test]
async fn a_decision_is_refused_where_there_is_nothing_to_decide_and_records_are_skipped_only_by_name() {
    let (_folder, log, process) = sealed().await;
    for (from, reason, words) in [
        (None, "why", "fit together: no gap"),
        (Some(2), "why", "fit together: no gap"),
        (Some(9), "why", "fit together: no gap"),
        (Some(3), " ", "a reason of 1 to"),
    ] {
        let error = accept(&process, &log, from, reason).await.unwrap_err();
        assert!(matches!(&error, JournalError::Refused(refused) if refused.contains(words)), "{error}");
    }
    put(&log, &["good", "bad", "later"]).await;
    let error = accept(&process, &log, Some(3), "in a hurry").await.unwrap_err();
    assert!(error.to_string().contains("the record at offset 2 of partition 0 can be sealed"), "{error}");
    log.tamper(partition(P0), |_, records| {
        let bad = records.len() - 2;
        records[bad].value = bytes::Bytes::from_static(b"\xff");
    });
    // What lies before the record that is no event is sealed.
    assert!(process.sealer.seal_available().await.unwrap_err().to_string().contains("offset 3"));
    assert_eq!(process.batches(P0).await[2..], [(3, ids(&["good"]))]);
    let accepted = accept(&process, &log, Some(4), "not an event").await.unwrap();
    assert!(accepted.decision.found.contains("offset 3"), "{accepted:?}");
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await[3..], [(4, vec![]), (5, ids(&["later"]))]);
}

#[tokio::test]
async fn a_sealer_that_stands_still_goes_on_by_itself_after_the_decision() {
    let (_folder, log, process) = sealed().await;
    log.tamper(partition(P0), |first, records| {
        records.clear();
        *first = 7;
    });
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (sealer, shutdown) = (process.sealer.clone(), shutdown.clone());
        async move { sealer.run(all_of(&sealer), shutdown).await }
    });
    while !process.sealer.state()[0].stopped {
        tokio::task::yield_now().await;
    }
    // Another process decides.
    let journal = Journal::open(process.journal.store().clone(), None, process.clock.clone()).await.unwrap();
    let wanted = (partition(P0), None);
    gap::accept(&journal, &*log, &*process.clock, wanted, "gone").await.unwrap();
    put(&log, &["later"]).await;
    let sealed = async {
        while process.sealer.state()[0].sealed != Seq::new(3) {
            process.clock.advance(1_000_000);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), sealed).await.unwrap();
    let state = &process.sealer.state()[0];
    assert!(state.owned && !state.stopped && state.error.is_none(), "{state:?}");
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(process.batches(P0).await[2..], [(7, vec![]), (8, ids(&["later"]))]);
    assert!(!process.sealer.state()[0].owned);
}

#[tokio::test]
async fn the_record_of_a_gap_is_one_in_every_byte() {
    let (_folder, log, process) = sealed().await;
    accept(&process, &log, None, "none").await.unwrap_err();
    log.tamper(partition(P0), |first, records| {
        records.clear();
        *first = 5;
    });
    accept(&process, &log, None, "none left").await.unwrap();
    let batch = process.journal.read(partition(P0), Seq::new(2).unwrap()).await.unwrap();
    assert!(batch.header.gap && batch.header.root.is_zero() && batch.events().unwrap().is_empty());
    let Decision { reason, .. } = batch.decision().unwrap().unwrap();
    assert_eq!(reason, "none left");
    for at in 0..batch.encoded.len() {
        let mut flipped = batch.encoded.to_vec();
        flipped[at] ^= 1;
        assert!(crate::SealedBatch::decode(flipped.into()).is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn a_new_owner_fills_its_index_from_the_lists_beside_the_batches_whatever_happened_to_some() {
    let (_folder, log, process) = sealed().await;
    put(&log, &["c"]).await;
    process.sealer.seal_available().await.unwrap();
    let store = process.journal.store();
    let list = |seq| idlist::path(partition(P0), Seq::new(seq).unwrap());
    let written = async {
        while object_store::ObjectStoreExt::head(&**store, &list(2)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), written).await.unwrap();
    // One list is missing, one is damaged.
    object_store::ObjectStoreExt::delete(&**store, &list(0)).await.unwrap();
    let damaged = object_store::PutPayload::from_static(b"no list");
    object_store::ObjectStoreExt::put(&**store, &list(1), damaged).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let next = Process::start(store.clone(), log.clone(), folder.path(), settings()).await;
    put(&log, &["a", "b", "c", "d"]).await;
    next.sealer.seal_available().await.unwrap();
    assert_eq!(next.batches(P0).await[3..], [(7, ids(&["d"]))]);
}

/// A log whose reads come to no end while it is held.
struct Held {
    log: Arc<MemoryLog>,
    is_held: AtomicBool,
    reached: Notify,
}

#[async_trait]
impl EventLog for Held {
    fn partition_count(&self) -> PartitionCount {
        self.log.partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        self.log.append(records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.log.bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        if self.is_held.load(Ordering::SeqCst) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
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
async fn a_turn_that_is_cut_off_while_the_log_is_replaced_is_followed_by_a_comparison() {
    let (folder, store, memory) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()), MemoryLog::new(1));
    let log = Arc::new(Held { log: memory.clone(), is_held: AtomicBool::new(false), reached: Notify::new() });
    let clock = HandClock::new();
    let journal = Journal::open_with(store, PartitionCount::new(1), clock.clone(), settings()).await.unwrap();
    let sealer = Sealer::new(journal.clone(), log.clone(), SeenIndex::open(folder.path()).unwrap(), clock, settings());
    put(&memory, &["a", "b"]).await;
    sealer.seal_available().await.unwrap();
    put(&memory, &["c"]).await;
    log.is_held.store(true, Ordering::SeqCst);
    let task = tokio::spawn({
        let sealer = sealer.clone();
        async move { sealer.seal_available().await }
    });
    log.reached.notified().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    memory.tamper(partition(P0), |first, records| {
        records.clear();
        *first = 0;
    });
    put(&memory, &["x", "y", "z"]).await;
    log.is_held.store(false, Ordering::SeqCst);
    let error = sealer.seal_available().await.unwrap_err();
    assert!(error.to_string().contains("the record at offset 1 is not the one"), "{error}");
    assert_eq!(journal.heads().to_string(), "0:0");
}
