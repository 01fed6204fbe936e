//! What verify finds.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use tributary_schemas::tables::Table;

use super::stack::{Stack, epoch};
use super::world::edge;
use crate::{EventQuery, SettlementError, Silent, VerifyRequest, verify};

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
async fn found_after_flip(stack: &Stack, path: &Path, byte: usize) -> SettlementError {
    let good = stack.store.get(path).await.unwrap().bytes().await.unwrap();
    let mut bad = good.to_vec();
    let at = byte % bad.len();
    bad[at] ^= 0x10;
    stack.store.put(path, bad.into()).await.unwrap();
    let clock: std::sync::Arc<dyn tributary_schemas::ids::Clock> = std::sync::Arc::new(super::world::noon());
    // A damaged head or genesis is found already when the journal is opened.
    let opened = tributary_journal::Journal::open(stack.store.clone(), None, clock).await;
    let found = match opened {
        Ok(_) => Stack::open(stack.store.clone(), None).await.verify().await.expect_err(&format!("flipped byte {at} of {path}")),
        Err(error) => error.into(),
    };
    stack.store.put(path, good.into()).await.unwrap();
    found
}

fn names(error: &SettlementError, path: &Path) -> bool {
    matches!(error, SettlementError::Difference(difference) if difference.to_string().contains(path.filename().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_batch_a_lake_file_or_a_record_is_found_and_named() {
    let stack = settled(9).await;
    let mut looked_at = 0;
    for (prefix, step) in [("journal", 1), ("settlement", 1), ("da", 2), ("lake", 6)] {
        for (i, path) in objects(&stack, prefix).await.into_iter().enumerate().step_by(step) {
            let found = found_after_flip(&stack, &path, 31 + 97 * i).await;
            assert!(matches!(found, SettlementError::Difference(_)), "{path}: {found}");
            // A sidecar of digests is named by the object that it no longer fits, a payload also by its certificate.
            let by_another = path.as_ref().contains("_digests") || prefix == "da";
            assert!(names(&found, &path) || by_another, "{path}: {found}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "{looked_at}");
    stack.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_slipped_into_a_table_of_settlement_by_a_proper_commit_is_found() {
    let closed = {
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
        let mut rows = crate::tables::LineRows::new(epoch(2));
        rows.add(&due, &[line]).unwrap();
        let record = crate::EpochRecord {
            number: epoch(2),
            cut: Default::default(),
            treasury: account,
            rules_version: 1,
            closed_at: tributary_schemas::ids::Timestamp::from_micros(0).unwrap(),
            previous_hash: Default::default(),
            previous_root: Default::default(),
        };
        (tally.close(&record).unwrap(), rows.finish().unwrap())
    };
    let (closed, (lines, settled_rows)) = closed;
    let cases = [
        (Table::Rewards, crate::tables::rewards(epoch(2), &closed).unwrap()),
        (Table::Cumulative, crate::tables::cumulative(epoch(2), &closed).unwrap()),
        (Table::RewardLines, lines),
        (Table::Settled, settled_rows),
    ];
    for (table, rows) in cases {
        let stack = settled(2).await;
        stack.lake.append(table, rows, &[]).await.unwrap();
        let found = stack.verify().await.unwrap_err();
        let SettlementError::Difference(difference) = &found else { panic!("{table:?}: {found}") };
        assert!(difference.object.starts_with(&format!("table {}", table.name())), "{difference}");
        assert!(difference.object.contains("epoch 2"), "{difference}");
    }
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
    let request = VerifyRequest { epoch: None, event: Some(query.clone()) };
    let report = verify(&sources, &request, &Silent).await.unwrap().event.unwrap();
    assert_eq!(report.key, event.draft.key());
    assert!(report.blob_id.is_some());
    assert!(report.epoch.is_some());
    let absent = EventQuery { id: "nobody-sent-this".to_owned(), ..query };
    let request = VerifyRequest { epoch: None, event: Some(absent) };
    let refused = verify(&sources, &request, &Silent).await.unwrap_err();
    assert!(matches!(refused, SettlementError::Refused(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_epoch_alone_is_checked_and_one_not_closed_is_refused() {
    let stack = settled(3).await;
    let request = |n| VerifyRequest { epoch: Some(epoch(n)), event: None };
    let report = verify(&stack.sources(), &request(2), &Silent).await.unwrap();
    assert_eq!(report.epochs.iter().map(|row| row.epoch).collect::<Vec<_>>(), [2]);
    let error = verify(&stack.sources(), &request(4), &Silent).await.unwrap_err();
    assert!(matches!(error, SettlementError::NoSuchEpoch { .. }), "{error}");
}
