use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tributary_schemas::tables::Table;

use super::support::{Fault, Faulty, ManualClock, lake_with, settled, texts, txn};

use crate::error::Kind;
use crate::{Appended, Lake, LakeSettings};

async fn count(store: &InMemory) -> usize {
    store.list(None).try_collect::<Vec<_>>().await.unwrap().len()
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_nobody_wrote_is_empty_and_reading_it_writes_nothing() {
    let store = Arc::new(InMemory::new());
    let lake = Lake::open(Arc::clone(&store) as Arc<dyn ObjectStore>);
    let snapshot = lake.snapshot(Table::Settled).await.unwrap();
    assert_eq!((snapshot.version, snapshot.files.len(), snapshot.txns.len()), (-1, 0, 0));
    assert_eq!(count(&store).await, 0);
    assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_rows_and_their_transaction_are_seen_by_every_process() {
    let store = memory();
    let (writer, reader) = (Lake::open(Arc::clone(&store)), Lake::open(Arc::clone(&store)));
    assert_eq!(reader.snapshot(Table::Settled).await.unwrap().version, -1);
    for epoch in 1..=3 {
        let appended = writer.append(Table::Settled, vec![settled(epoch, &["a", "b"])], &txn(epoch)).await.unwrap();
        assert_eq!(appended, Appended::Committed { version: epoch });
        let snapshot = reader.snapshot(Table::Settled).await.unwrap();
        assert_eq!(snapshot.version, epoch);
        assert_eq!(snapshot.txns["settlement"], epoch);
        assert_eq!(snapshot.rows(), 2 * epoch.unsigned_abs());
    }
    let reopened = Lake::open(store);
    let (seen, loaded) = (reader.snapshot(Table::Settled).await.unwrap(), reopened.snapshot(Table::Settled).await.unwrap());
    assert_eq!(seen, loaded);
    assert_eq!(texts(&reopened, Table::Settled, "inference_id").await, ["a", "b", "a", "b", "a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_already_there_writes_nothing() {
    let store = Arc::new(InMemory::new());
    let lake = Lake::open(Arc::clone(&store) as Arc<dyn ObjectStore>);
    lake.append(Table::Settled, vec![settled(2, &["a"])], &txn(2)).await.unwrap();
    let objects = count(&store).await;
    for epoch in [1, 2] {
        let appended = lake.append(Table::Settled, vec![settled(epoch, &["b"])], &txn(epoch)).await.unwrap();
        assert_eq!(appended, Appended::AlreadyThere);
    }
    assert_eq!(count(&store).await, objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_of_one_transaction_exactly_one_wins() {
    for _ in 0..20 {
        let store = memory();
        let lakes: Vec<Arc<Lake>> = (0..4).map(|_| Lake::open(Arc::clone(&store))).collect();
        let appends = lakes.iter().map(|lake| {
            let lake = Arc::clone(lake);
            tokio::spawn(async move { lake.append(Table::Settled, vec![settled(1, &["a"])], &txn(1)).await.unwrap() })
        });
        let ended: Vec<Appended> = futures::future::join_all(appends).await.into_iter().map(|e| e.unwrap()).collect();
        assert_eq!(ended.iter().filter(|e| **e != Appended::AlreadyThere).count(), 1, "{ended:?}");
        let lake = Lake::open(store);
        assert_eq!(lake.snapshot(Table::Settled).await.unwrap().rows(), 1);
        assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_different_transactions_all_get_their_rows_in() {
    let store = memory();
    let appends = (0..8_i64).map(|writer| {
        let lake = Lake::open(Arc::clone(&store));
        tokio::spawn(async move {
            for round in 1..=5 {
                let txns = [(format!("writer-{writer}"), round)];
                lake.append(Table::Settled, vec![settled(round, &["a"])], &txns).await.unwrap();
            }
        })
    });
    for ended in futures::future::join_all(appends).await {
        ended.unwrap();
    }
    let lake = Lake::open(store);
    let snapshot = lake.snapshot(Table::Settled).await.unwrap();
    assert_eq!(snapshot.rows(), 40);
    assert!(snapshot.txns.values().all(|version| *version == 5));
    assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rows_only_the_transaction_is_committed() {
    let lake = Lake::open(memory());
    assert_eq!(lake.append(Table::Rewards, Vec::new(), &txn(7)).await.unwrap(), Appended::Committed { version: 1 });
    let snapshot = lake.snapshot(Table::Rewards).await.unwrap();
    assert_eq!((snapshot.files.len(), snapshot.txns["settlement"]), (0, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_table_are_refused() {
    let lake = Lake::open(memory());
    let refused = lake.append(Table::Rewards, vec![settled(1, &["a"])], &txn(1)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Reject, "lake_rows_refused"));
    assert_eq!(lake.snapshot(Table::Rewards).await.unwrap().version, -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_answer_the_commit_is_recognised_as_ones_own() {
    for at in 0..12 {
        let store = Faulty::new(Arc::new(InMemory::new()), at, Fault::LostAnswer);
        let lake = Lake::open(Arc::clone(&store) as Arc<dyn ObjectStore>);
        let mut ended = lake.append(Table::Settled, vec![settled(1, &["a"])], &txn(1)).await;
        if ended.is_err() {
            ended = lake.append(Table::Settled, vec![settled(1, &["a"])], &txn(1)).await;
        }
        ended.unwrap();
        // The fault may lie in the operations from here on; then it fails this reading once.
        let _ = lake.snapshot(Table::Settled).await;
        let _ = lake.check_digests(Table::Settled).await;
        assert_eq!(lake.snapshot(Table::Settled).await.unwrap().rows(), 1, "operation {at}");
        assert_eq!(lake.check_digests(Table::Settled).await.unwrap(), [], "operation {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_commit_in_the_middle_is_named() {
    let store = memory();
    let lake = Lake::open(Arc::clone(&store));
    for epoch in 1..=3 {
        lake.append(Table::Settled, vec![settled(epoch, &["a"])], &txn(epoch)).await.unwrap();
    }
    let commit = "lake/settled/_delta_log/00000000000000000002.json";
    object_store::ObjectStoreExt::delete(&store, &commit.into()).await.unwrap();
    let error = Lake::open(store).snapshot(Table::Settled).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(commit), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_slept_through_a_cleaned_log_starts_anew() {
    let (store, clock) = (memory(), ManualClock::new());
    let settings = LakeSettings { checkpoint_commits: 5, ..LakeSettings::default() };
    let (sleeper, writer) = (lake_with(&store, settings.clone(), &clock), lake_with(&store, settings, &clock));
    writer.append(Table::Settled, vec![settled(1, &["a"])], &txn(1)).await.unwrap();
    sleeper.snapshot(Table::Settled).await.unwrap();
    for epoch in 2..=12 {
        writer.append(Table::Settled, vec![settled(epoch, &["a"])], &txn(epoch)).await.unwrap();
    }
    assert!(writer.checkpoint_if_due(Table::Settled).await.unwrap());
    clock.advance_seconds(10_000);
    assert!(writer.sweep_log(Table::Settled).await.unwrap() > 0);
    assert_eq!(sleeper.snapshot(Table::Settled).await.unwrap(), writer.snapshot(Table::Settled).await.unwrap());
    let appended = sleeper.append(Table::Settled, vec![settled(13, &["b"])], &txn(13)).await.unwrap();
    assert_eq!(appended, Appended::Committed { version: 13 });
}
