#![allow(clippy::unwrap_used)]

use std::path::Path;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tributary_schemas::ids::PartitionCount;
use tributary_schemas::protobuf;

use super::*;
use crate::simulation::{FaultyStore, HandClock, MemoryLog, event};

mod gaps;
mod panic;
mod race;
mod simulated;

const P0: u32 = 0;

fn settings() -> Settings {
    Settings {
        put_backoff: Duration::ZERO..=Duration::ZERO,
        put_attempts_max: 3,
        retry_pause: Duration::from_millis(1),
        poll_interval: Duration::from_millis(1),
        ..Settings::default()
    }
}

/// The share of a sealer that works alone.
fn all_of(sealer: &Sealer) -> Arc<dyn Share> {
    tributary_eventlog::Alone::new(sealer.journal().genesis().partitions)
}

fn partition(number: u32) -> Partition {
    Partition::new(number).unwrap()
}

/// One process: a journal, a seen-index and a sealer over a shared store and log.
struct Process {
    journal: Arc<Journal>,
    sealer: Sealer,
    clock: Arc<HandClock>,
}

impl Process {
    async fn start(store: Arc<dyn ObjectStore>, log: Arc<MemoryLog>, seen: &Path, settings: Settings) -> Self {
        Self::with_index(store, log, SeenIndex::open(seen).unwrap(), settings).await
    }

    async fn with_index(store: Arc<dyn ObjectStore>, log: Arc<MemoryLog>, seen: SeenIndex, settings: Settings) -> Self {
        let clock = HandClock::new();
        let born_with = Some(log.partition_count());
        let journal = Journal::open_with(store, born_with, clock.clone(), settings.clone()).await.unwrap();
        let sealer = Sealer::new(journal.clone(), log, seen, clock.clone(), settings);
        Self { journal, sealer, clock }
    }

    /// Another sealer of the same process: one journal, one index, one clock.
    fn second_sealer(&self, log: &Arc<MemoryLog>, seen: &SeenIndex, settings: &Settings) -> Self {
        let (journal, clock) = (self.journal.clone(), self.clock.clone());
        let sealer = Sealer::new(journal.clone(), log.clone(), seen.clone(), clock.clone(), settings.clone());
        Self { journal, sealer, clock }
    }

    /// The ids of the events of each batch, and the offset each ends before.
    async fn batches(&self, number: u32) -> Vec<(u64, Vec<String>)> {
        let mut batches = Vec::new();
        let Some(head) = self.journal.refresh(partition(number)).await.unwrap() else { return batches };
        for seq in 0..=head.seq.get() {
            let batch = self.journal.read(partition(number), Seq::new(seq).unwrap()).await.unwrap();
            batch.verify_root().unwrap();
            let ids = batch.events().unwrap().iter().map(|event| protobuf::decode(event).unwrap().draft.id).collect();
            batches.push((batch.header.next_offset.get(), ids));
        }
        batches
    }
}

fn ids(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn put(log: &MemoryLog, ids: &[&str]) {
    log.append(ids.iter().map(|id| event("key", id, 1)).collect()).await.unwrap();
}

/// A process over an empty store and a log of one partition.
async fn alone(settings: Settings) -> (tempfile::TempDir, Arc<InMemory>, Arc<MemoryLog>, Process) {
    let (folder, store, log) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()), MemoryLog::new(1));
    let process = Process::start(store.clone(), log.clone(), folder.path(), settings).await;
    (folder, store, log, process)
}

#[tokio::test]
async fn duplicates_are_dropped_within_a_batch_and_across_batches_and_conflicts_counted() {
    let (_folder, _store, log, process) = alone(settings()).await;
    put(&log, &["a", "b", "a"]).await;
    process.sealer.seal_available().await.unwrap();
    log.append(vec![event("key", "b", 2), event("key", "c", 1), event("other key", "c", 1)]).await.unwrap();
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await, [(3, ids(&["a", "b"])), (6, ids(&["c", "c"]))]);
    let (metrics, label) = (process.journal.metrics(), PartitionLabel(partition(P0)));
    assert_eq!(metrics.duplicates.get_or_create(&label).get(), 2);
    assert_eq!(metrics.conflicts.get_or_create(&label).get(), 1);
    assert_eq!((metrics.batches.get_or_create(&label).get(), metrics.events.get_or_create(&label).get()), (2, 4));
}

#[tokio::test]
async fn a_sealer_whose_future_is_dropped_while_a_batch_is_on_its_way_goes_on_without_a_gap() {
    let (folder, store, log) = (tempfile::tempdir().unwrap(), FaultyStore::new(0), MemoryLog::new(1));
    let process = Process::start(store.clone(), log.clone(), folder.path(), settings()).await;
    put(&log, &["a", "b"]).await;
    let sealer = process.sealer.clone();
    let task = store.held_write(tokio::spawn(async move { sealer.seal_available().await })).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    put(&log, &["c", "a"]).await;
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await, [(2, ids(&["a", "b"])), (4, ids(&["c"]))]);
}

#[tokio::test]
async fn a_run_of_duplicates_only_is_sealed_as_an_empty_batch_and_the_log_released() {
    let (_folder, _store, log, process) = alone(settings()).await;
    put(&log, &["a"]).await;
    process.sealer.seal_available().await.unwrap();
    put(&log, &["a", "a"]).await;
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await, [(1, ids(&["a"])), (3, vec![])]);
    assert!(process.journal.head(partition(P0)).unwrap().root.is_zero());
    let bounds = log.bounds(partition(P0)).await.unwrap();
    assert_eq!((bounds.earliest.get(), bounds.next.get()), (2, 3));
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.journal.heads().to_string(), "0:1");
}

#[tokio::test]
async fn a_batch_is_sealed_by_size_and_by_number_of_records() {
    let one = 4 + u32::try_from(event("key", "0", 1).value.len()).unwrap();
    let by_size = Settings { batch_bytes_max: 3 * one, ..settings() };
    let by_records = Settings { batch_records_max: 3, ..settings() };
    let by_single_event = Settings { batch_bytes_max: 1, ..settings() };
    for (settings, sizes) in [(by_size, vec![3, 3, 1]), (by_records, vec![3, 3, 1]), (by_single_event, vec![1; 7])] {
        let (_folder, _store, log, process) = alone(settings).await;
        put(&log, &["0", "1", "2", "3", "4", "5", "6"]).await;
        process.sealer.seal_available().await.unwrap();
        let found: Vec<usize> = process.batches(P0).await.iter().map(|(_, ids)| ids.len()).collect();
        assert_eq!(found, sizes);
    }
}

#[tokio::test]
async fn while_running_a_batch_waits_for_its_age_and_no_longer() {
    let (_folder, _store, log, process) = alone(settings()).await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (sealer, shutdown) = (process.sealer.clone(), shutdown.clone());
        async move { sealer.run(all_of(&sealer), shutdown).await }
    });
    put(&log, &["a"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(process.journal.head(partition(P0)), None);
    process.clock.advance(1_000_000);
    process.journal.wait_beyond(partition(P0), None).await.unwrap();
    put(&log, &["b"]).await;
    // Asked for, it does not wait.
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await, [(1, ids(&["a"])), (2, ids(&["b"]))]);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn after_a_restart_duplicates_are_still_found_with_and_without_the_index() {
    let (folder, store, log, process) = alone(settings()).await;
    put(&log, &["a", "b"]).await;
    process.sealer.seal_available().await.unwrap();
    drop(process);
    put(&log, &["a", "c"]).await;
    let process = Process::start(store.clone(), log.clone(), folder.path(), settings()).await;
    process.sealer.seal_available().await.unwrap();
    drop(process);
    let empty = tempfile::tempdir().unwrap();
    put(&log, &["b", "c", "d"]).await;
    let process = Process::start(store, log, empty.path(), settings()).await;
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await, [(2, ids(&["a", "b"])), (4, ids(&["c"])), (7, ids(&["d"]))]);
}

#[tokio::test]
async fn an_index_of_another_journal_is_built_anew() {
    let (folder, _store, log, process) = alone(settings()).await;
    put(&log, &["a", "b"]).await;
    process.sealer.seal_available().await.unwrap();
    drop(process);
    let (store, log) = (Arc::new(InMemory::new()), MemoryLog::new(1));
    put(&log, &["a", "c"]).await;
    let process = Process::start(store, log, folder.path(), settings()).await;
    process.sealer.seal_available().await.unwrap();
    assert_eq!(process.batches(P0).await, [(2, ids(&["a", "c"]))]);
}

#[tokio::test]
async fn a_repetition_after_the_window_is_sealed_again() {
    let (_folder, _store, log, process) = alone(settings()).await;
    put(&log, &["a"]).await;
    process.sealer.seal_available().await.unwrap();
    let day = 24 * 60 * 60 * 1_000_000;
    for (days, expected) in [(6, vec![]), (2, ids(&["a"])), (6, vec![])] {
        process.clock.advance(days * day);
        put(&log, &["a"]).await;
        process.sealer.seal_available().await.unwrap();
        assert_eq!(process.batches(P0).await.last().unwrap().1, expected);
    }
}

#[tokio::test]
async fn a_log_that_does_not_go_on_where_the_journal_ends_stops_its_partition_and_no_other() {
    type Damage = fn(&MemoryLog, Partition);
    let cases: [(&str, Damage); 4] = [
        ("records 2 to 2 are missing", |log, p| {
            log.tamper(p, |first, records| {
                *first = 3;
                records.clear();
            });
        }),
        ("ends before offset 1", |log, p| {
            log.tamper(p, |first, records| {
                *first = 0;
                records.truncate(1);
            });
        }),
        ("the record at offset 1 is not the one", |log, p| {
            log.tamper(p, |_, records| records[0].value = event("x", "forged", 1).value);
        }),
        ("offset 2: ", |log, p| log.tamper(p, |_, records| records[1].value = bytes::Bytes::from_static(b"\xff\xff"))),
    ];
    for (words, damage) in cases {
        let (folder, store, log) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()), MemoryLog::new(2));
        let process = Process::start(store.clone(), log.clone(), folder.path(), settings()).await;
        // Two records for each partition, then one more for each.
        let key = |number: u32| {
            (0..)
                .map(|n| format!("k{n}"))
                .find(|key| log.partition_count().partition_of(key.as_bytes()) == partition(number))
                .unwrap()
        };
        let (a, b) = (key(0), key(1));
        for id in ["1", "2"] {
            log.append(vec![event(&a, id, 1), event(&b, id, 1)]).await.unwrap();
        }
        process.sealer.seal_available().await.unwrap();
        drop(process);
        log.append(vec![event(&a, "3", 1), event(&b, "3", 1)]).await.unwrap();
        damage(&log, partition(0));

        let process = Process::start(store, log, folder.path(), settings()).await;
        let error = process.sealer.seal_available().await.unwrap_err();
        assert!(error.is_corrupt(), "{error}");
        let text = error.to_string();
        assert!(text.contains("partition 0") && text.contains(words), "{text}");
        let state = process.sealer.state();
        assert_eq!((state[0].stopped, state[0].error.as_deref()), (true, Some(text.as_str())));
        assert_eq!((state[1].error.as_deref(), state[1].next_offset.get(), state[0].next_offset.get()), (None, 3, 2));
        // It stands still while it runs, and does not try again; it ends when it is told to.
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (sealer, shutdown) = (process.sealer.clone(), shutdown.clone());
            async move { sealer.run(all_of(&sealer), shutdown).await }
        });
        let owned = async {
            while !process.sealer.state()[0].owned {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(Duration::from_secs(60), owned).await.unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        let retries = &process.journal.metrics().turn_retries;
        assert_eq!(
            (process.journal.heads().get(partition(0)), retries.get_or_create(&PartitionLabel(partition(0))).get()),
            (Seq::new(0), 0)
        );
    }
}

#[tokio::test]
async fn a_log_of_another_partition_count_is_refused() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()));
    let clock = HandClock::new();
    let journal = Journal::open(store, PartitionCount::new(2), clock.clone()).await.unwrap();
    let seen = SeenIndex::open(folder.path()).unwrap();
    let sealer = Sealer::new(journal, MemoryLog::new(3), seen, clock, settings());
    let error = sealer.seal_available().await.unwrap_err();
    assert!(error.to_string().contains("the event log has 3 partitions"), "{error}");
}

#[tokio::test]
async fn a_sealer_that_was_overtaken_and_whose_log_was_released_goes_on() {
    let (store, log): (Arc<InMemory>, _) = (Arc::new(InMemory::new()), MemoryLog::new(1));
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = Process::start(store.clone(), log.clone(), one.path(), settings()).await;
    let b = Process::start(store, log.clone(), two.path(), settings()).await;
    for round in 0..6 {
        put(&log, &[&format!("a{round}"), &format!("b{round}"), "always"]).await;
        let sealer = if round % 3 == 2 { &b.sealer } else { &a.sealer };
        sealer.seal_available().await.unwrap();
    }
    let sealed: Vec<String> = a.batches(P0).await.into_iter().flat_map(|(_, ids)| ids).collect();
    assert_eq!(sealed.len(), 13);
    assert_eq!(sealed.iter().filter(|id| *id == "always").count(), 1);
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_told_and_waited_for() {
    let (folder, store, log) = (tempfile::tempdir().unwrap(), FaultyStore::new(1), MemoryLog::new(1));
    let settings = Settings { batch_age_max: Duration::ZERO, ..settings() };
    let process = Process::start(store.clone(), log.clone(), folder.path(), settings).await;
    store.set_faults(2000);
    put(&log, &["a", "b"]).await;
    assert!(process.sealer.seal_available().await.unwrap_err().is_retry());
    let state = process.sealer.state();
    assert!(!state[0].stopped && state[0].error.is_some(), "{state:?}");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (sealer, shutdown) = (process.sealer.clone(), shutdown.clone());
        async move { sealer.run(all_of(&sealer), shutdown).await }
    });
    while process.journal.metrics().turn_retries.get_or_create(&PartitionLabel(partition(P0))).get() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.set_faults(0);
    process.journal.wait_beyond(partition(P0), None).await.unwrap();
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(process.batches(P0).await, [(2, ids(&["a", "b"]))]);
    assert_eq!(process.sealer.state()[0].error, None);
}
