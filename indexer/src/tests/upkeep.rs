use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tributary_schemas::tables::Table;

use super::support::{ManualClock, attribution, indexer, journal, lake_with, seal, settled, texts, txn};
use crate::check::{compare, table_fingerprint};
use crate::{Compacted, Lake, LakeSettings, Settings};

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_rows_transactions_and_order() {
    let (store, clock) = (memory(), ManualClock::new());
    let lake = lake_with(&store, LakeSettings::default(), &clock);
    for epoch in 1..=20 {
        lake.append(Table::Settled, vec![settled(epoch, &["a", "b"])], &txn(epoch)).await.unwrap();
    }
    let (before, rows) = (lake.snapshot(Table::Settled).await.unwrap(), table_fingerprint(&lake, Table::Settled).await.unwrap());
    assert_eq!(lake.compact(Table::Settled).await.unwrap(), Some(Compacted { files: 20, rows: 40 }));
    let after = lake.snapshot(Table::Settled).await.unwrap();
    assert_eq!((after.files.len(), after.version), (1, before.version + 1));
    assert_eq!(after.txns, before.txns);
    assert_eq!(table_fingerprint(&lake, Table::Settled).await.unwrap(), rows);
    assert_eq!(lake.compact(Table::Settled).await.unwrap(), None);
    // A reader with the older snapshot still finds its files; later they are swept.
    assert_eq!(lake.sweep_removed(Table::Settled).await.unwrap(), 0);
    clock.advance_seconds(3_601);
    assert_eq!(lake.sweep_removed(Table::Settled).await.unwrap(), 20);
    assert_eq!(lake.sweep_removed(Table::Settled).await.unwrap(), 0);
    assert_eq!(table_fingerprint(&Lake::open(store), Table::Settled).await.unwrap(), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_compactions_at_once_change_no_row() {
    let store = memory();
    let lakes: Vec<Arc<Lake>> = (0..3).map(|_| Lake::open(Arc::clone(&store))).collect();
    for epoch in 1..=10 {
        lakes[0].append(Table::Settled, vec![settled(epoch, &["a", "b"])], &txn(epoch)).await.unwrap();
    }
    let runs = lakes.iter().map(|lake| {
        let lake = Arc::clone(lake);
        tokio::spawn(async move { lake.compact(Table::Settled).await.unwrap() })
    });
    for ended in futures::future::join_all(runs).await {
        ended.unwrap();
    }
    assert_eq!(Lake::open(Arc::clone(&store)).snapshot(Table::Settled).await.unwrap().rows(), 20);
    assert_eq!(lakes[0].check_digests(Table::Settled).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_not_copied() {
    let store = memory();
    let lake = Lake::open(Arc::clone(&store));
    for epoch in 1..=8 {
        lake.append(Table::Settled, vec![settled(epoch, &["a"])], &txn(epoch)).await.unwrap();
    }
    let file = lake.snapshot(Table::Settled).await.unwrap().files[3].path.clone();
    let mut bytes = super::support::read_object(store.as_ref(), &file).await.to_vec();
    bytes[40] ^= 1;
    object_store::ObjectStoreExt::put(&store, &file, bytes.into()).await.unwrap();
    let error = lake.compact(Table::Settled).await.unwrap_err();
    assert!(error.to_string().contains(file.as_ref()), "{error}");
    assert_eq!(lake.snapshot(Table::Settled).await.unwrap().files.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_opened_from_its_checkpoint_is_the_table_replayed_from_the_start() {
    // A local directory does not list its files in the order of their names.
    let folder = tempfile::tempdir().unwrap();
    let (store, clock) = (tributary_journal::storage::LocalStore::open(folder.path()).unwrap(), ManualClock::new());
    let settings = LakeSettings { checkpoint_commits: 10, compact_files_min: 4, ..LakeSettings::default() };
    let lake = lake_with(&store, settings, &clock);
    let journal = journal(&store, 3).await;
    let indexer = indexer(&journal, &lake, Settings::default());
    for id in 0..25 {
        seal(&journal, id % 3, &[attribution(id as usize, 2)]).await;
        indexer.index_available().await.unwrap();
        lake.keep_up(Table::Attributions).await.unwrap();
    }
    let replayed = lake.snapshot(Table::Attributions).await.unwrap();
    let names: Vec<String> = store.list(None).map_ok(|o| o.location.to_string()).try_collect().await.unwrap();
    assert!(names.iter().filter(|n| n.contains("attributions") && n.ends_with(".checkpoint.parquet")).count() >= 2);
    let opened = Lake::open(Arc::clone(&store)).snapshot(Table::Attributions).await.unwrap();
    assert_eq!((opened.version, &opened.txns), (replayed.version, &replayed.txns));
    assert_eq!(opened.files, replayed.files);
    // With old commits swept it still is.
    clock.advance_seconds(10_000);
    assert!(lake.sweep_log(Table::Attributions).await.unwrap() > 10);
    let opened = Lake::open(Arc::clone(&store));
    assert_eq!(opened.snapshot(Table::Attributions).await.unwrap().files, replayed.files);
    compare(&journal, &opened, &journal.heads()).await.unwrap();
    assert_eq!(opened.check_digests(Table::Attributions).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_hour_of_rounds_a_second_a_table_has_few_files_and_a_short_log() {
    let (store, clock) = (memory(), ManualClock::new());
    let lake = lake_with(&store, LakeSettings::default(), &clock);
    for second in 1..=3_600 {
        lake.append(Table::Settled, vec![settled(second, &["a"])], &txn(second)).await.unwrap();
        if second % 10 == 0 {
            lake.keep_up(Table::Settled).await.unwrap();
        }
    }
    let snapshot = lake.snapshot(Table::Settled).await.unwrap();
    assert_eq!(snapshot.rows(), 3_600);
    assert!(snapshot.files.len() < 64, "{} files", snapshot.files.len());
    clock.advance_seconds(7_200);
    // One sweep is bounded; a few of them are through.
    while lake.sweep_removed(Table::Settled).await.unwrap() + lake.sweep_log(Table::Settled).await.unwrap() > 0 {}
    let objects = store.list(None).try_collect::<Vec<_>>().await.unwrap().len();
    assert!(objects < 600, "{objects} objects");
    assert_eq!(texts(&Lake::open(store), Table::Settled, "inference_id").await.len(), 3_600);
}
