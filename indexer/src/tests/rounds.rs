use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::tables::Table;

use super::support::{attribution, flywheel, indexer, journal, seal, seal_all, texts};
use crate::check::{Failure, compare, fingerprint, table_fingerprint};
use crate::{IndexedCut, Lake, Settings};

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flywheel_is_in_the_tables_exactly_once() {
    for partitions in [1, 4] {
        let store = memory();
        let journal = journal(&store, partitions).await;
        seal_all(&journal, &flywheel(20_000), 300_000).await;
        let lake = Lake::open(Arc::clone(&store));
        // Small rounds of several batches, encoded side by side.
        let settings = Settings { round_bytes_max: 2_000_000, parallel_batches_min: 3, ..Settings::default() };
        indexer(&journal, &lake, settings).index_available().await.unwrap();
        let report = compare(&journal, &lake, &journal.heads()).await.unwrap();
        assert_eq!(report.tables, 12);
        assert!(report.rows > 100_000, "{report:?}");
        assert_eq!(IndexedCut::new(Arc::clone(&lake)).indexed().await.unwrap(), journal.heads());
        assert_eq!(lake.snapshot(Table::Events).await.unwrap().rows(), 20_000);
        for table in Table::EVENT_TABLES {
            assert_eq!(lake.check_digests(*table).await.unwrap(), []);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_rows_within_a_partition_is_that_of_its_events() {
    let store = memory();
    let journal = journal(&store, 1).await;
    for batch in 0..4 {
        seal(&journal, 0, &[attribution(batch * 2, 1), attribution(batch * 2 + 1, 1)]).await;
    }
    let lake = Lake::open(store);
    let settings = Settings { round_batches_max: 2, ..Settings::default() };
    indexer(&journal, &lake, settings).index_available().await.unwrap();
    let expected: Vec<String> = (0..8).map(|i| format!("event-{i}")).collect();
    assert_eq!(texts(&lake, Table::Events, "event_id").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_events_moves_the_cut() {
    let store = memory();
    let journal = journal(&store, 2).await;
    seal(&journal, 1, &[]).await;
    let lake = Lake::open(store);
    let indexer = indexer(&journal, &lake, Settings::default());
    indexer.index_available().await.unwrap();
    assert_eq!(indexer.indexed().await.unwrap(), journal.heads());
    assert_eq!(lake.snapshot(Table::Events).await.unwrap().rows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexing_again_changes_nothing() {
    let store = memory();
    let journal = journal(&store, 2).await;
    seal(&journal, 0, &[attribution(1, 3)]).await;
    let lake = Lake::open(Arc::clone(&store));
    let indexer = indexer(&journal, &lake, Settings::default());
    indexer.index_available().await.unwrap();
    let before = lake.snapshot(Table::Events).await.unwrap();
    indexer.index_available().await.unwrap();
    assert_eq!(lake.snapshot(Table::Events).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_indexers_at_once_leave_every_row_once() {
    let store = memory();
    let journal = journal(&store, 4).await;
    seal_all(&journal, &flywheel(3_000), 60_000).await;
    let runs = (0..3).map(|_| {
        let lake = Lake::open(Arc::clone(&store));
        let settings = Settings { round_batches_max: 5, ..Settings::default() };
        let indexer = indexer(&journal, &lake, settings);
        tokio::spawn(async move { indexer.index_available().await.unwrap() })
    });
    for ended in futures::future::join_all(runs).await {
        ended.unwrap();
    }
    let lake = Lake::open(store);
    compare(&journal, &lake, &journal.heads()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_indexer_takes_up_new_batches_and_ends_at_shutdown() {
    let store = memory();
    let journal = journal(&store, 2).await;
    let lake = Lake::open(Arc::clone(&store));
    let indexer = indexer(&journal, &lake, Settings::default());
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn({
        let (indexer, stop) = (Arc::clone(&indexer), stop.clone());
        async move { indexer.run(stop).await }
    });
    for id in 0..5 {
        seal(&journal, id % 2, &[attribution(id as usize, 2)]).await;
        let wanted = journal.heads();
        tokio::time::timeout(std::time::Duration::from_secs(20), async {
            while indexer.indexed().await.unwrap() != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(indexer.trouble(), None);
    compare(&journal, &lake, &journal.heads()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_names_table_partition_batch_and_file_of_foreign_rows() {
    let store = memory();
    let journal = journal(&store, 1).await;
    let batch = seal(&journal, 0, &[attribution(1, 3)]).await;
    seal(&journal, 0, &[attribution(2, 3)]).await;
    let lake = Lake::open(store);
    indexer(&journal, &lake, Settings::default()).index_available().await.unwrap();
    let (table, rows) = crate::rows_of(&batch).unwrap().remove(1);
    lake.append(table, vec![rows.slice(0, 1)], &[]).await.unwrap();
    let Err(Failure::Differs(found)) = compare(&journal, &lake, &journal.heads()).await else { panic!("no difference") };
    assert_eq!((found.table, found.partition.get(), found.seq.get()), (Table::Attributions, 0, 0));
    assert_eq!((found.expected.rows, found.found.rows), (3, 4));
    assert!(found.to_string().contains("the journal gives 3 rows, the table has 4"), "{found}");
    // Beyond the cut nothing is compared.
    compare(&journal, &lake, &Cut::empty()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_finds_a_row_that_is_missing() {
    let store = memory();
    let journal = journal(&store, 1).await;
    seal(&journal, 0, &[attribution(1, 3)]).await;
    let lake = Lake::open(store);
    indexer(&journal, &lake, Settings::default()).index_available().await.unwrap();
    seal(&journal, 0, &[attribution(2, 3)]).await;
    let cut: Cut = [(Partition::new(0).unwrap(), Seq::new(1).unwrap())].into_iter().collect();
    let Err(Failure::Differs(found)) = compare(&journal, &lake, &cut).await else { panic!("no difference") };
    assert_eq!((found.seq.get(), found.found.rows), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fingerprint_depends_on_the_rows_alone() {
    let store = memory();
    let journal = journal(&store, 1).await;
    let mut sum = crate::check::Fingerprint::default();
    for id in 0..5 {
        let batch = seal(&journal, 0, &[attribution(id, 3)]).await;
        for (table, rows) in crate::rows_of(&batch).unwrap() {
            if table == Table::Attributions {
                sum.merge(fingerprint(table, &rows).unwrap());
            }
        }
    }
    for batches in [1, 2, 5] {
        let lake = Lake::open(memory());
        let settings = Settings { round_batches_max: batches, ..Settings::default() };
        indexer(&journal, &lake, settings).index_available().await.unwrap();
        assert_eq!(table_fingerprint(&lake, Table::Attributions).await.unwrap(), sum);
    }
}
