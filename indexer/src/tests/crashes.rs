//! A store that fails at its k-th operation, for every k: after reopening, no row is lost and none is there twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tributary_journal::Journal;
use tributary_schemas::tables::Table;

use super::support::{Fault, Faulty, ManualClock, attribution, indexer, journal, lake_with, seal};
use crate::check::compare;
use crate::{Lake, LakeSettings, Settings};

/// Two partitions with three batches each, so that several rounds and files arise.
async fn sealed(store: &Arc<dyn ObjectStore>) -> Arc<Journal> {
    let journal = journal(store, 2).await;
    for batch in 0..3 {
        for partition in 0..2 {
            let events: Vec<_> = (0..3).map(|i| attribution(batch * 100 + partition as usize * 10 + i, 4)).collect();
            seal(&journal, partition, &events).await;
        }
    }
    journal
}

fn small_rounds() -> Settings {
    Settings { round_batches_max: 2, ..Settings::default() }
}

/// Indexes through a store that fails, then through the sound one, and compares.
async fn survives(fault: Fault, at: u64) -> bool {
    let inner = Arc::new(InMemory::new());
    let sound = Arc::clone(&inner) as Arc<dyn ObjectStore>;
    let journal = sealed(&sound).await;
    let faulty = Faulty::new(inner, at, fault);
    let lake = Lake::open(Arc::clone(&faulty) as Arc<dyn ObjectStore>);
    let first = indexer(&journal, &lake, small_rounds()).index_available().await;
    let reached = faulty.operations.load(Ordering::SeqCst) > at;
    if matches!(fault, Fault::LostAnswer | Fault::Refused) && first.is_err() {
        // The process lives on and tries again.
        indexer(&journal, &lake, small_rounds()).index_available().await.unwrap();
    }
    let lake = Lake::open(sound);
    indexer(&journal, &lake, small_rounds()).index_available().await.unwrap();
    let report = compare(&journal, &lake, &journal.heads()).await.unwrap_or_else(|e| panic!("{fault:?} at {at}: {e}"));
    assert_eq!(report.rows, 18 + 18 * 4, "{fault:?} at {at}");
    for table in Table::EVENT_TABLES {
        assert_eq!(lake.check_digests(*table).await.unwrap(), [], "{fault:?} at {at}");
    }
    reached
}

async fn survives_everywhere(fault: Fault) {
    let mut at = 0;
    while survives(fault, at).await {
        // Creating the tables is many operations that are all alike.
        at += if at < 60 { 7 } else { 1 };
    }
    assert!(at > 60, "the faults reached into the rounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_any_operation_neither_loses_nor_repeats_a_row() {
    survives_everywhere(Fault::CrashBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_operation_neither_loses_nor_repeats_a_row() {
    survives_everywhere(Fault::CrashAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_neither_loses_nor_repeats_a_row() {
    survives_everywhere(Fault::LostAnswer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_operation_neither_loses_nor_repeats_a_row() {
    survives_everywhere(Fault::Refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_during_upkeep_changes_no_row() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for at in 0.. {
            let inner = Arc::new(InMemory::new());
            let sound = Arc::clone(&inner) as Arc<dyn ObjectStore>;
            let journal = sealed(&sound).await;
            indexer(&journal, &Lake::open(Arc::clone(&sound)), small_rounds()).index_available().await.unwrap();
            let settings = LakeSettings { checkpoint_commits: 2, compact_files_min: 2, ..LakeSettings::default() };
            let clock = ManualClock::new();
            clock.advance_seconds(100_000);
            let faulty = Faulty::new(inner, at, fault);
            let lake = lake_with(&(Arc::clone(&faulty) as Arc<dyn ObjectStore>), settings.clone(), &clock);
            let ended = lake.keep_up(Table::Attributions).await;
            let lake = lake_with(&sound, settings, &clock);
            compare(&journal, &lake, &journal.heads()).await.unwrap_or_else(|e| panic!("{fault:?} at {at}: {e}"));
            assert_eq!(lake.check_digests(Table::Attributions).await.unwrap(), [], "{fault:?} at {at}");
            lake.keep_up(Table::Attributions).await.unwrap();
            compare(&journal, &lake, &journal.heads()).await.unwrap();
            if ended.is_ok() && faulty.operations.load(Ordering::SeqCst) <= at {
                assert!(at > 10);
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_never_committed_is_swept_and_only_when_it_is_old() {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    let journal = sealed(&store).await;
    let clock = ManualClock::new();
    let lake = lake_with(&store, LakeSettings::default(), &clock);
    indexer(&journal, &lake, small_rounds()).index_available().await.unwrap();
    let rows = crate::rows_of(
        &journal
            .read(tributary_schemas::ids::Partition::new(0).unwrap(), journal.heads().iter().next().unwrap().1)
            .await
            .unwrap(),
    );
    let (table, rows) = rows.unwrap().remove(1);
    let file = crate::data_file::encode(table, &[rows], &lake.settings).unwrap().unwrap();
    lake.upload(table, &[file]).await.unwrap();
    assert_eq!(lake.sweep_orphans_now(table).await.unwrap(), 0);
    clock.advance_seconds(90_000);
    assert_eq!(lake.sweep_orphans_now(table).await.unwrap(), 1);
    compare(&journal, &lake, &journal.heads()).await.unwrap();
}
