//! A rebuild gives the same record.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use object_store::ObjectStoreExt;
use tributary_schemas::ids::PartitionCount;
use tributary_schemas::tables::Table;

use super::stack::{Stack, epoch, memory};
use super::world::{edge, noon};
use crate::{SettlementError, Silent, rebuild_from_journal};

/// All rows of a table or view, as sorted text.
pub async fn rows(stack: &Stack, table: &str) -> Vec<String> {
    let head = stack.engine.indexed().await.unwrap();
    let session = stack.engine.session_unlimited(&head).await.unwrap();
    let batches = session.collect(&format!("SELECT * FROM {table}")).await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    // Widths of columns differ with the order of batches: compare the cells.
    let mut rows: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| line.starts_with('|'))
        .collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_has_the_same_tables_roots_and_objects_and_can_be_begun_again() {
    let world = edge(10);
    let stack = Stack::open(memory(), PartitionCount::new(4)).await;
    for events in &world.epochs {
        stack.take(events).await;
        stack.settle().await.unwrap();
    }
    let target = memory();
    for _ in 0..2 {
        let report = rebuild_from_journal(stack.store.clone(), Arc::clone(&target), Arc::new(noon()), &Silent).await.unwrap();
        assert_eq!((report.epochs.len(), report.compared), (3, 3));
        assert!(report.batches > 4 && report.rows > 0);
    }
    let rebuilt = Stack::open(Arc::clone(&target), None).await;
    for n in 1..=3 {
        assert_eq!(rebuilt.outcome(epoch(n)).await, world.expected(usize::try_from(n).unwrap()));
        let path = crate::records::path(epoch(n));
        let [theirs, ours] =
            [&stack.store, &target].map(|store| async { store.get(&path).await.unwrap().bytes().await.unwrap() });
        assert_eq!(theirs.await, ours.await);
    }
    for table in Table::ALL {
        assert_eq!(rows(&rebuilt, table.name()).await, rows(&stack, table.name()).await, "{}", table.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_holds_something_else_is_refused() {
    let (source, other) = (Stack::new(2).await, Stack::new(2).await);
    let rebuild = |target| rebuild_from_journal(source.store.clone(), target, Arc::new(noon()), &Silent);
    let error = rebuild(other.store.clone()).await.unwrap_err();
    assert!(matches!(&error, SettlementError::Refused(what) if what.contains("deployment")), "{error}");
    let target = memory();
    target.put(&"notes.txt".into(), "mine".into()).await.unwrap();
    rebuild(Arc::clone(&target)).await.unwrap();
    let target = memory();
    target.put(&"lake/events/x.parquet".into(), "mine".into()).await.unwrap();
    let error = rebuild(target).await.unwrap_err();
    assert_eq!(error.to_string(), "the target is not empty, it holds lake/events/x.parquet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_lost_its_lake_is_rebuilt_all_the_same() {
    use futures::TryStreamExt;
    let world = edge(5);
    let stack = Stack::new(2).await;
    for events in &world.epochs {
        stack.take(events).await;
        stack.settle().await.unwrap();
    }
    let lake: Vec<_> = stack.store.list(Some(&"lake".into())).try_collect().await.unwrap();
    for object in lake {
        stack.store.delete(&object.location).await.unwrap();
    }
    let target = memory();
    let report = rebuild_from_journal(stack.store.clone(), Arc::clone(&target), Arc::new(noon()), &Silent).await.unwrap();
    assert_eq!((report.epochs.len(), report.compared), (3, 0));
    assert_eq!(Stack::open(target, None).await.outcome(epoch(3)).await, world.expected(3));
}
