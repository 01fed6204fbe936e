use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tributary_schemas::tables::Table;

use super::support::{ManualClock, lake_with, read_object, settled, txn};
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
    let digest = Path::from("lake/settled/_digests/00000000000000000003.json");
    let behind = Path::from("lake/settled/_delta_log/00000000000000000003.json");
    let last = Path::from("lake/settled/_delta_log/00000000000000000008.json");
    for (removed, named) in [(&live, &live), (&digest, &behind), (&commit, &commit), (&last, &last)] {
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

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_that_a_crash_left_out_is_recorded_by_the_next_commit() {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    table(&store).await;
    let head = Path::from("lake/settled/_digests/00000000000000000008.json");
    store.delete(&head).await.unwrap();
    let lake = Lake::open(Arc::clone(&store));
    assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
    lake.append(Table::Settled, vec![settled(8, &["d"])], &txn(8)).await.unwrap();
    assert!(store.head(&head).await.is_ok());
    assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
}
