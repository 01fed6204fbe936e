//! Jobs at once, again, with nothing to do, and with something missing.

use std::time::Duration;

use super::stack::{Stack, epoch};
use super::world::edge;
use crate::{Settings, SettleRequest, SettlementError};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_jobs_at_once_one_closes_the_epoch_and_both_agree() {
    for seed in 0..6 {
        let world = edge(1 + seed % 3);
        let stack = Stack::new(4).await;
        stack.take(&world.epochs[0]).await;
        let second = Stack::open(stack.store.clone(), None).await;
        let (first, third) = (stack.settlement(), second.settlement());
        let (a, b) = tokio::join!(first.settle(SettleRequest::default()), third.settle(SettleRequest::default()));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a.closed ^ b.closed, "{a:?} {b:?}");
        assert_eq!((&a.epoch, &a.manifest), (&b.epoch, &b.manifest));
        assert!(a.manifest.is_some_and(|certificate| certificate.starts_with("0x")));
        assert_eq!(stack.outcome(epoch(1)).await, world.expected(1));
        stack.verify().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_sealed_nothing_closes() {
    let stack = Stack::new(2).await;
    stack.indexer.index_available().await.unwrap();
    let outcome = stack.settle().await.unwrap();
    assert_eq!((outcome.closed, outcome.epoch.epoch, outcome.epoch.status, outcome.manifest), (false, 0, None, None));
    assert_eq!(stack.verify().await.unwrap().epochs, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_epoch_is_recomputed_at_any_later_time_and_an_epoch_too_far_is_refused() {
    let world = edge(2);
    let stack = Stack::new(4).await;
    let mut rows = Vec::new();
    for events in &world.epochs {
        stack.take(events).await;
        rows.push(stack.settle().await.unwrap().epoch);
    }
    for (n, row) in (1..).zip(&rows) {
        let request = SettleRequest { epoch: Some(epoch(n)), dry_run: false };
        let again = stack.settlement().settle(request).await.unwrap();
        assert_eq!((again.closed, &again.epoch), (false, row));
        assert!(again.manifest.is_some());
    }
    let request = SettleRequest { epoch: Some(epoch(5)), dry_run: false };
    let error = stack.settlement().settle(request).await.unwrap_err();
    assert_eq!(error.to_string(), "epoch 5 cannot be settled: the latest closed epoch is 3, the next is 4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_computes_the_next_epoch_and_writes_nothing() {
    let world = edge(4);
    let stack = Stack::new(4).await;
    stack.take(&world.epochs[0]).await;
    let request = SettleRequest { epoch: None, dry_run: true };
    let dry = stack.settlement().settle(request).await.unwrap();
    assert_eq!((dry.closed, dry.epoch.epoch, dry.epoch.status, dry.manifest), (false, 1, None, None));
    assert_eq!(format!("{:#x}", dry.epoch.root), world.expected(1).root);
    assert_eq!(stack.count("epochs").await + stack.count("reward_lines").await, 0);
    let closed = stack.settle().await.unwrap().epoch;
    let later = dry.epoch.difference(&closed).map(|(column, ..)| column);
    assert_eq!(later, Some("closed_at"));
    assert_eq!(closed.root, dry.epoch.root);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_but_not_certified_or_not_indexed_is_waited_for_and_then_nothing_closes() {
    let world = edge(5);
    let stack = Stack::new(2).await;
    stack.seal(&world.epochs[0]).await;
    let impatient = Settings { wait_max: Duration::from_millis(50), ..Stack::settings() };
    let job = stack.settlement_with(impatient);
    let late = job.settle(SettleRequest::default()).await.unwrap_err();
    assert!(matches!(late, SettlementError::Late { stage: "certified", .. }), "{late}");
    stack.publisher.publish_available().await.unwrap();
    let late = job.settle(SettleRequest::default()).await.unwrap_err();
    assert!(matches!(late, SettlementError::Late { stage: "indexed", .. }), "{late}");
    stack.indexer.index_available().await.unwrap();
    assert!(job.settle(SettleRequest::default()).await.unwrap().closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_above_the_ceiling_closes_nothing_and_is_named_and_a_raised_ceiling_goes_on() {
    let world = edge(6);
    let stack = Stack::new(2).await;
    stack.take(&world.epochs[0]).await;
    let strict = Settings { max_fee: Some(0), ..Stack::settings() };
    let error = stack.settlement_with(strict).settle(SettleRequest::default()).await.unwrap_err();
    assert!(matches!(&error, SettlementError::Ceiling { inferences, .. } if !inferences.is_empty()), "{error}");
    let strict = Settings { max_epoch_total: Some(1), ..Stack::settings() };
    let error = stack.settlement_with(strict).settle(SettleRequest::default()).await.unwrap_err();
    assert!(matches!(&error, SettlementError::Ceiling { inferences, .. } if !inferences.is_empty()), "{error}");
    assert_eq!(stack.count("epochs").await, 0);
    assert!(stack.settle().await.unwrap().closed);
    assert_eq!(stack.outcome(epoch(1)).await, world.expected(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_waits_for_nothing_and_leaves_out_what_is_sealed_but_not_available() {
    let world = edge(4);
    let stack = Stack::new(4).await;
    let request = SettleRequest { epoch: None, dry_run: true };
    stack.seal(&world.epochs[0]).await;
    let before = stack.settlement().settle(request).await.unwrap();
    assert_eq!((before.closed, before.epoch.epoch), (false, 0));
    stack.publisher.publish_available().await.unwrap();
    let published = stack.settlement().settle(request).await.unwrap();
    assert_eq!((published.closed, published.epoch.epoch), (false, 0));
    stack.indexer.index_available().await.unwrap();
    let indexed = stack.settlement().settle(request).await.unwrap();
    assert_eq!(format!("{:#x}", indexed.epoch.root), world.expected(1).root);
}
