//! Settling and the manifest: what keeps it back, who completes it, and what verify says meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use tokio::time::Instant;
use tributary_da::faulty::{Call, DaFault};
use tributary_da::manifest::{Closed, Closing, ManifestRecords, ManifestSettings, PageAt};
use tributary_da::{DaClient, FaultyDa, FromArchive, eigenda, names};
use tributary_schemas::cut::Cut;
use tributary_schemas::units::Hash;

use super::stack::{Stack, epoch};
use super::world::edge;
use crate::records::EpochRecords;
use crate::verify::Sample;
use crate::{EpochRecord, Metrics, Report, Settings, SettleRequest, Settlement, Silent, VerifyRequest, verify};

fn hasty() -> Settings {
    Settings { wait_max: Duration::from_millis(50), ..Stack::settings() }
}

/// A job whose backend does not work for so many dispersals.
fn behind_a_broken_backend(stack: &Stack, failures: u64) -> Settlement {
    let down = FaultyDa::new(Arc::clone(&stack.client), move |call| match call {
        Call::Disperse(number) if number < failures => DaFault::Down,
        _ => DaFault::None,
    });
    let manifests = stack.manifests_through(down as Arc<dyn DaClient>, ManifestSettings::default());
    // Whom the second attempt helps must have the time for it.
    let settings = if failures == u64::MAX { hasty() } else { Stack::settings() };
    Settlement::new(stack.stages(), manifests, settings)
}

fn paused(stack: &Stack) -> Settlement {
    let settings = ManifestSettings { paused: true, ..ManifestSettings::default() };
    Settlement::new(stack.stages(), stack.manifests(settings), hasty())
}

async fn whole(stack: &Stack) -> Option<u64> {
    let latest = ManifestRecords::new(Arc::clone(&stack.store)).latest_whole().await.unwrap();
    latest.map(|record| record.epoch.get())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_whose_manifest_is_kept_back_is_closed_and_the_next_job_completes_it_before_it_closes_another() {
    let world = edge(3);
    let stack = Stack::new(3).await;
    stack.take(&world.epochs[0]).await;
    for job in [behind_a_broken_backend(&stack, u64::MAX), paused(&stack)] {
        let pending = job.settle(SettleRequest::default()).await.unwrap_err();
        assert_eq!(pending.code(), "settlement_manifest_pending");
        let said = pending.to_string();
        assert!(said.starts_with("epoch 1 is closed") && said.contains("run settle again"), "{said}");
        // The epoch is closed, its tables are there, and the check is content.
        assert_eq!(stack.outcome(epoch(1)).await, world.expected(1));
        assert_eq!((stack.verify().await.unwrap().manifests, whole(&stack).await), (0, None));
    }
    stack.take(&world.epochs[1]).await;
    // As long as the first manifest is missing no other epoch closes.
    let pending = paused(&stack).settle(SettleRequest::default()).await.unwrap_err();
    assert!(pending.to_string().starts_with("epoch 1 is closed") && pending.to_string().contains("`da.paused`"), "{pending}");
    let outcome = behind_a_broken_backend(&stack, 1).settle(SettleRequest::default()).await.unwrap();
    assert_eq!((outcome.closed, outcome.epoch.epoch, whole(&stack).await), (true, 2, Some(2)));
    let record = ManifestRecords::new(Arc::clone(&stack.store)).last_page(epoch(2)).await.unwrap().unwrap();
    assert_eq!(outcome.manifest, Some(format!("0x{:x}", record.certificate.bytes)));
    assert_eq!(stack.verify().await.unwrap().manifests, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_nothing_to_close_and_one_that_recomputes_complete_manifests_too() {
    let world = edge(3);
    for request in [SettleRequest::default(), SettleRequest { epoch: Some(epoch(1)), dry_run: false }] {
        let stack = Stack::new(2).await;
        for events in &world.epochs[..2] {
            stack.take(events).await;
            // Closed by a version that published none.
            Settlement::of_tables(stack.stages(), hasty()).settle(SettleRequest::default()).await.unwrap();
        }
        let dry = SettleRequest { dry_run: true, ..request };
        assert_eq!(stack.settlement().settle(dry).await.unwrap().manifest, None);
        assert_eq!(whole(&stack).await, None, "a dry run publishes nothing");
        let outcome = stack.settlement().settle(request).await.unwrap();
        assert!(!outcome.closed && outcome.manifest.is_some());
        assert_eq!((whole(&stack).await, stack.verify().await.unwrap().manifests), (Some(2), 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_published_and_not_recorded_is_none_too_much_while_its_epoch_waits_for_it() {
    let world = edge(4);
    let stack = Stack::new(2).await;
    stack.take(&world.epochs[0]).await;
    // The payload is archived; the backend does not certify it.
    behind_a_broken_backend(&stack, u64::MAX).settle(SettleRequest::default()).await.unwrap_err();
    stack.verify().await.unwrap();
    stack.settle().await.unwrap();
    // But a page that no epoch waits for is.
    let page = ManifestRecords::new(Arc::clone(&stack.store)).page(PageAt::first(epoch(1))).await.unwrap().unwrap();
    stack.store.delete(&names::manifest(epoch(1), 0)).await.unwrap();
    stack.verify().await.unwrap();
    stack.store.delete(&crate::records::path(epoch(1))).await.unwrap();
    let found = stack.verify().await.unwrap_err().to_string();
    assert!(found.starts_with(&format!("{}: D2", names::payload(&page.certificate.commitment))), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_manifest_is_a_difference_only_before_a_later_one_and_one_without_an_epoch_always() {
    let world = edge(6);
    let stack = Stack::new(2).await;
    for events in &world.epochs {
        stack.take(events).await;
        stack.settle().await.unwrap();
    }
    let records = ManifestRecords::new(Arc::clone(&stack.store));
    let payload = |number: u64| {
        let records = records.clone();
        async move { names::payload(&records.last_page(epoch(number)).await.unwrap().unwrap().certificate.commitment) }
    };
    let (second, third) = (payload(2).await, payload(3).await);
    let name = |number: u64| names::manifest(epoch(number), 0);
    stack.store.delete(&name(2)).await.unwrap();
    let found = stack.verify().await.unwrap_err().to_string();
    let expected = format!("{}: D3: it is missing, though {} is recorded: restore it", name(2), name(3));
    assert!(found.starts_with(&expected), "{found}");

    // Beside a job the payload of the next page may lie there already, but no page further on.
    stack.store.delete(&name(3)).await.unwrap();
    let found = stack.verify().await.unwrap_err().to_string();
    assert!(found.starts_with(&format!("{third}: D2")), "{found}");
    stack.store.delete(&third).await.unwrap();
    assert_eq!(stack.verify().await.unwrap().manifests, 1, "what is missing at the end may yet come");
    assert!(stack.store.get(&second).await.is_ok());
    stack.settle().await.unwrap();
    assert_eq!(stack.verify().await.unwrap().manifests, 3);

    let last = EpochRecords::new(stack.store.clone(), Metrics::default()).get(epoch(3)).await.unwrap().unwrap();
    let closed = Closed { epoch: epoch(4), after: &last.cut, cut: &last.cut, closing: closing_of(&stack, &last) };
    stack.manifests(ManifestSettings::default()).publish(closed, Instant::now()).await.unwrap();
    let found = stack.verify().await.unwrap_err().to_string();
    assert!(found.starts_with(&format!("{}: D3: no record closed the epoch", name(4))), "{found}");
}

/// What the last page of an epoch must have. Its root is that in its row.
fn closing_of(stack: &Stack, record: &EpochRecord) -> Closing {
    let genesis = stack.manifests(ManifestSettings::default()).genesis();
    Closing { genesis, epoch_record: crate::manifests::text_of(record), root: Hash::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_lacks_a_blob_or_has_another_record_is_a_difference_whatever_comes_after_it() {
    let world = edge(2);
    for (forge, expected) in [(0, "lacks the blob of"), (1, "another record of the epoch"), (2, "another genesis record")] {
        let stack = Stack::new(2).await;
        stack.take(&world.epochs[0]).await;
        Settlement::of_tables(stack.stages(), hasty()).settle(SettleRequest::default()).await.unwrap();
        let record = EpochRecords::new(stack.store.clone(), Metrics::default()).get(epoch(1)).await.unwrap().unwrap();
        let root = tributary_schemas::units::parse_hash(&stack.outcome(epoch(1)).await.root).unwrap();
        let mut closing = Closing { root, ..closing_of(&stack, &record) };
        let none = Cut::empty();
        let after = if forge == 0 { &record.cut } else { &none };
        match forge {
            1 => closing.epoch_record = closing.epoch_record.replace("\"rules_version\":1", "\"rules_version\":2"),
            2 => closing.genesis.push(' '),
            _ => {}
        }
        let closed = Closed { epoch: epoch(1), after, cut: &record.cut, closing };
        let forged = stack.manifests(ManifestSettings::default()).publish(closed, Instant::now()).await.unwrap();
        let found = stack.verify().await.unwrap_err().to_string();
        assert!(found.starts_with("da/manifests/0000000001/00000.json: D3: ") && found.contains(expected), "{found}");
        // A whole manifest is taken for done; the one after it names its certificate whatever it holds.
        stack.take(&world.epochs[1]).await;
        assert_eq!(stack.settle().await.unwrap().epoch.epoch, 2);
        let found = stack.verify().await.unwrap_err().to_string();
        assert!(forged.last && found.contains(expected), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_closes_over_no_blob_of_a_backend_that_is_not_accepted() {
    let stack = Stack::new(2).await;
    stack.take(&edge(7).epochs[0]).await;
    let strict = Settings { available_backends: BTreeSet::from([eigenda::BACKEND]), ..Stack::settings() };
    for dry_run in [true, false] {
        let request = SettleRequest { epoch: None, dry_run };
        let refused = stack.settlement_with(strict.clone()).settle(request).await.unwrap_err();
        assert_eq!(refused.code(), "settlement_backend_not_accepted");
        let said = refused.to_string();
        assert!(said.contains("da/certs/p-0000") && said.contains("`local`") && said.contains("no epoch was closed"), "{said}");
    }
    assert_eq!(stack.count("epochs").await, 0);
    assert!(stack.settle().await.unwrap().closed);
    // What is settled is settled.
    let outcome = stack.settlement_with(strict).settle(SettleRequest::default()).await.unwrap();
    assert_eq!((outcome.closed, outcome.epoch.epoch), (false, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_which_payloads_the_archive_alone_had_and_finds_no_difference_in_that() {
    let stack = Stack::new(2).await;
    stack.take(&edge(5).epochs[0]).await;
    stack.settle().await.unwrap();
    let all = stack.verify().await.unwrap();
    assert_eq!((all.from_archive.clone(), all.manifests), (FromArchive::default(), 1));
    let away = FaultyDa::new(Arc::clone(&stack.client), |call| match call {
        Call::Retrieve(_) => DaFault::Down,
        Call::Disperse(_) => DaFault::None,
    });
    let seen = verify(&stack.sources_behind(away), &VerifyRequest::default(), &Silent).await.unwrap();
    // A page is read twice and counted once.
    assert_eq!(seen.from_archive.blobs_from_archive, all.blobs + 1);
    assert!(seen.from_archive.archive_reason.as_ref().unwrap().contains("the backend did not answer"), "{seen:?}");
    assert_eq!(Report { from_archive: FromArchive::default(), ..seen }, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_epochs_without_a_manifest_are_counted_and_settle_completes_them() {
    let stack = Stack::new(2).await;
    for events in edge(5).epochs.iter().take(2) {
        stack.take(events).await;
        stack.settle().await.unwrap();
    }
    assert_eq!(stack.verify().await.unwrap().epochs_without_manifest, 0);
    stack.store.delete(&names::manifest(epoch(2), 0)).await.unwrap();
    let report = stack.verify().await.unwrap();
    assert_eq!((report.manifests, report.epochs_without_manifest), (1, 1));
    let sampled = VerifyRequest { sample: Some(Sample { size: 1, seed: 1 }), ..VerifyRequest::default() };
    let sampled = verify(&stack.sources(), &sampled, &Silent).await.unwrap();
    assert_eq!((sampled.manifests, sampled.epochs_without_manifest), (1, 1));
    let first = VerifyRequest { epoch: Some(epoch(1)), ..VerifyRequest::default() };
    let first = verify(&stack.sources(), &first, &Silent).await.unwrap();
    assert_eq!((first.manifests, first.epochs_without_manifest), (1, 0), "of the epochs up to the one that was asked for");
    stack.settle().await.unwrap();
    let report = stack.verify().await.unwrap();
    assert_eq!((report.manifests, report.epochs_without_manifest), (2, 0));
}
