//! The promises of the stage, each as a test.
#![allow(clippy::unwrap_used)]

mod gate;
mod in_flight;
mod paid;
mod shutdown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tributary_journal::SealedBatch;
use tributary_schemas::ids::{Partition, Seq};

use crate::error::DaError;
use crate::fixture::{Fault, Faulty, World, quick};
use crate::record::BlobRecord;
use crate::settings::{PAYLOAD_BYTES_LIMIT, Settings};
use crate::{Certificates, DaClient, ListedBlob, Metrics, blob, fetch, names, recover};

fn partition(number: u32) -> Partition {
    Partition::new(number).unwrap()
}

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

async fn recovered(world: &World) -> Vec<SealedBatch> {
    let certificates = Arc::new(Certificates::new(Arc::clone(&world.store)));
    recover::batches(certificates, world.client()).try_collect().await.unwrap()
}

async fn blobs(world: &World) -> Vec<BlobRecord> {
    world.recorded().await
}

/// Everything sealed is certified, tiles the sequence, comes back equal, and the check finds nothing.
async fn assert_complete(world: &World) {
    let mut sealed = Vec::new();
    for partition in world.journal.genesis().partitions.partitions() {
        sealed.extend(world.sealed(partition.get()).await);
    }
    assert_eq!(recovered(world).await, sealed);
    assert_eq!(world.findings().await, []);
}

#[tokio::test]
async fn every_sealed_batch_comes_back_from_blobs_alone_empty_ones_too() {
    let world = World::new(3).await;
    for bytes in [0, 100, 1500, 1500, 1500, 0, 0, 9000, 1] {
        world.seal(0, bytes).await;
    }
    world.seal(2, 10).await;
    let cut = world.publisher().publish_available().await.unwrap();
    assert_eq!(cut.to_string(), "0:8,2:0");
    assert_complete(&world).await;
    let ranges: Vec<_> = blobs(&world).await.iter().map(|b| (b.partition.get(), b.first_seq.get(), b.last_seq.get())).collect();
    assert_eq!(ranges, [(0, 0, 2), (0, 3, 6), (0, 7, 7), (0, 8, 8), (2, 0, 0)]);
}

#[tokio::test]
async fn a_full_batch_fits_one_blob_of_the_default_size_and_no_payload_exceeds_it() {
    let world = World::new(1).await;
    for bytes in [899_996, 100_000, 899_996, 114_000] {
        world.seal(0, bytes).await;
    }
    world.publisher_on(Arc::clone(&world.store), Settings::default()).publish_available().await.unwrap();
    assert_complete(&world).await;
    let blobs = blobs(&world).await;
    assert_eq!(blobs.len(), 2);
    assert!(blobs.iter().all(|b| b.certificate.payload_bytes <= PAYLOAD_BYTES_LIMIT as u64));
    assert_eq!(PAYLOAD_BYTES_LIMIT, 1_015_777);
}

#[tokio::test]
async fn a_blob_ends_where_a_byte_costs_the_least_and_the_young_rest_waits() {
    let world = World::new(1).await;
    // The first two just fill 4,096 symbols; what comes after would double the bill.
    for bytes in [100_000, 26_000, 1000] {
        world.seal(0, bytes).await;
    }
    let settings = Settings { blob_age_max: Duration::from_secs(3600), ..Settings::default() };
    let publisher = world.publisher_on(Arc::clone(&world.store), settings);
    publisher.publish_available().await.unwrap();
    let ends: Vec<_> = blobs(&world).await.iter().map(|blob| blob.last_seq.get()).collect();
    assert_eq!(ends, [1, 2], "but on demand everything is published");
    assert_complete(&world).await;
}

#[tokio::test]
async fn one_partition_that_fails_does_not_cut_off_the_others() {
    let world = World::new(2).await;
    for bytes in [1000, 3000, 3000] {
        world.seal(1, bytes).await;
    }
    world.seal(0, 10).await;
    world.overwrite(&names::plan(partition(0), seq(0)), Bytes::from_static(b"{}")).await;
    let failed = world.publisher().publish_available().await;
    assert!(matches!(failed, Err(DaError::Corrupt { .. })), "{failed:?}");
    let certified = Certificates::new(Arc::clone(&world.store)).certified().await.unwrap();
    assert_eq!(certified.to_string(), "1:2");
}

#[tokio::test]
async fn what_was_published_is_not_published_again() {
    let world = World::new(1).await;
    world.seal(0, 10).await;
    world.publisher().publish_available().await.unwrap();
    let before = world.objects().await;
    world.publisher().publish_available().await.unwrap();
    assert_eq!(world.objects().await, before);
    world.seal(0, 10).await;
    world.publisher().publish_available().await.unwrap();
    assert_complete(&world).await;
    assert_eq!(blobs(&world).await.len(), 2);
}

/// A world where so many blobs of each of its partitions wait to be published, one batch in each.
async fn blobs_ahead(partitions: u32, blobs: usize) -> World {
    let world = World::new(partitions).await;
    for _ in 0..blobs {
        for partition in 0..partitions {
            world.seal(partition, 3500).await;
        }
    }
    world
}

/// A world where two blobs wait to be published.
async fn two_blobs_ahead() -> World {
    let world = World::new(1).await;
    for bytes in [1000, 2000, 2000, 30] {
        world.seal(0, bytes).await;
    }
    world
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_changes_neither_the_plans_nor_the_result() {
    let counted = two_blobs_ahead().await;
    let store = Faulty::new(Arc::clone(&counted.store), Fault::None);
    counted.publisher_on(Arc::clone(&store) as Arc<dyn ObjectStore>, quick()).publish_available().await.unwrap();
    assert_eq!(store.puts(), 8, "plan, archive, payload and certificate of two blobs");
    for put in 0..8 {
        for fault in [Fault::DiesBefore(put), Fault::DiesAfter(put)] {
            let world = two_blobs_ahead().await;
            let store = Faulty::new(Arc::clone(&world.store), fault);
            let died = world.publisher_on(store, quick()).publish_available().await;
            assert!(matches!(died, Err(DaError::Retry { .. })), "{fault:?}: {died:?}");
            let survivors: Vec<(Path, Bytes)> = world.objects().await;
            // Another grouping would suggest itself to the next publisher, if the plan did not stand.
            let next = world.publisher_on(Arc::clone(&world.store), Settings { blob_bytes_max: 100_000, ..quick() });
            next.publish_available().await.unwrap();
            assert_complete(&world).await;
            let after = world.objects().await;
            assert!(survivors.iter().all(|object| after.contains(object)), "{fault:?}: nothing written is rewritten");
            let plan = names::plan(partition(0), seq(0));
            let first_stood = survivors.iter().any(|(path, _)| *path == plan);
            assert_eq!(blobs(&world).await[0].last_seq, seq(if first_stood { 1 } else { 3 }), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_loses_answers_costs_retries_only() {
    let world = two_blobs_ahead().await;
    let store = Faulty::new(Arc::clone(&world.store), Fault::LosesAnswers);
    let publisher = world.publisher_on(store, Settings { attempts_max: 20, ..quick() });
    while publisher.publish_available().await.is_err() {}
    assert_complete(&world).await;
    assert_eq!(blobs(&world).await.len(), 2);
}

#[tokio::test]
async fn of_two_publishers_at_once_the_first_recorded_certificate_counts_and_both_agree() {
    let (mut lost, mut plans_adopted) = (0, 0);
    for seed in 0..300 {
        let world = World::new(2).await;
        for bytes in [1000, 2000, 2000, 30, 4000, 0] {
            world.seal(0, bytes).await;
            world.seal(1, bytes / 2).await;
        }
        let unruly = |seed| Faulty::new(Arc::clone(&world.store), Fault::Unruly(seed));
        let one = world.publisher_on(unruly(2 * seed), quick());
        // One that would group differently.
        let two = world.publisher_on(unruly(2 * seed + 1), Settings { blob_bytes_max: 3000, ..quick() });
        let (a, b) = tokio::join!(one.publish_available(), two.publish_available());
        assert_eq!(a.unwrap(), b.unwrap(), "seed {seed}");
        assert_complete(&world).await;
        let sum = |count: fn(&Metrics) -> &Counter| count(one.metrics()).get() + count(two.metrics()).get();
        let recorded = blobs(&world).await.len() as u64;
        assert_eq!(sum(|m| &m.blobs), recorded, "seed {seed}");
        assert_eq!(sum(|m| &m.dispersals), recorded + sum(|m| &m.certificates_lost), "seed {seed}");
        lost += sum(|m| &m.certificates_lost);
        plans_adopted += sum(|m| &m.plans_adopted);
    }
    assert!(lost > 100 && plans_adopted > 100, "they met often: {lost} certificates lost, {plans_adopted} plans adopted");
}

#[tokio::test]
async fn two_runs_of_one_publisher_disperse_nothing_twice() {
    let world = two_blobs_ahead().await;
    let publisher = world.publisher();
    let (a, b) = tokio::join!(publisher.publish_available(), publisher.publish_available());
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(publisher.metrics().dispersals.get(), 2);
}

#[tokio::test]
async fn any_flipped_byte_in_plan_payload_or_certificate_is_found_and_named() {
    let world = World::new(2).await;
    for bytes in [40, 0, 60] {
        world.seal(0, bytes).await;
        world.seal(1, bytes).await;
    }
    world.publisher().publish_available().await.unwrap();
    world.seal(0, 5).await;
    assert_eq!(world.findings().await, []);
    for (path, bytes) in world.objects().await {
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            world.overwrite(&path, Bytes::from(flipped)).await;
            let findings = world.findings().await;
            assert!(findings.iter().any(|f| f.object == path.to_string()), "{path} byte {at}: {findings:?}");
        }
        world.overwrite(&path, bytes).await;
    }
    assert_eq!(world.findings().await, []);
}

#[tokio::test]
async fn a_missing_object_and_a_stray_one_are_named() {
    let world = two_blobs_ahead().await;
    world.publisher().publish_available().await.unwrap();
    for (path, bytes) in world.objects().await {
        object_store::ObjectStoreExt::delete(&world.store, &path).await.unwrap();
        let last_certificate = names::certificate(partition(0), seq(2));
        // Without its certificate the last blob is merely not certified yet.
        assert_eq!(world.findings().await.is_empty(), path == last_certificate, "{path}");
        world.overwrite(&path, bytes).await;
    }
    for stray in ["da/x", "da/plans/p-00000/1.json", "da/certs/p-00000/00000000000000000001.json", "da/blobs/0x12"] {
        let path = Path::from(stray);
        world.overwrite(&path, Bytes::from_static(b"{}")).await;
        assert!(world.findings().await.iter().any(|f| f.object == stray), "{stray}");
        object_store::ObjectStoreExt::delete(&world.store, &path).await.unwrap();
    }
    assert_eq!(world.findings().await, []);
}

#[tokio::test]
async fn a_plan_whose_batches_differ_stops_the_publisher_instead_of_being_replanned() {
    let world = two_blobs_ahead().await;
    let store = Faulty::new(Arc::clone(&world.store), Fault::DiesAfter(0));
    assert!(world.publisher_on(store, quick()).publish_available().await.is_err());
    let name = names::plan(partition(0), seq(0));
    let bytes = world.objects().await.into_iter().find(|(path, _)| *path == name).unwrap().1;
    let mut plan = crate::Plan::decode(partition(0), seq(0), &bytes).unwrap();
    plan.payload_hash.0[0] ^= 1;
    world.overwrite(&name, plan.encode()).await;
    let stopped = world.publisher().publish_available().await;
    assert!(matches!(&stopped, Err(DaError::Corrupt { object, .. }) if *object == name.to_string()), "{stopped:?}");
    assert_eq!(world.findings().await.len(), 1);
}

#[tokio::test]
async fn only_the_contiguous_prefix_counts_as_certified() {
    let world = World::new(1).await;
    for _ in 0..4 {
        world.seal(0, 3500).await;
    }
    world.publisher().publish_available().await.unwrap();
    let second = names::certificate(partition(0), seq(1));
    let bytes = world.objects().await.into_iter().find(|(path, _)| *path == second).unwrap().1;
    object_store::ObjectStoreExt::delete(&world.store, &second).await.unwrap();
    let certificates = Certificates::new(Arc::clone(&world.store));
    assert_eq!(certificates.certified().await.unwrap().to_string(), "0:0");
    assert_eq!(certificates.blob_of(partition(0), seq(2)).await.unwrap(), None);
    world.overwrite(&second, bytes).await;
    assert_eq!(certificates.certified().await.unwrap().to_string(), "0:3");
    assert_eq!(certificates.blob_of(partition(0), seq(2)).await.unwrap().unwrap().first_seq, seq(2));
    assert_eq!(certificates.blob_of(partition(0), seq(4)).await.unwrap(), None);
}

#[tokio::test]
async fn a_certificate_is_read_again_where_it_is_wanted_and_must_be_the_one_that_it_was() {
    let world = two_blobs_ahead().await;
    world.publisher().publish_available().await.unwrap();
    let certificates = Certificates::new(Arc::clone(&world.store));
    let listed = certificates.blobs().await.unwrap();
    let records = blobs(&world).await;
    assert_eq!(listed.iter().copied().collect::<Vec<_>>(), records.iter().map(ListedBlob::of).collect::<Vec<_>>());
    let (blob, name) = (*listed.iter().next().unwrap(), names::certificate(partition(0), records[0].first_seq));
    assert_eq!(certificates.record(&blob).await.unwrap(), records[0]);
    // Right in itself, but of another time.
    world.clock.advance(Duration::from_secs(1));
    let wanted = records[0].certificate.wanted();
    let payload = world.client().retrieve(&wanted).await.unwrap();
    let again = world.client().disperse(payload).await.unwrap();
    assert_ne!(again.bytes, records[0].certificate.bytes);
    let another = BlobRecord { blob_id: again.blob_id(), certificate: again, ..records[0].clone() };
    world.overwrite(&name, another.encode()).await;
    let changed = certificates.record(&blob).await.unwrap_err();
    assert!(matches!(&changed, DaError::Corrupt { object, .. } if *object == name.to_string()), "{changed}");
    object_store::ObjectStoreExt::delete(&world.store, &name).await.unwrap();
    let gone = certificates.record(&blob).await.unwrap_err();
    assert!(matches!(&gone, DaError::Corrupt { what, .. } if what.contains("is gone")), "{gone}");
    assert_eq!(
        certificates.certified().await.unwrap(),
        world.journal.refresh_all().await.unwrap(),
        "which blobs there are is remembered"
    );
}

#[tokio::test]
async fn nothing_is_written_while_paused_and_waiting_ends_at_the_deadline() {
    let world = two_blobs_ahead().await;
    let publisher = world.publisher_on(Arc::clone(&world.store), Settings { paused: true, ..quick() });
    assert!(publisher.publish_available().await.unwrap().is_empty());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (publisher, shutdown) = (Arc::clone(&publisher), shutdown.clone());
        async move { publisher.run(shutdown).await }
    });
    let deadline = Instant::now() + Duration::from_millis(300);
    let late = publisher.certificates().wait_for(&"0:3".parse().unwrap(), deadline).await;
    assert!(matches!(late, Err(DaError::Late { .. })), "{late:?}");
    assert_eq!(world.objects().await, []);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_young_batch_waits_for_company_and_an_old_one_does_not() {
    let world = World::new(1).await;
    world.seal(0, 10).await;
    let publisher =
        world.publisher_on(Arc::clone(&world.store), Settings { blob_age_max: Duration::from_millis(200), ..quick() });
    let certificates = publisher.certificates();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (publisher, shutdown) = (Arc::clone(&publisher), shutdown.clone());
        async move { publisher.run(shutdown).await }
    });
    world.seal(0, 10).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    certificates.wait_for(&"0:1".parse().unwrap(), deadline).await.unwrap();
    assert_eq!(certificates.blobs().await.unwrap().len(), 1, "the second joined the first");
    // Sealed long ago by the clock: published without waiting out the 200 ms again.
    world.seal(0, 10).await;
    world.clock.advance(Duration::from_secs(60));
    certificates.wait_for(&"0:2".parse().unwrap(), deadline).await.unwrap();
    shutdown.cancel();
    running.await.unwrap();
    assert_complete(&world).await;
    assert!(publisher.state().iter().all(|lane| lane.last_error.is_none() && !lane.stopped));
}

#[tokio::test]
async fn a_damaged_plan_stops_its_partition_and_the_others_go_on() {
    let world = World::new(2).await;
    world.seal(0, 10).await;
    world.seal(1, 10).await;
    world.overwrite(&names::plan(partition(0), seq(0)), Bytes::from_static(b"{}")).await;
    world.clock.advance(Duration::from_secs(60));
    let publisher = world.publisher();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (publisher, shutdown) = (Arc::clone(&publisher), shutdown.clone());
        async move { publisher.run(shutdown).await }
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    publisher.certificates().wait_for(&"1:0".parse().unwrap(), deadline).await.unwrap();
    while !publisher.state()[0].stopped {
        tokio::task::yield_now().await;
    }
    let error = publisher.state()[0].last_error.clone().unwrap();
    assert!(error.contains("da/plans/p-00000/00000000000000000000.json"), "{error}");
    assert!(!publisher.state()[1].stopped);
    shutdown.cancel();
    running.await.unwrap();
}

/// A backend that gives back something else than it took.
struct Liar(Arc<crate::LocalDa>);

#[async_trait::async_trait]
impl DaClient for Liar {
    fn backend(&self) -> &'static str {
        self.0.backend()
    }

    async fn disperse(&self, payload: Bytes) -> Result<crate::Certificate, DaError> {
        self.0.disperse(payload).await
    }

    async fn retrieve(&self, wanted: &crate::Wanted) -> Result<Bytes, DaError> {
        let mut payload = self.0.retrieve(wanted).await?.to_vec();
        payload[40] ^= 1;
        Ok(Bytes::from(payload))
    }
}

#[tokio::test]
async fn a_blob_that_does_not_read_back_is_never_recorded_as_certified() {
    let world = two_blobs_ahead().await;
    let client = Arc::new(Liar(world.client()));
    let one_by_one = Settings { blobs_in_flight_max: 1, ..quick() };
    let publisher = world.publisher_with(Arc::clone(&world.store), client.clone(), one_by_one);
    let failed = publisher.publish_available().await;
    assert!(matches!(failed, Err(DaError::Corrupt { .. })), "{failed:?}");
    assert_eq!(publisher.metrics().read_back_failures.get(), 1);
    assert_eq!(blobs(&world).await, []);
    // And what is certified is not believed when it is fetched from such a backend.
    world.publisher().publish_available().await.unwrap();
    let blob = blobs(&world).await.remove(0);
    assert!(matches!(fetch(&blob, client.as_ref()).await, Err(DaError::Corrupt { .. })));
    assert_eq!(fetch(&blob, world.client().as_ref()).await.unwrap(), world.sealed(0).await[..2]);
}

#[tokio::test]
async fn a_payload_with_any_flipped_byte_cut_or_addition_is_no_payload() {
    let world = World::new(1).await;
    for bytes in [20, 0, 33] {
        world.seal(0, bytes).await;
    }
    let batches = world.sealed(0).await;
    let payload = blob::encode(&batches);
    assert_eq!(blob::decode(&payload).unwrap(), batches);
    let mut tried = BTreeSet::new();
    for at in 0..payload.len() {
        let mut flipped = payload.to_vec();
        flipped[at] ^= 1 << (at % 8);
        tried.insert(blob::decode(&flipped).unwrap_err().to_string());
        assert!(blob::decode(&payload[..at]).is_err(), "cut at {at}");
    }
    assert!(tried.len() > 5, "{tried:?}");
    assert!(blob::decode(&[payload.as_ref(), b"x"].concat()).is_err());
    // Batches that do not follow each other.
    for wrong in [vec![batches[0].clone(), batches[2].clone()], vec![batches[1].clone(), batches[0].clone()]] {
        assert!(blob::decode(&blob::encode(&wrong)).is_err());
    }
}
