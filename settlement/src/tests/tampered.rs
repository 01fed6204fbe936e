//! What verify finds.

use std::collections::BTreeSet;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tributary_schemas::ids::Timestamp;
use tributary_schemas::protobuf;
use tributary_schemas::tables::Table;
use tributary_schemas::units::keccak256;

use super::stack::{Stack, epoch};
use super::world::edge;
use crate::{Difference, EventQuery, Invariant, SettlementError, Silent, VerifyRequest, verify};

async fn settled(number: u32) -> Stack {
    let stack = Stack::new(3).await;
    for events in &edge(number).epochs {
        stack.take(events).await;
        stack.settle().await.unwrap();
    }
    stack.verify().await.unwrap();
    stack
}

async fn objects(stack: &Stack, prefix: &str) -> Vec<Path> {
    use futures::TryStreamExt;
    let listed = stack.store.list(Some(&Path::from(prefix)));
    let mut paths: Vec<Path> = listed.map_ok(|object| object.location).try_collect().await.unwrap();
    paths.sort();
    paths
}

/// Flips one bit, lets a fresh process verify, and puts the object back. Gives the difference that was found.
async fn found_after_flip(stack: &Stack, path: &Path, good: &Bytes, at: usize) -> SettlementError {
    let mut bad = good.to_vec();
    bad[at] ^= 0x10;
    stack.store.put(path, bad.into()).await.unwrap();
    let found = found_by_a_fresh_process(stack).await;
    stack.store.put(path, good.clone().into()).await.unwrap();
    found.unwrap_or_else(|| panic!("flipped byte {at} of {path}"))
}

/// What verify finds that knows nothing but the store.
async fn found_by_a_fresh_process(stack: &Stack) -> Option<SettlementError> {
    let clock: std::sync::Arc<dyn tributary_schemas::ids::Clock> = std::sync::Arc::new(super::world::noon());
    // A damaged head or genesis is found already when the journal is opened.
    let opened = tributary_journal::Journal::open(stack.store.clone(), None, clock).await;
    match opened {
        Ok(_) => Stack::open(stack.store.clone(), None).await.verify().await.err(),
        Err(error) => Some(error.into()),
    }
}

/// What verify finds in what the test did to the store.
async fn difference(stack: &Stack) -> Difference {
    match found_by_a_fresh_process(stack).await {
        Some(SettlementError::Difference(difference)) => difference,
        other => panic!("{other:?}"),
    }
}

fn is_of(difference: &Difference, invariant: Invariant) -> bool {
    difference.what.starts_with(&format!("{invariant}: "))
}

/// First, middle and last byte, and some at chance.
fn places(bytes: usize, chance: &mut StdRng) -> BTreeSet<usize> {
    let some: Vec<usize> = (0..2).map(|_| chance.random_range(0..bytes)).collect();
    [0, bytes / 2, bytes - 1].into_iter().chain(some).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_batch_a_blob_a_lake_file_or_a_record_is_found_and_its_object_named() {
    let stack = settled(9).await;
    let mut chance = StdRng::seed_from_u64(9);
    let mut looked_at = 0;
    for (prefix, step) in [("journal", 1), ("settlement", 1), ("da", 1), ("lake", 5)] {
        for path in objects(&stack, prefix).await.into_iter().step_by(step) {
            let good = stack.store.get(&path).await.unwrap().bytes().await.unwrap();
            for at in places(good.len(), &mut chance) {
                let found = found_after_flip(&stack, &path, &good, at).await;
                let SettlementError::Difference(difference) = &found else { panic!("{path}, byte {at}: {found}") };
                assert!(difference.object.contains(path.as_ref()), "{path}, byte {at}: {found}");
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 40, "{looked_at}");
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_records_of_epochs_are_found_by_the_rows_that_nothing_closed() {
    let stack = settled(4).await;
    for number in (1..=3).rev() {
        stack.store.delete(&crate::records::path(epoch(number))).await.unwrap();
        let found = difference(&stack).await;
        assert_eq!(found.object, "table epochs", "{found}");
        let missing = crate::records::path(epoch(number));
        let what = format!("S3: it was written for epoch 3, but no record closed that epoch: {missing} is missing");
        assert_eq!(found.what, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_newest_batch_that_is_in_no_blob_is_found_by_the_rows_of_it() {
    let stack = settled(6).await;
    stack.seal(&edge(7).epochs[0]).await;
    stack.indexer.index_available().await.unwrap();
    stack.verify().await.unwrap();
    let (partition, last) = stack.journal.heads().iter().last().unwrap();
    let path = tributary_journal::store::batch_path(partition, last);
    stack.store.delete(&path).await.unwrap();
    let found = difference(&stack).await;
    assert_eq!(found.object, path.to_string());
    assert!(is_of(&found, Invariant::J1), "{found}");
    assert!(found.what.contains("the batch is missing"), "{found}");
}

/// A well-formed journal in which one event lies twice, as only a faulty sealer writes it.
async fn doubled(beside: bool) -> (Stack, String) {
    let stack = Stack::new(1).await;
    let events = &edge(1).epochs[0];
    stack.take(events).await;
    let (partition, seq) = stack.journal.heads().iter().last().unwrap();
    let sealed_at = stack.journal.head(partition).unwrap().sealed_at;
    // Of the last batch, so that the end of the window can be met to the microsecond.
    let event = events.last().unwrap();
    let batch = if beside { vec![event, event] } else { vec![event] };
    let window = i64::try_from(stack.journal.settings().seen_window.as_micros()).unwrap();
    let later = sealed_at.micros() + window + i64::from(beside);
    stack.seal_batch(partition, &batch, Timestamp::from_micros(later).unwrap()).await;
    stack.publisher.publish_available().await.unwrap();
    stack.indexer.index_available().await.unwrap();
    (stack, tributary_journal::store::batch_path(partition, seq.next()).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sealed_twice_within_the_window_is_found_with_its_batch_and_id() {
    for beside in [false, true] {
        let (stack, path) = doubled(beside).await;
        let found = difference(&stack).await;
        assert_eq!(found.object, path);
        assert!(is_of(&found, Invariant::J4), "{found}");
        assert!(found.what.contains(&format!("event {} (id ", usize::from(beside))), "{found}");
        assert!(found.what.contains(&edge(1).epochs[0].last().unwrap().draft.id), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_slipped_into_a_table_of_settlement_by_a_proper_commit_is_found() {
    // An epoch that a record closed, and one that none did.
    for (number, named) in [(2, "epoch 2"), (4, "")] {
        for (table, rows) in slipped_in(number) {
            let stack = settled(2).await;
            stack.lake.append(table, rows, &[]).await.unwrap();
            let found = difference(&stack).await;
            assert!(found.object.starts_with(&format!("table {}", table.name())), "{found}");
            assert!(found.object.contains(named), "{found}");
            assert!([Invariant::S1, Invariant::S2, Invariant::S3].iter().any(|id| is_of(&found, *id)), "{found}");
        }
    }
}

/// One row more for each table that an epoch's inferences add up to.
fn slipped_in(number: u64) -> [(Table, Vec<RecordBatch>); 4] {
    let epoch = epoch(number);
    let mut tally = crate::ledger::Tally::new(Default::default(), Default::default());
    let account = super::world::treasury();
    let due = crate::allocate::Due {
        inference_id: "zzz-slipped-in",
        model_id: "m",
        node: account,
        fee: tributary_schemas::units::Wei::new(5).unwrap(),
        entries: None,
    };
    let role = crate::allocate::Role::Node;
    let line = crate::allocate::Line { role, account, amount: 5, contribution_id: None, model_id: None };
    tally.add(&due, &[line]).unwrap();
    let mut rows = crate::tables::LineRows::new(epoch);
    rows.add(&due, &[line]).unwrap();
    let record = crate::EpochRecord {
        number: epoch,
        cut: Default::default(),
        treasury: account,
        rules_version: 1,
        closed_at: Timestamp::from_micros(0).unwrap(),
        previous_hash: Default::default(),
        previous_root: Default::default(),
    };
    let closed = tally.close(&record).unwrap();
    let (lines, settled) = rows.finish().unwrap();
    [
        (Table::Rewards, crate::tables::rewards(epoch, &closed).unwrap()),
        (Table::Cumulative, crate::tables::cumulative(epoch, &closed).unwrap()),
        (Table::RewardLines, lines),
        (Table::Settled, settled),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_proved_from_its_bytes_to_the_blob_and_an_ambiguous_one_asks_for_more() {
    let stack = settled(1).await;
    let sources = stack.sources();
    let event = &edge(1).epochs[1][3];
    let query = EventQuery {
        source: event.draft.source.clone(),
        id: event.draft.id.clone(),
        event_type: Some(event.draft.event_type()),
        key: Some(event.draft.key().to_owned()),
    };
    let request = VerifyRequest { event: Some(query.clone()), ..VerifyRequest::default() };
    let report = verify(&sources, &request, &Silent).await.unwrap().event.unwrap();
    assert_eq!(report.key, event.draft.key());
    assert!(report.epoch.is_some());
    let proof = report.proof.unwrap();
    let blob_id = keccak256(&proof.proof.blob.certificate.0);
    assert_eq!(report.blob_id, Some(format!("{blob_id:#x}")));
    let proved = proof.verify(&blob_id).unwrap();
    assert_eq!((proved.header.seq.get(), proved.ordinal), (report.seq, report.ordinal));
    assert_eq!(protobuf::decode(&proof.raw.0).unwrap().draft, event.draft);
    let absent = EventQuery { id: "nobody-sent-this".to_owned(), ..query };
    let request = VerifyRequest { event: Some(absent), ..VerifyRequest::default() };
    let refused = verify(&sources, &request, &Silent).await.unwrap_err();
    assert!(matches!(refused, SettlementError::Refused(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_epoch_alone_is_checked_and_one_not_closed_is_refused() {
    let stack = settled(3).await;
    let request = |n| VerifyRequest { epoch: Some(epoch(n)), ..VerifyRequest::default() };
    let report = verify(&stack.sources(), &request(2), &Silent).await.unwrap();
    assert_eq!(report.epochs.iter().map(|row| row.epoch).collect::<Vec<_>>(), [2]);
    let error = verify(&stack.sources(), &request(4), &Silent).await.unwrap_err();
    assert!(matches!(error, SettlementError::NoSuchEpoch { .. }), "{error}");
}
