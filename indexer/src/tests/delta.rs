//! The tables as another implementation of Delta Lake sees them.

use std::collections::BTreeSet;
use std::sync::Arc;

use deltalake_core::DeltaTable;
use deltalake_core::logstore::{StorageConfig, default_logstore};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use tributary_schemas::tables::Table;
use url::Url;

use super::support::{ManualClock, flywheel, indexer, journal, lake_with, seal_all};
use crate::{LakeSettings, Settings};

async fn opened(store: &Arc<dyn ObjectStore>, table: Table) -> DeltaTable {
    let root = format!("lake/{}", table.name());
    let url = Url::parse(&format!("memory:///{root}/")).unwrap();
    let prefixed = Arc::new(PrefixStore::new(Arc::clone(store), root));
    let mut table = DeltaTable::new(default_logstore(prefixed, Arc::clone(store), &url, &StorageConfig::default()));
    table.load().await.unwrap();
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_rs_sees_the_same_version_schema_files_and_transactions() {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    let settings = LakeSettings { checkpoint_commits: 4, compact_files_min: 3, ..LakeSettings::default() };
    let lake = lake_with(&store, settings, &ManualClock::new());
    let journal = journal(&store, 2).await;
    seal_all(&journal, &flywheel(4_000), 200_000).await;
    let rounds = Settings { round_batches_max: 2, ..Settings::default() };
    indexer(&journal, &lake, rounds).index_available().await.unwrap();
    for table in Table::EVENT_TABLES {
        lake.keep_up(*table).await.unwrap();
        let (ours, theirs) = (lake.snapshot(*table).await.unwrap(), opened(&store, *table).await);
        assert_eq!(theirs.version().map(|v| i64::try_from(v).unwrap()), Some(ours.version));
        let state = theirs.snapshot().unwrap();
        let (schema, expected) = (state.snapshot().arrow_schema(), table.schema());
        for (theirs, ours) in schema.fields().iter().zip(expected.fields()) {
            assert_eq!(
                (theirs.name(), theirs.data_type(), theirs.is_nullable()),
                (ours.name(), ours.data_type(), ours.is_nullable())
            );
        }
        let files: BTreeSet<String> =
            state.log_data().iter().map(|file| format!("lake/{}/{}", table.name(), file.path())).collect();
        assert_eq!(files, ours.files.iter().map(|file| file.path.to_string()).collect());
        let rows: usize = state.log_data().iter().map(|file| file.num_records().unwrap()).sum();
        assert_eq!(rows as u64, ours.rows());
        for (app, version) in &ours.txns {
            let seen = state.snapshot().transaction_version(theirs.log_store().as_ref(), app).await.unwrap();
            assert_eq!(seen, Some(*version));
        }
    }
}

/// For a look with other programs: `LAKE_DIR=… cargo test --release -p tributary-indexer -- --ignored write_a_lake`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it leaves a lake behind"]
async fn write_a_lake_for_other_programs() {
    let folder = std::env::var("LAKE_DIR").unwrap();
    let store = tributary_journal::storage::LocalStore::open(std::path::Path::new(&folder)).unwrap();
    let settings = LakeSettings { checkpoint_commits: 4, compact_files_min: 3, ..LakeSettings::default() };
    let lake = lake_with(&store, settings, &ManualClock::new());
    let journal = journal(&store, 4).await;
    seal_all(&journal, &flywheel(usize::MAX), 300_000).await;
    let rounds = Settings { round_batches_max: 8, ..Settings::default() };
    indexer(&journal, &lake, rounds).index_available().await.unwrap();
    for table in Table::EVENT_TABLES {
        lake.keep_up(*table).await.unwrap();
        println!("{} {}", table.name(), lake.snapshot(*table).await.unwrap().rows());
    }
}
