use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tributary_schemas::tables::Table;

use super::support::{Fault, Faulty, ManualClock, lake_with, read_object, settled, txn};
use crate::{Lake, LakeSettings};

/// A small table with data files, commits, a checkpoint and a replaced file.
async fn table(store: &Arc<dyn ObjectStore>) -> Arc<Lake> {
    let settings = LakeSettings { checkpoint_commits: 5, compact_files_min: 4, ..LakeSettings::default() };
    let lake = lake_with(store, settings, &ManualClock::new());
    for epoch in 1..=6 {
        lake.append(Table::Settled, vec![settled(epoch, &["a", "b"])], &txn(epoch)).await.unwrap();
    }
    assert!(lake.compact(Table::Settled).await.unwrap().is_some());
    assert!(lake.checkpoint_if_due(Table::Settled).await.unwrap());
    lake.append(Table::Settled, vec![settled(7, &["c"])], &txn(7)).await.unwrap();
    assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
    lake
}

async fn objects(store: &Arc<dyn ObjectStore>) -> Vec<Path> {
    let mut all: Vec<Path> = store.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_anywhere_is_found_and_the_object_named() {
    const EVERY: usize = 29;
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    table(&store).await;
    let all = objects(&store).await;
    assert!(all.iter().any(|o| o.as_ref().ends_with("_last_checkpoint")));
    assert!(all.iter().any(|o| o.as_ref().ends_with(".checkpoint.parquet")));
    for (number, object) in all.iter().enumerate() {
        let sound = read_object(store.as_ref(), object).await;
        for at in (number % EVERY..sound.len()).step_by(if sound.len() > 4_000 { EVERY * 23 } else { EVERY }) {
            let mut damaged = sound.to_vec();
            damaged[at] ^= 1 << (at % 8);
            store.put(object, damaged.into()).await.unwrap();
            let found = Lake::open(Arc::clone(&store)).check_digests(Table::Settled).await.unwrap();
            assert!(found.iter().any(|d| d.object == *object), "{object}, byte {at}: {found:?}");
        }
        store.put(object, sound.into()).await.unwrap();
    }
    assert_eq!(Lake::open(store).check_digests(Table::Settled).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_found_and_named() {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    let lake = table(&store).await;
    let live = lake.snapshot(Table::Settled).await.unwrap().files[0].path.clone();
    let commit = Path::from("lake/settled/_delta_log/00000000000000000007.json");
    let beginning = "lake/settled/_digests/00000000000000000003.";
    let digest = objects(&store).await.into_iter().find(|o| o.as_ref().starts_with(beginning)).unwrap();
    let behind = Path::from("lake/settled/_delta_log/00000000000000000003.json");
    for (removed, named) in [(&live, &live), (&digest, &behind), (&commit, &commit)] {
        let sound = read_object(store.as_ref(), removed).await;
        store.delete(removed).await.unwrap();
        let found = Lake::open(Arc::clone(&store)).check_digests(Table::Settled).await.unwrap();
        assert!(found.iter().any(|d| d.object == *named), "{removed}: {found:?}");
        store.put(removed, sound.into()).await.unwrap();
    }
    assert!(store.head(&commit).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_object_in_a_table_is_named() {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    let lake = table(&store).await;
    let foreign = Path::from("lake/settled/part-0.parquet");
    store.put(&foreign, "rows".into()).await.unwrap();
    let found = lake.check_digests(Table::Settled).await.unwrap();
    assert_eq!(found.iter().map(|d| &d.object).collect::<Vec<_>>(), [&foreign]);
}

/// Flips a bit of a commit in a number that a reader takes as it comes. Gives the commit.
async fn damage(store: &Arc<dyn ObjectStore>, version: i64) -> Path {
    const KEY: &str = r#"numRecords\":"#;
    let commit = Path::from(format!("lake/settled/_delta_log/{version:020}.json"));
    let mut bytes = read_object(store.as_ref(), &commit).await.to_vec();
    let place = std::str::from_utf8(&bytes).unwrap().find(KEY).unwrap() + KEY.len();
    assert!(bytes[place].is_ascii_digit());
    bytes[place] ^= 1;
    store.put(&commit, bytes.into()).await.unwrap();
    commit
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_commit_that_a_crash_left_and_a_bit_flipped_is_found_and_stays_found_after_the_next_commit() {
    for at in 0.. {
        let inner = Arc::new(InMemory::new());
        let store = Arc::clone(&inner) as Arc<dyn ObjectStore>;
        let before = table(&store).await.snapshot(Table::Settled).await.unwrap().version;
        let faulty = Faulty::new(inner, at, Fault::CrashAfter);
        let lake = Lake::open(Arc::clone(&faulty) as Arc<dyn ObjectStore>);
        let ended = lake.append(Table::Settled, vec![settled(8, &["d"])], &txn(8)).await;
        let lake = Lake::open(Arc::clone(&store));
        assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), [], "operation {at}");
        if lake.snapshot(Table::Settled).await.unwrap().version > before {
            let head = damage(&store, before + 1).await;
            for epoch in 9..11 {
                let found = Lake::open(Arc::clone(&store)).check_digests(Table::Settled).await.unwrap();
                assert_eq!(found.iter().map(|d| &d.object).collect::<Vec<_>>(), [&head], "operation {at}");
                Lake::open(Arc::clone(&store)).append(Table::Settled, vec![settled(epoch, &["e"])], &txn(epoch)).await.unwrap();
            }
        }
        if ended.is_ok() {
            assert!(at > 2);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_of_a_commit_that_was_never_made_raises_no_alarm_and_is_swept_with_its_version() {
    let (store, clock) = (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, ManualClock::new());
    let settings = LakeSettings { checkpoint_commits: 5, ..LakeSettings::default() };
    let lake = lake_with(&store, settings, &clock);
    lake.append(Table::Settled, vec![settled(1, &["a"])], &txn(1)).await.unwrap();
    // Another writer recorded what version 2 would be, and died or lost it.
    let log = &lake.cell(Table::Settled).log;
    let bytes = bytes::Bytes::from_static(b"another commit");
    log.record_digest(2, &bytes).await.unwrap();
    let leftover = log.digest_path(2, tributary_schemas::units::keccak256(&bytes));
    for epoch in 2..=12 {
        lake.append(Table::Settled, vec![settled(epoch, &["a"])], &txn(epoch)).await.unwrap();
        assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
    }
    assert!(store.head(&leftover).await.is_ok());
    assert!(lake.checkpoint_if_due(Table::Settled).await.unwrap());
    clock.advance_seconds(10_000);
    assert!(lake.sweep_log(Table::Settled).await.unwrap() > 20);
    let left = objects(&store).await;
    let commits = left.iter().filter(|o| o.as_ref().contains("_delta_log") && o.as_ref().ends_with(".json")).count();
    let digests = left.iter().filter(|o| o.as_ref().contains("_digests") && !o.as_ref().contains("checkpoint")).count();
    assert_eq!((commits, digests), (1, 1), "{left:?}");
    assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
}
