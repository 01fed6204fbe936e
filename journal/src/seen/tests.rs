#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use tributary_schemas::ids::Offset;
use tributary_schemas::units::keccak256;

use super::*;
use crate::batch::{Contents, SealedBatch};
use crate::genesis::DeploymentId;

fn identity(number: u64) -> Identity {
    Identity(*keccak256(number.to_be_bytes()).first_chunk().unwrap())
}

fn digest(number: u64) -> ContentDigest {
    ContentDigest(number.to_be_bytes())
}

fn partition(number: u32) -> Partition {
    Partition::new(number).unwrap()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn header(number: u32, previous: Option<Header>, sealed_at: i64) -> Header {
    let next = previous.as_ref().map_or(0, |header| header.next_offset.get()) + 1;
    let contents = Contents {
        deployment: DeploymentId([1; 16]),
        partition: partition(number),
        previous,
        next_offset: Offset::new(next).unwrap(),
        last_record_hash: Hash::ZERO,
        times: (at(0), at(0)),
        sealed_at: at(sealed_at),
        events: vec![Bytes::from_static(b"x")],
    };
    SealedBatch::seal(contents).unwrap().header
}

#[test]
fn identities_are_found_in_their_partition_and_survive_a_restart_with_their_head() {
    let folder = tempfile::tempdir().unwrap();
    let head = header(0, None, 100);
    let entries: Vec<_> = (0..1000).map(|n| (identity(n), digest(n))).collect();
    {
        let seen = SeenIndex::open(folder.path()).unwrap();
        assert_eq!(seen.head(partition(0)).unwrap(), None);
        seen.writer(partition(0)).record(&head, &entries, at(0)).unwrap();
    }
    let seen = SeenIndex::open(folder.path()).unwrap();
    assert_eq!(seen.head(partition(0)).unwrap(), Some(SeenHead { seq: head.seq, hash: head.hash() }));
    let asked: Vec<_> = [5000, 7, 999, 7].map(identity).to_vec();
    assert_eq!(seen.lookup(partition(0), &asked, at(0)).unwrap(), [None, Some(digest(7)), Some(digest(999)), Some(digest(7))]);
    assert_eq!(seen.lookup(partition(1), &asked, at(0)).unwrap(), [None; 4]);
    seen.writer(partition(0)).clear().unwrap();
    assert_eq!(seen.lookup(partition(0), &asked, at(0)).unwrap(), [None; 4]);
    assert_eq!(seen.head(partition(0)).unwrap(), None);
}

#[test]
fn what_left_the_window_counts_no_more_and_is_removed_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let seen = SeenIndex::open(folder.path()).unwrap();
    let old = header(0, None, 100);
    seen.writer(partition(0)).record(&old, &[(identity(1), digest(1))], at(0)).unwrap();
    seen.writer(partition(1)).record(&header(1, None, 100), &[(identity(1), digest(1))], at(0)).unwrap();
    let new = header(0, Some(old), 200);
    seen.writer(partition(0)).record(&new, &[(identity(2), digest(2))], at(150)).unwrap();
    let asked = [identity(1), identity(2)];
    assert_eq!(seen.lookup(partition(0), &asked, at(150)).unwrap(), [None, Some(digest(2))]);
    assert_eq!(seen.lookup(partition(0), &asked, at(100)).unwrap(), [Some(digest(1)), Some(digest(2))]);
    seen.db.compact_range(None::<&[u8]>, None::<&[u8]>);
    assert_eq!(seen.lookup(partition(0), &asked, at(100)).unwrap(), [None, Some(digest(2))]);
    assert_eq!(seen.lookup(partition(1), &asked, at(100)).unwrap(), [Some(digest(1)), None]);
    assert_eq!(seen.head(partition(0)).unwrap().map(|head| head.seq), Some(new.seq));
}

#[test]
fn a_damaged_index_is_built_anew_and_a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    {
        let seen = SeenIndex::open(folder.path()).unwrap();
        seen.writer(partition(0)).record(&header(0, None, 100), &[(identity(1), digest(1))], at(0)).unwrap();
        let error = SeenIndex::open(folder.path()).err().unwrap();
        assert!(matches!(error, JournalError::Refused(_)), "{error}");
    }
    std::fs::write(folder.path().join("CURRENT"), "MANIFEST-999999\n").unwrap();
    let seen = SeenIndex::open(folder.path()).unwrap();
    assert_eq!(seen.head(partition(0)).unwrap(), None);
}

#[test]
fn of_two_writers_only_the_newer_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let seen = SeenIndex::open(folder.path()).unwrap();
    let (first, entry) = (header(0, None, 100), |n| [(identity(n), digest(n))]);
    let old = seen.writer(partition(0));
    assert!(old.record(&first, &entry(1), at(0)).unwrap());
    let new = seen.writer(partition(0));
    assert!(!old.record(&header(0, Some(first.clone()), 200), &entry(2), at(0)).unwrap());
    assert!(!old.clear().unwrap());
    assert_eq!(seen.lookup(partition(0), &[identity(1), identity(2)], at(0)).unwrap(), [Some(digest(1)), None]);
    assert_eq!(seen.head(partition(0)).unwrap().map(|head| head.seq), Some(first.seq));
    assert!(new.clear().unwrap());
    assert_eq!(seen.head(partition(0)).unwrap(), None);
}

#[test]
fn the_horizon_lies_a_window_before_and_never_before_the_first_instant() {
    assert_eq!(horizon(at(1_000_000_000), Duration::from_secs(900)), at(100_000_000));
    assert!(horizon(at(0), Duration::MAX) < at(0));
}

/// Prints the speed on one thread; the bound is loose, for machines under load.
#[test]
fn a_hundred_thousand_identities_a_second_are_looked_up_and_recorded() {
    const BATCHES: u64 = 1000;
    const EVENTS: u64 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let seen = SeenIndex::open(folder.path()).unwrap();
    let (base, writer) = (header(0, None, 100), seen.writer(partition(0)));
    let began = std::time::Instant::now();
    for batch in 0..BATCHES {
        let entries: Vec<_> = (batch * EVENTS..(batch + 1) * EVENTS).map(|n| (identity(n), digest(n))).collect();
        let asked: Vec<_> = entries.iter().map(|(identity, _)| *identity).collect();
        assert!(seen.lookup(partition(0), &asked, at(0)).unwrap().iter().all(Option::is_none));
        writer.record(&base, &entries, at(0)).unwrap();
    }
    let per_second = (BATCHES * EVENTS) as f64 / began.elapsed().as_secs_f64();
    println!("{per_second:.0} identities/s looked up and recorded");
    let repeated: Vec<_> = (0..EVENTS).map(|n| identity(n * BATCHES)).collect();
    assert!(seen.lookup(partition(0), &repeated, at(0)).unwrap().iter().all(Option::is_some));
    let memory: u64 = ["rocksdb.cur-size-all-mem-tables", "rocksdb.block-cache-usage", "rocksdb.estimate-table-readers-mem"]
        .iter()
        .filter_map(|property| seen.db.property_int_value(*property).unwrap())
        .sum();
    println!("{} KiB of memory", memory >> 10);
    assert!(memory <= 64 << 20, "{memory} bytes");
    assert!(per_second > 10_000.0, "{per_second}");
}
