//! Two sealers, a store that lies, processes that die: every event exactly once, the chain unbroken.

use std::collections::HashSet;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tributary_eventlog::{LoggedRecord, Record};

use super::*;
use crate::header::Header;

/// Set `SEED` to look at one alone.
const SEEDS: u64 = 500;

#[test]
fn two_sealers_and_a_store_that_lies_seal_every_event_once_in_an_unbroken_chain() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The indexes stay from seed to seed: each world begins with those of another journal.
    let folder = tempfile::tempdir().unwrap();
    let indexes = ["a", "b"].map(|name| SeenIndex::open(&folder.path().join(name)).unwrap());
    let mut seen = Tally::default();
    for seed in seeds {
        println!("SEED={seed}");
        runtime.block_on(world(seed, &indexes, &mut seen));
    }
    println!("{seen:?}");
    assert!(seen.fenced > 0 && seen.retries > 0 && seen.deaths > 0, "the worlds were lively");
}

/// What the worlds together saw.
#[derive(Debug, Default)]
struct Tally {
    batches: u64,
    events: u64,
    fenced: u64,
    retries: u64,
    deaths: u64,
}

impl Tally {
    fn take(&mut self, process: &Process) {
        let metrics = process.journal.metrics();
        for partition in process.journal.partitions() {
            let label = PartitionLabel(partition);
            self.fenced += metrics.fenced.get_or_create(&label).get();
            self.retries += metrics.retries.get_or_create(&label).get();
        }
    }
}

async fn world(seed: u64, indexes: &[SeenIndex; 2], tally: &mut Tally) {
    let mut chance = StdRng::seed_from_u64(seed ^ 0x5eed);
    let (store, log) = (FaultyStore::new(seed), MemoryLog::new(2));
    let mut appended = Vec::new();
    let settings = Settings {
        batch_bytes_max: chance.random_range(60..800),
        batch_records_max: chance.random_range(1..12),
        read_bytes_max: chance.random_range(1..600),
        ..settings()
    };
    let start = |index: usize| Process::with_index(store.clone(), log.clone(), indexes[index].clone(), settings.clone());
    let mut processes = [start(0).await, start(1).await];
    let one_process = seed.is_multiple_of(4);
    if one_process {
        processes[1] = processes[0].second_sealer(&log, &indexes[0], &settings);
    }
    for _ in 0..chance.random_range(2..6) {
        for _ in 0..chance.random_range(0..12) {
            // Few ids, so that many repeat; some with another content.
            let (key, id) = (format!("k{}", chance.random_range(0..3)), format!("{}", chance.random_range(0..20)));
            let record = event(&key, &id, chance.random_range(0..2));
            appended.push(record.clone());
            log.append(vec![record]).await.unwrap();
        }
        store.set_faults(300);
        let died = seal_at_once(&processes, &mut chance).await;
        store.set_faults(0);
        if let Some(died) = died {
            tally.deaths += 1;
            tally.take(&processes[died]);
            if !one_process {
                processes[died] = start(died).await;
            }
        }
    }
    for process in &processes {
        process.sealer.seal_available().await.unwrap();
        tally.take(process);
    }
    audit(&store, &log, &appended, tally).await;
}

/// Both seal what is there at the same time; one may be stopped at any point. Gives the one that was.
async fn seal_at_once(processes: &[Process; 2], chance: &mut StdRng) -> Option<usize> {
    let tasks = processes.each_ref().map(|process| {
        process.clock.advance(chance.random_range(0..2_000_000));
        let sealer = process.sealer.clone();
        tokio::spawn(async move { sealer.seal_available().await })
    });
    let dies = chance.random_range(0..6_usize);
    if let Some(task) = tasks.get(dies) {
        for _ in 0..chance.random_range(0..40) {
            tokio::task::yield_now().await;
        }
        task.abort();
    }
    for task in tasks {
        match task.await {
            Ok(Err(error)) => assert!(error.is_retry(), "{error}"),
            Ok(Ok(())) => {}
            Err(death) => assert!(death.is_cancelled(), "{death}"),
        }
    }
    (dies < processes.len()).then_some(dies)
}

/// Knows nothing of how it was done: reads the objects and compares them with what was appended.
async fn audit(store: &Arc<FaultyStore>, log: &MemoryLog, appended: &[Record], tally: &mut Tally) {
    let journal = Journal::open_with(store.clone(), None, HandClock::new(), settings()).await.unwrap();
    for partition in journal.partitions() {
        let of_partition = |record: &&Record| log.partition_count().partition_of(&record.key) == partition;
        let records: Vec<&Record> = appended.iter().filter(of_partition).collect();
        let mut identities = HashSet::new();
        let mut is_first =
            |record: &Record| identities.insert((record.key.clone(), protobuf::decode(&record.value).unwrap().draft.id));
        let expected: Vec<Bytes> = records.iter().filter(|record| is_first(record)).map(|record| record.value.clone()).collect();
        let (mut sealed, mut covered, mut previous) = (Vec::new(), 0, None::<Header>);
        for seq in 0..journal.head(partition).map_or(0, |head| head.seq.get() + 1) {
            let batch = journal.read(partition, Seq::new(seq).unwrap()).await.unwrap();
            batch.verify_root().unwrap();
            assert_eq!(batch.header.previous_hash, previous.as_ref().map(Header::hash).unwrap_or_default());
            assert_eq!(batch.header.first_offset.get(), covered);
            covered = batch.header.next_offset.get();
            let last = records[usize::try_from(covered).unwrap() - 1].clone();
            let last = LoggedRecord { offset: Offset::new(covered - 1).unwrap(), key: last.key, value: last.value };
            assert_eq!(batch.header.last_record_hash, last.hash());
            sealed.extend(batch.events().unwrap());
            previous = Some(batch.header);
            tally.batches += 1;
        }
        assert_eq!(covered, records.len() as u64, "every record is covered");
        assert_eq!(sealed, expected, "partition {partition}: each event once, in order, with the first content");
        tally.events += sealed.len() as u64;
    }
}
