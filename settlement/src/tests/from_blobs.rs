//! A rebuild from blobs alone gives the same record.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tributary_da::manifest::{Closed, Closing, ManifestRecords, ManifestSettings};
use tributary_da::{Archive, BackendMetrics, Committer, DaClient, DaError, ListedBlob, LocalDa, Wanted, Witness};
use tributary_schemas::ids::{Clock, PartitionCount};
use tributary_schemas::tables::Table;
use tributary_schemas::units::Hash;

use super::crash::Dying;
use super::rebuilt::rows;
use super::stack::{Stack, epoch, memory};
use super::world::{edge, noon};
use crate::{BlobSource, RebuildReport, SettleRequest, SettlementError, Silent, rebuild_from_da};

/// Room for few blobs, so that epochs have several pages.
const SMALL: usize = 6_000;

/// Three settled epochs, and what is published and not settled after them.
async fn settled_and_more() -> Stack {
    let world = edge(10);
    let stack = Stack::open(memory(), PartitionCount::new(4)).await;
    for events in &world.epochs {
        // Two blobs a partition.
        for part in events.chunks(events.len().div_ceil(2)) {
            stack.take(part).await;
        }
        stack.settlement_paged(SMALL).settle(SettleRequest::default()).await.unwrap();
    }
    stack.take(&edge(9).epochs[0]).await;
    stack
}

/// Whatever lies in this store, behind a backend that has nothing of its own.
fn source(store: &Arc<dyn ObjectStore>, manifest: Option<Bytes>) -> BlobSource {
    let (committer, clock): (_, Arc<dyn Clock>) = (Committer::shipped(), Arc::new(noon()));
    let nothing: Arc<dyn DaClient> = Arc::new(LocalDa::with_committer(memory(), clock, Arc::clone(&committer)));
    let (of_store, of_committer) = (Arc::clone(store), Arc::clone(&committer));
    let client = Arc::new(Witness::new(Archive::new(nothing, of_store, of_committer, BackendMetrics::default())));
    BlobSource { client, committer, store: Arc::clone(store), manifest, place: "a store in memory".to_owned() }
}

async fn rebuild(source: BlobSource, target: &Arc<dyn ObjectStore>) -> Result<RebuildReport, SettlementError> {
    rebuild_from_da(source, Arc::clone(target), Arc::new(noon()), &Silent).await
}

async fn objects(store: &Arc<dyn ObjectStore>, prefix: &str) -> BTreeMap<Path, Bytes> {
    let listed: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for object in listed {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        objects.insert(object.location, bytes);
    }
    objects
}

async fn last_certificate(stack: &Stack, number: u64) -> Bytes {
    let records = ManifestRecords::new(Arc::clone(&stack.store));
    records.last_page(epoch(number)).await.unwrap().unwrap().certificate.bytes
}

async fn listed(stack: &Stack) -> Vec<ListedBlob> {
    stack.certificates.blobs().await.unwrap().iter().copied().collect()
}

const VIEWS: [&str; 3] = ["batches", "blobs", "epochs"];

async fn assert_same_tables(rebuilt: &Stack, stack: &Stack) {
    for table in Table::ALL.iter().map(|table| table.name()).chain(VIEWS) {
        assert_eq!(rows(rebuilt, table).await, rows(stack, table).await, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_blobs_has_the_same_tables_blobs_and_records_and_can_be_begun_again() {
    let stack = settled_and_more().await;
    let last = ManifestRecords::new(Arc::clone(&stack.store)).latest_whole().await.unwrap().unwrap();
    assert!(last.epoch == epoch(3) && last.page > 0, "an epoch has several pages: {last:?}");
    let target = memory();
    for _ in 0..2 {
        let report = rebuild(source(&stack.store, None), &target).await.unwrap();
        assert_eq!((report.epochs.len(), report.compared), (3, 3));
        assert!(report.blobs.is_some_and(|blobs| blobs > 20) && report.batches > 20 && report.rows > 0, "{report:?}");
    }
    for folder in ["journal/p-00000", "settlement", "da/certs", "da/blobs", "da/manifests"] {
        assert_eq!(objects(&target, folder).await, objects(&stack.store, folder).await, "{folder}");
    }
    for single in ["journal/genesis.json", "da/genesis.json"] {
        let [theirs, ours] = [&stack.store, &target].map(|store| objects(store, single));
        assert_eq!(theirs.await, ours.await, "{single}");
    }
    let rebuilt = Stack::open(Arc::clone(&target), None).await;
    assert_same_tables(&rebuilt, &stack).await;
    let checked = rebuilt.verify().await.unwrap();
    assert_eq!((checked.manifests, checked.epochs.len()), (3, 3));
    // It goes on where the source would.
    assert!(rebuilt.settle().await.unwrap().closed);
    assert_eq!(rebuilt.verify().await.unwrap().manifests, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_archive_and_one_certificate_are_enough() {
    let stack = settled_and_more().await;
    let copy = memory();
    for (path, bytes) in objects(&stack.store, "da/blobs").await {
        copy.put(&path, bytes.into()).await.unwrap();
    }
    for number in 1..=3 {
        let target = memory();
        let certificate = last_certificate(&stack, number).await;
        let report = rebuild(source(&copy, Some(certificate)), &target).await.unwrap();
        assert_eq!((report.epochs.len() as u64, report.compared), (number, number));
        let rebuilt = Stack::open(target, None).await;
        for n in 1..=number {
            assert_eq!(rebuilt.outcome(epoch(n)).await, edge(10).expected(usize::try_from(n).unwrap()));
        }
        assert_eq!(rebuilt.verify().await.unwrap().manifests, number);
    }
    let refused = rebuild(source(&copy, None), &memory()).await.unwrap_err();
    assert!(refused.to_string().contains("nothing to rebuild from"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_manifest_the_certificates_alone_are_rebuilt_from() {
    let stack = Stack::new(3).await;
    stack.take(&edge(9).epochs[0]).await;
    let copy = memory();
    for (path, bytes) in objects(&stack.store, "da").await {
        copy.put(&path, bytes.into()).await.unwrap();
    }
    let target = memory();
    let report = rebuild(source(&copy, None), &target).await.unwrap();
    assert_eq!((report.epochs.len(), report.compared, report.partitions), (0, 0, 3));
    let rebuilt = Stack::open(target, None).await;
    assert_same_tables(&rebuilt, &stack).await;
    rebuilt.verify().await.unwrap();
    copy.delete(&Path::from(tributary_da::names::GENESIS)).await.unwrap();
    let refused = rebuild(source(&copy, None), &memory()).await.unwrap_err();
    assert!(refused.to_string().contains("with how many partitions"), "{refused}");
}

/// Kills a rebuild at many of its writes; the next one into the same target ends with the same record.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_killed_at_any_of_its_writes_is_finished_by_the_next() {
    let stack = settled_and_more().await;
    let reference = memory();
    rebuild(source(&stack.store, None), &reference).await.unwrap();
    let (mut died, mut writes) = (0, 0);
    loop {
        assert!(writes < 2_000, "a rebuild has a bounded number of writes");
        let target = memory();
        let dying = Dying::new(Arc::clone(&target), writes, writes % 2 == 1);
        let into = Arc::clone(&dying) as Arc<dyn ObjectStore>;
        tokio::select! {
            biased;
            () = dying.dies() => died += 1,
            ended = rebuild(source(&stack.store, None), &into) => match ended {
                Ok(_) => break,
                Err(error) => {
                    assert!(dying.is_dead(), "at write {writes}: {error}");
                    died += 1;
                }
            },
        }
        rebuild(source(&stack.store, None), &target).await.unwrap_or_else(|e| panic!("killed at write {writes}: {e}"));
        for folder in ["journal", "settlement", "da"] {
            assert_eq!(objects(&target, folder).await, objects(&reference, folder).await, "{folder}, killed at write {writes}");
        }
        let rebuilt = Stack::open(target, None).await;
        assert_same_tables(&rebuilt, &stack).await;
        writes += 1 + writes / 6;
    }
    assert!(died > 15, "{died}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_lost_or_a_certificate_that_is_no_manifests_is_named() {
    let stack = settled_and_more().await;
    let blobs = listed(&stack).await;
    let of_blob = stack.certificates.record(&blobs[0]).await.unwrap().certificate.bytes;
    let refused = rebuild(source(&stack.store, Some(of_blob)), &memory()).await.unwrap_err();
    assert_eq!(refused.code(), "settlement_refused");
    let named = format!("certificate {}", blobs[0].blob_id);
    assert!(refused.to_string().contains(&named) && refused.to_string().contains("it is no manifest"), "{refused}");

    let first = ManifestRecords::new(Arc::clone(&stack.store)).page(tributary_da::manifest::PageAt::first(epoch(3))).await;
    let of_first_page = first.unwrap().unwrap().certificate.bytes;
    let refused = rebuild(source(&stack.store, Some(of_first_page)), &memory()).await.unwrap_err();
    assert!(refused.to_string().contains("not the last of its epoch"), "{refused}");

    let lost = tributary_da::names::payload(&blobs[3].commitment);
    stack.store.delete(&lost).await.unwrap();
    let found = rebuild(source(&stack.store, None), &memory()).await.unwrap_err();
    let SettlementError::Difference(difference) = &found else { panic!("{found}") };
    assert_eq!(difference.object, lost.to_string(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_named_manifest_leads_to_and_is_nowhere_is_no_difference_and_what_is_damaged_is_one() {
    let stack = settled_and_more().await;
    let certificate = last_certificate(&stack, 3).await;
    let blobs = listed(&stack).await;
    let name = tributary_da::names::payload(&blobs[3].commitment);
    let good = stack.store.get(&name).await.unwrap().bytes().await.unwrap();
    stack.store.put(&name, "damaged".into()).await.unwrap();
    let found = rebuild(source(&stack.store, Some(certificate.clone())), &memory()).await.unwrap_err();
    assert_eq!(found.code(), "settlement_difference", "{found}");
    stack.store.delete(&name).await.unwrap();
    let target = memory();
    let nowhere = rebuild(source(&stack.store, Some(certificate.clone())), &target).await.unwrap_err();
    assert!(nowhere.code() == "settlement_unavailable" && nowhere.to_string().contains(name.as_ref()), "{nowhere}");
    // Once it is there, the same target is gone on with.
    stack.store.put(&name, good.into()).await.unwrap();
    let report = rebuild(source(&stack.store, Some(certificate)), &target).await.unwrap();
    assert_eq!((report.compared, report.epochs_without_manifest), (3, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_counts_what_came_from_the_archive_alone_and_epochs_whose_manifest_is_missing() {
    let stack = settled_and_more().await;
    let pages = objects(&stack.store, "da/manifests").await;
    let report = rebuild(source(&stack.store, None), &memory()).await.unwrap();
    let seen = report.from_archive.unwrap();
    assert_eq!(seen.blobs_from_archive, report.blobs.unwrap() + pages.len() as u64, "the backend had nothing: {seen}");
    assert!(seen.archive_reason.unwrap().contains("the payload is missing"));
    assert_eq!(report.epochs_without_manifest, Some(0));

    let client = Arc::clone(&stack.client);
    let all_there = BlobSource {
        client: Arc::new(Witness::new(Archive::new(client, memory(), Committer::shipped(), BackendMetrics::default()))),
        ..source(&stack.store, None)
    };
    let report = rebuild(all_there, &memory()).await.unwrap();
    assert_eq!(report.from_archive, Some(tributary_da::FromArchive::default()), "the backend gave all");

    stack.store.delete(pages.keys().last().unwrap()).await.unwrap();
    let report = rebuild(source(&stack.store, None), &memory()).await.unwrap();
    assert_eq!((report.epochs.len(), report.epochs_without_manifest), (2, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_holds_something_else_is_refused_by_a_rebuild_from_blobs() {
    let (stack, other) = (settled_and_more().await, Stack::new(2).await);
    let refused = rebuild(source(&stack.store, None), &other.store).await.unwrap_err();
    assert!(matches!(&refused, SettlementError::Refused(what) if what.contains("deployment")), "{refused}");
    let target = memory();
    target.put(&"da/certs/x".into(), "mine".into()).await.unwrap();
    let refused = rebuild(source(&stack.store, None), &target).await.unwrap_err();
    assert_eq!(refused.to_string(), "the target is not empty, it holds da/certs/x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_another_than_in_the_manifest_ends_the_rebuild_and_names_the_epoch() {
    let world = edge(5);
    for wrong in 1..=2_u64 {
        let stack = Stack::new(2).await;
        let mut cuts = vec![tributary_schemas::cut::Cut::empty()];
        for (number, events) in (1..=2).zip(&world.epochs) {
            stack.take(events).await;
            // Closed, and its manifest not published.
            let paused = ManifestSettings { paused: true, ..ManifestSettings::default() };
            let job = crate::Settlement::new(stack.stages(), stack.manifests(paused), Stack::settings());
            let pending = job.settle(SettleRequest::default()).await.unwrap_err();
            assert!(matches!(pending, SettlementError::ManifestPending { .. }), "{pending}");
            let record = crate::records::EpochRecords::new(stack.store.clone(), crate::Metrics::default());
            let record = record.get(epoch(number)).await.unwrap().unwrap();
            cuts.push(record.cut.clone());
            let root = if number == wrong { Hash::repeat_byte(9) } else { expected_root(&stack, number).await };
            let manifests = stack.manifests(ManifestSettings::default());
            let closing = Closing { genesis: manifests.genesis(), epoch_record: crate::manifests::text_of(&record), root };
            let (after, cut) = (&cuts[cuts.len() - 2], &cuts[cuts.len() - 1]);
            let closed = Closed { epoch: record.number, after, cut, closing };
            manifests.publish(closed, tokio::time::Instant::now()).await.unwrap();
        }
        let found = rebuild(source(&stack.store, None), &memory()).await.unwrap_err();
        let SettlementError::Difference(difference) = &found else { panic!("{found}") };
        assert_eq!(difference.object, format!("epoch {wrong}"), "{found}");
        let found = stack.verify().await.unwrap_err().to_string();
        assert!(found.contains("D3") && found.contains("another root"), "{found}");
    }
}

async fn expected_root(stack: &Stack, number: u64) -> Hash {
    tributary_schemas::units::parse_hash(&stack.outcome(epoch(number)).await.root).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_flipped_bit_of_a_page_ends_a_rebuild_by_its_certificate_or_its_payload() {
    let stack = Stack::new(2).await;
    for events in edge(5).epochs.iter().take(2) {
        stack.take(events).await;
        stack.settle().await.unwrap();
    }
    let records = ManifestRecords::new(Arc::clone(&stack.store));
    let record = records.last_page(epoch(1)).await.unwrap().unwrap();
    let path = tributary_da::names::payload(&record.certificate.commitment);
    let good = stack.store.get(&path).await.unwrap().bytes().await.unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        stack.store.put(&path, bad.into()).await.unwrap();
        let found = rebuild(source(&stack.store, None), &memory()).await.unwrap_err();
        let SettlementError::Difference(difference) = &found else { panic!("byte {at}: {found}") };
        let blob = format!("certificate {}", record.certificate.blob_id());
        assert!([path.to_string(), blob].contains(&difference.object), "byte {at}: {found}");
    }
    stack.store.put(&path, good.into()).await.unwrap();
    rebuild(source(&stack.store, None), &memory()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_is_refused_before_the_target_is_touched() {
    let (stack, target) = (settled_and_more().await, memory());
    for text in [&b"TRDC"[..], b"\x02nonsense", b""] {
        let refused = rebuild(source(&stack.store, Some(Bytes::copy_from_slice(text))), &target).await.unwrap_err();
        assert_eq!(refused.code(), "settlement_refused", "{refused}");
    }
    assert!(objects(&target, "").await.is_empty());
    let wanted = Wanted { certificate: last_certificate(&stack, 3).await, expires_at: None };
    // One that is right, where nothing is.
    let named = source(&memory(), Some(last_certificate(&stack, 3).await));
    let nowhere = rebuild(named, &target).await.unwrap_err();
    assert_eq!(nowhere.code(), "settlement_unavailable", "{nowhere}");
    let text = nowhere.to_string();
    assert!(text.starts_with("the payload da/blobs/0x") && text.contains("the archive does not have it"), "{text}");
    assert!(text.contains("looked for in a store in memory"), "{text}");
    assert!(objects(&target, "").await.is_empty());
    let missing = source(&memory(), None).client.retrieve(&wanted).await.unwrap_err();
    assert!(matches!(missing, DaError::Missing { .. }), "{missing}");
}
