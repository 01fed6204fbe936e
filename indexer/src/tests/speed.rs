//! Measures; run with `cargo test --release -p tributary-indexer -- --ignored --nocapture speed`.

use std::sync::Arc;
use std::time::Instant;

use object_store::ObjectStore;
use tributary_journal::storage::LocalStore;
use tributary_schemas::tables::Table;

use super::support::{flywheel, indexer, journal, seal, seal_all};
use crate::check::compare;
use crate::{Lake, Settings};

fn local() -> (tempfile::TempDir, Arc<dyn ObjectStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    (folder, store)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn speed_of_indexing_the_flywheel() {
    let (_folder, store) = local();
    let journal = journal(&store, 4).await;
    let events = flywheel(usize::MAX);
    let batches = seal_all(&journal, &events, 880_000).await;
    for round in 0..3 {
        let (_folder, store) = local();
        let lake = Lake::open(store);
        let began = Instant::now();
        indexer(&journal, &lake, Settings::default()).index_available().await.unwrap();
        let seconds = began.elapsed().as_secs_f64();
        let mut bytes = 0;
        let mut rows = 0;
        for table in Table::EVENT_TABLES {
            let snapshot = lake.snapshot(*table).await.unwrap();
            bytes += snapshot.files.iter().map(|f| f.size).sum::<u64>();
            rows += snapshot.rows();
        }
        println!(
            "run {round}: {} events in {batches} batches, {rows} rows, {bytes} bytes: {:.0} events/s, {:.0} rows/s",
            events.len(),
            events.len() as f64 / seconds,
            rows as f64 / seconds
        );
        let began = Instant::now();
        compare(&journal, &lake, &journal.heads()).await.unwrap();
        println!("compared in {:.3} s", began.elapsed().as_secs_f64());
        let began = Instant::now();
        for table in Table::EVENT_TABLES {
            assert!(lake.check_digests(*table).await.unwrap().is_empty());
        }
        println!("digests checked in {:.3} s", began.elapsed().as_secs_f64());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn speed_of_small_rounds() {
    let (_folder, store) = local();
    let journal = journal(&store, 4).await;
    let lake = Lake::open(Arc::clone(&store));
    let indexer = indexer(&journal, &lake, Settings::default());
    indexer.index_available().await.unwrap();
    let events = flywheel(20_000);
    let mut took = Vec::new();
    for (number, some) in events.chunks(200).enumerate() {
        seal(&journal, u32::try_from(number % 4).unwrap(), some).await;
        let began = Instant::now();
        indexer.index_available().await.unwrap();
        took.push(began.elapsed().as_micros());
    }
    took.sort_unstable();
    println!("rounds of 200 events: median {} us, p99 {} us", took[took.len() / 2], took[took.len() * 99 / 100]);
}
