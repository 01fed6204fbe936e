#![allow(clippy::unwrap_used)]

use std::time::Duration;

use object_store::memory::InMemory;
use tributary_schemas::ids::{Offset, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use super::*;
use crate::batch::Contents;
use crate::simulation::{FaultyStore, HandClock};

fn settings() -> Settings {
    Settings {
        put_backoff: Duration::ZERO..=Duration::ZERO,
        put_attempts_max: 4,
        poll_interval: Duration::from_millis(1),
        ..Settings::default()
    }
}

fn partitions(count: u32) -> Option<PartitionCount> {
    Some(PartitionCount::new(count).unwrap())
}

async fn open(store: Arc<dyn ObjectStore>, born_with: Option<PartitionCount>) -> Result<Arc<Journal>, JournalError> {
    Journal::open_with(store, born_with, HandClock::new(), settings()).await
}

fn partition(number: u32) -> Partition {
    Partition::new(number).unwrap()
}

fn next_batch(journal: &Journal, number: u32, event: &'static [u8]) -> SealedBatch {
    let previous = journal.head(partition(number));
    let first = previous.as_ref().map_or(0, |header| header.next_offset.get());
    let at = Timestamp::from_micros(1_790_000_000_000_000).unwrap();
    let contents = Contents {
        deployment: journal.genesis().deployment,
        partition: partition(number),
        previous,
        next_offset: Offset::new(first + 1).unwrap(),
        last_record_hash: keccak256(event),
        times: (at, at),
        sealed_at: at,
        events: vec![Bytes::from_static(event)],
    };
    SealedBatch::seal(contents).unwrap()
}

async fn append(journal: &Journal, number: u32, event: &'static [u8]) -> SealedBatch {
    let batch = next_batch(journal, number, event);
    journal.append(&batch).await.unwrap();
    batch
}

#[tokio::test]
async fn a_journal_is_found_again_with_its_heads_and_batches() {
    let store = Arc::new(InMemory::new());
    let journal = open(store.clone(), partitions(3)).await.unwrap();
    let first = append(&journal, 1, b"one").await;
    let second = append(&journal, 1, b"two").await;
    append(&journal, 2, b"three").await;
    let again = open(store, None).await.unwrap();
    assert_eq!(again.genesis(), journal.genesis());
    assert_eq!((again.heads().to_string(), journal.heads().to_string()), ("1:1,2:0".to_owned(), "1:1,2:0".to_owned()));
    assert_eq!(again.read(partition(1), Seq::FIRST).await.unwrap(), first);
    assert_eq!(again.read(partition(1), Seq::new(1).unwrap()).await.unwrap(), second);
    assert_eq!(again.header(partition(1), Seq::FIRST).await.unwrap(), first.header);
    let absent = again.read(partition(1), Seq::new(2).unwrap()).await.unwrap_err();
    assert!(matches!(absent, JournalError::Refused(_)), "{absent}");
}

#[tokio::test]
async fn the_names_of_objects_are_the_documented_ones() {
    let path = batch_path(partition(3), Seq::new(42).unwrap());
    assert_eq!(path.as_ref(), "journal/p-00003/00000000000000000042.batch");
    assert_eq!(genesis_path().as_ref(), "journal/genesis.json");
}

#[tokio::test]
async fn a_journal_that_is_absent_or_was_born_otherwise_is_refused() {
    let store = Arc::new(InMemory::new());
    for (found, word) in [
        (open(store.clone(), None).await, "no journal here"),
        (open(store.clone(), partitions(4)).await, ""),
        (open(store.clone(), partitions(5)).await, "born with 4 partitions"),
    ] {
        match found {
            Ok(_) => assert_eq!(word, ""),
            Err(error) => assert!(matches!(&error, JournalError::Refused(text) if text.contains(word)), "{error}"),
        }
    }
    let newer = String::from_utf8(get(&*store, &genesis_path()).await.unwrap().unwrap().to_vec()).unwrap();
    store.put(&genesis_path(), newer.replace("\"format\":1", "\"format\":9").into()).await.unwrap();
    let error = open(store.clone(), None).await.err().unwrap();
    assert!(error.to_string().contains("format version 9 is not known"), "{error}");
    store.put(&genesis_path(), "{}".into()).await.unwrap();
    assert!(open(store, None).await.err().unwrap().is_corrupt());
}

#[tokio::test]
async fn batches_without_a_genesis_record_are_damage_and_no_place_for_a_new_deployment() {
    let store = Arc::new(InMemory::new());
    append(&open(store.clone(), partitions(2)).await.unwrap(), 1, b"one").await;
    store.delete(&genesis_path()).await.unwrap();
    for born_with in [None, partitions(2)] {
        let error = open(store.clone(), born_with).await.err().unwrap();
        assert!(error.is_corrupt() && error.to_string().contains("journal/genesis.json"), "{error}");
    }
    assert!(get(&*store, &genesis_path()).await.unwrap().is_none(), "no other deployment was founded");
}

#[tokio::test]
async fn two_who_create_a_journal_at_once_go_on_with_one_deployment() {
    for seed in 0..50 {
        let store = FaultyStore::new(seed);
        store.set_faults(300);
        let (a, b) = tokio::join!(open(store.clone(), partitions(2)), open(store.clone(), partitions(2)));
        store.set_faults(0);
        let settled = open(store, None).await;
        for journal in [a, b].into_iter().flatten() {
            assert_eq!(journal.genesis(), settled.as_ref().unwrap().genesis(), "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_rebuild_brings_its_genesis_along_and_spares_another_deployment() {
    let journal = open(Arc::new(InMemory::new()), partitions(2)).await.unwrap();
    let batch = append(&journal, 0, b"one").await;
    let store = Arc::new(InMemory::new());
    let copy = Journal::adopt(store.clone(), journal.genesis().clone(), settings()).await.unwrap();
    copy.append(&batch).await.unwrap();
    assert_eq!(Journal::adopt(store.clone(), journal.genesis().clone(), settings()).await.unwrap().heads(), journal.heads());
    let other = Genesis { deployment: DeploymentId::random(), ..journal.genesis().clone() };
    let error = Journal::adopt(store, other, settings()).await.err().unwrap();
    assert!(matches!(error, JournalError::Refused(_)), "{error}");
}

#[tokio::test]
async fn of_two_batches_for_one_number_the_second_is_fenced_and_the_first_may_be_repeated() {
    let store = Arc::new(InMemory::new());
    let a = open(store.clone(), partitions(1)).await.unwrap();
    let b = open(store, partitions(1)).await.unwrap();
    let won = append(&a, 0, b"one").await;
    let lost = next_batch(&b, 0, b"other");
    let error = b.append(&lost).await.unwrap_err();
    assert!(matches!(error, JournalError::Fenced { seq: Seq::FIRST, .. }), "{error}");
    assert_eq!(b.head(partition(0)), None);
    a.append(&won).await.unwrap();
    assert_eq!(b.refresh(partition(0)).await.unwrap(), Some(won.header));
    append(&b, 0, b"two").await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_won_if_the_object_is_ones_own() {
    let mut outcomes = [0; 2];
    for seed in 0..400 {
        let store = FaultyStore::new(seed);
        let journal = open(store.clone(), partitions(1)).await.unwrap();
        store.set_faults(700);
        let batch = next_batch(&journal, 0, b"one");
        let outcome = journal.append(&batch).await;
        store.set_faults(0);
        match outcome {
            Ok(()) => outcomes[0] += 1,
            Err(error) => {
                assert!(error.is_retry(), "seed {seed}: {error}");
                outcomes[1] += 1;
                journal.append(&batch).await.unwrap();
            }
        }
        assert_eq!(journal.read(partition(0), Seq::FIRST).await.unwrap(), batch, "seed {seed}");
        assert_eq!(journal.head(partition(0)), Some(batch.header));
    }
    assert!(outcomes.iter().all(|count| *count > 0), "both ends were met: {outcomes:?}");
}

#[tokio::test]
async fn a_batch_whose_name_the_disk_cannot_make_durable_is_not_appended() {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};
    static BROKEN: AtomicBool = AtomicBool::new(false);
    fn sync(folder: &std::path::Path) -> io::Result<()> {
        if BROKEN.load(Ordering::SeqCst) { Err(io::Error::other("I/O error")) } else { tributary_eventlog::folder::sync(folder) }
    }
    let folder = tempfile::tempdir().unwrap();
    let store = crate::storage::LocalStore::open_with_sync(folder.path(), sync).unwrap();
    let journal = open(store, partitions(1)).await.unwrap();
    let batch = next_batch(&journal, 0, b"one");
    BROKEN.store(true, Ordering::SeqCst);
    let error = journal.append(&batch).await.unwrap_err();
    assert!(error.is_retry() && error.to_string().contains("I/O error"), "{error}");
    assert_eq!(journal.head(partition(0)), None, "its bytes are there, but may not be there after a loss of power");
    BROKEN.store(false, Ordering::SeqCst);
    journal.append(&batch).await.unwrap();
    assert_eq!(journal.head(partition(0)), Some(batch.header));
}

#[tokio::test]
async fn a_batch_that_does_not_continue_the_journal_is_refused() {
    let journal = open(Arc::new(InMemory::new()), partitions(1)).await.unwrap();
    let other = open(Arc::new(InMemory::new()), partitions(1)).await.unwrap();
    let foreign = next_batch(&other, 0, b"one");
    append(&other, 0, b"one").await;
    let later = next_batch(&other, 0, b"two");
    for batch in [foreign, later] {
        let error = journal.append(&batch).await.unwrap_err();
        assert!(matches!(error, JournalError::Refused(_)), "{error}");
    }
    assert!(journal.heads().is_empty());
}

#[tokio::test]
async fn a_missing_batch_is_named_on_opening_and_on_reading() {
    let store = Arc::new(InMemory::new());
    let journal = open(store.clone(), partitions(1)).await.unwrap();
    for _ in 0..5 {
        append(&journal, 0, b"one").await;
    }
    for missing in 0..4 {
        let path = batch_path(partition(0), Seq::new(missing).unwrap());
        let object = get(&*store, &path).await.unwrap().unwrap();
        store.delete(&path).await.unwrap();
        let error = open(store.clone(), None).await.err().unwrap();
        assert!(error.is_corrupt() && error.to_string().contains(path.as_ref()), "{error}");
        let error = journal.read(partition(0), Seq::new(missing).unwrap()).await.unwrap_err();
        assert!(error.is_corrupt() && error.to_string().contains(path.as_ref()), "{error}");
        store.put(&path, object.into()).await.unwrap();
    }
    open(store, None).await.unwrap();
}

#[tokio::test]
async fn damage_is_named_with_its_object() {
    let store = Arc::new(InMemory::new());
    let journal = open(store.clone(), partitions(2)).await.unwrap();
    let good = append(&journal, 0, b"one").await;
    append(&journal, 0, b"two").await;
    let moved = append(&journal, 1, b"one").await;
    let path = batch_path(partition(0), Seq::FIRST);
    let mut flipped = good.encoded.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    for (bytes, word) in [
        (Bytes::from(flipped), "body does not match"),
        (Bytes::new(), "ends after 0 bytes"),
        (good.encoded.slice(..100), "inside the header"),
        (moved.encoded, "it is batch 0 of partition 1"),
        (Bytes::from_static(&[0; 300]), "TRIB"),
    ] {
        store.put(&path, bytes.into()).await.unwrap();
        let error = journal.read(partition(0), Seq::FIRST).await.unwrap_err();
        assert!(error.is_corrupt(), "{error}");
        assert!(error.to_string().contains(path.as_ref()) && error.to_string().contains(word), "{error}");
    }
    store.put(&batch_path(partition(0), Seq::new(1).unwrap()), Bytes::new().into()).await.unwrap();
    let error = open(store, None).await.err().unwrap();
    assert!(error.is_corrupt() && error.to_string().contains("the object is empty"), "{error}");
}

#[tokio::test]
async fn a_link_that_does_not_hold_is_found_by_a_reader_that_goes_forward() {
    let store = Arc::new(InMemory::new());
    let journal = open(store.clone(), partitions(1)).await.unwrap();
    append(&journal, 0, b"one").await;
    let second = append(&journal, 0, b"two").await;
    let mut header = second.header.clone();
    header.previous_hash = Hash::repeat_byte(9);
    let forged = [&header.encode()[..], &second.body()].concat();
    store.put(&batch_path(partition(0), header.seq), forged.into()).await.unwrap();
    let error = journal.read(partition(0), header.seq).await.unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("previous hash"), "{error}");
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_its_own_process_and_by_others() {
    let store = Arc::new(InMemory::new());
    let writer = open(store.clone(), partitions(1)).await.unwrap();
    let reader = open(store, None).await.unwrap();
    let (near, far) = (writer.wait_beyond(partition(0), None), reader.wait_beyond(partition(0), None));
    let (near, far, batch) = tokio::join!(near, far, append(&writer, 0, b"one"));
    assert_eq!((near.unwrap(), far.unwrap()), (batch.header.clone(), batch.header.clone()));
    let (near, batch) = tokio::join!(writer.wait_beyond(partition(0), Some(batch.header.seq)), append(&writer, 0, b"two"));
    assert_eq!(near.unwrap(), batch.header);
}

#[tokio::test]
async fn the_end_of_a_long_journal_is_found_by_its_names() {
    let store = InMemory::new();
    for length in [0_u64, 1, 2, 3, 7, 8, 9, 100] {
        if let Some(last) = length.checked_sub(1) {
            for number in 0..=last {
                store.put(&batch_path(partition(0), Seq::new(number).unwrap()), "x".into()).await.unwrap();
            }
        }
        let last = discovery::last_seq(&store, partition(0)).await.unwrap();
        assert_eq!(last.map(Seq::get), length.checked_sub(1));
    }
}
