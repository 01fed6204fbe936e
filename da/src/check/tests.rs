//! What belongs under `da/` beside the blobs of batches, and what does not.
#![allow(clippy::unwrap_used)]

use object_store::ObjectStoreExt;
use tokio::time::Instant;
use tributary_journal::DeploymentId;
use tributary_schemas::ids::Epoch;

use super::*;
use crate::dispersal::Dispersal;
use crate::fixture::{Fault, Faulty, World, quick};

fn checked(world: &World) -> Checked {
    let (store, journal) = (Arc::clone(&world.store), Arc::clone(&world.journal));
    Checked { store, journal, client: world.client(), committer: Arc::clone(&world.committer) }
}

/// The objects that are found, when these payloads are expected to be recorded next.
async fn objects(world: &World, expected: Vec<Bytes>) -> Vec<String> {
    let outstanding: Outstanding = Box::new(|_| Box::pin(async { Ok(expected) }));
    let found: Vec<Finding> = check_all(checked(world), outstanding).try_collect().await.unwrap();
    found.into_iter().map(|finding| finding.object).collect()
}

fn page(epoch: u64, page: u32) -> Bytes {
    Bytes::from(format!("page {page} of epoch {epoch}"))
}

/// Publishes and records a page.
async fn record(world: &World, epoch: u64, number: u32) -> ManifestRecord {
    let dispersal = Dispersal::new(Arc::clone(&world.store), world.client(), Arc::clone(&world.committer), &quick());
    let certificate = dispersal.certify(page(epoch, number), Instant::now()).await.unwrap();
    let (deployment, epoch) = (world.journal.genesis().deployment, Epoch::new(epoch).unwrap());
    let record = ManifestRecord { deployment, epoch, page: number, last: true, certificate };
    world.overwrite(&names::manifest(epoch, number), record.encode()).await;
    record
}

#[tokio::test]
async fn a_recorded_page_owns_its_payload_and_any_flipped_byte_of_either_is_found_and_named() {
    let world = World::new(1).await;
    for epoch in [1, 2] {
        record(&world, epoch, 0).await;
    }
    assert_eq!(objects(&world, Vec::new()).await, Vec::<String>::new());
    for (path, bytes) in world.objects().await {
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            world.overwrite(&path, Bytes::from(flipped)).await;
            assert!(objects(&world, Vec::new()).await.contains(&path.to_string()), "{path} byte {at}");
        }
        world.store.delete(&path).await.unwrap();
        assert!(!objects(&world, Vec::new()).await.is_empty(), "{path} is missing");
        world.overwrite(&path, bytes).await;
    }
    assert_eq!(objects(&world, Vec::new()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_that_is_about_to_be_recorded_is_no_stray_and_any_other_payload_is() {
    let world = World::new(1).await;
    let first = record(&world, 1, 0).await;
    let dispersal = Dispersal::new(Arc::clone(&world.store), world.client(), Arc::clone(&world.committer), &quick());
    let next = dispersal.certify(page(2, 0), Instant::now()).await.unwrap();
    let name = names::payload(&next.commitment).to_string();
    for expected in [Vec::new(), vec![page(3, 0)]] {
        assert_eq!(*objects(&world, expected).await, *std::slice::from_ref(&name));
    }
    assert_eq!(objects(&world, vec![page(2, 0)]).await, Vec::<String>::new());
    // What is expected is asked for with what is recorded.
    let outstanding: Outstanding = Box::new(move |recorded| {
        assert_eq!(recorded, [first]);
        Box::pin(async { Ok(vec![page(2, 0)]) })
    });
    assert_eq!(check_all(checked(&world), outstanding).try_collect::<Vec<_>>().await.unwrap(), []);
}

#[tokio::test]
async fn a_record_under_another_name_or_of_another_deployment_is_named() {
    let world = World::new(1).await;
    let record = record(&world, 1, 0).await;
    let moved = names::manifest(record.epoch, 1);
    world.overwrite(&moved, record.encode()).await;
    assert_eq!(objects(&world, Vec::new()).await, [moved.to_string()]);
    world.store.delete(&moved).await.unwrap();
    let foreign = ManifestRecord { deployment: DeploymentId([9; 16]), ..record };
    let name = names::manifest(foreign.epoch, 0);
    world.overwrite(&name, foreign.encode()).await;
    assert_eq!(objects(&world, Vec::new()).await[0], name.to_string());
    for stray in ["da/manifests/0000000001/0.json", "da/manifests/x"] {
        world.overwrite(&Path::from(stray), Bytes::from_static(b"{}")).await;
        assert!(objects(&world, Vec::new()).await.contains(&stray.to_owned()), "{stray}");
    }
}

/// Four blobs of one partition, published.
async fn four_blobs() -> World {
    let world = World::new(1).await;
    for _ in 0..4 {
        world.seal(0, 3500).await;
    }
    world.publisher().publish_available().await.unwrap();
    world
}

fn record_of(name: fn(Partition, Seq) -> Path, first: u64) -> Path {
    name(Partition::new(0).unwrap(), Seq::new(first).unwrap())
}

#[tokio::test]
async fn any_number_of_plans_behind_the_last_certificate_may_lack_theirs_and_none_before_it() {
    let world = four_blobs().await;
    let mut taken = Vec::new();
    for first in (0..4).rev() {
        let name = record_of(names::certificate, first);
        taken.push((name.clone(), read(&world.store, &name).await.unwrap().unwrap()));
        world.store.delete(&name).await.unwrap();
        assert_eq!(objects(&world, Vec::new()).await, Vec::<String>::new(), "without those from {first} on");
    }
    for (at, (name, bytes)) in taken.iter().enumerate() {
        world.overwrite(name, bytes.clone()).await;
        let before: Vec<String> = (0..3 - at as u64).map(|first| record_of(names::certificate, first).to_string()).collect();
        assert_eq!(objects(&world, Vec::new()).await, before, "{name} is recorded and not all before it");
    }
    // A gap between plans is one, certificates or not.
    for first in 1..4 {
        world.store.delete(&record_of(names::certificate, first)).await.unwrap();
    }
    let gap = record_of(names::plan, 2);
    world.store.delete(&gap).await.unwrap();
    assert!(objects(&world, Vec::new()).await.contains(&gap.to_string()));
}

#[tokio::test]
async fn a_certificate_that_was_recorded_behind_the_back_of_the_listing_is_not_called_missing() {
    let world = four_blobs().await;
    let place = |first| (Partition::new(0).unwrap(), Seq::new(first).unwrap());
    let listing = Listing {
        certificates: [0, 2].map(place).into_iter().collect(),
        plans: [0, 1, 2, 3].map(place).into_iter().collect(),
        ..Listing::default()
    };
    let audit = Audit { checked: checked(&world), depth: Depth::All, archived: BTreeSet::new() };
    let mut lanes = audit.lanes(&listing).await.unwrap();
    let (wrong, pairs) = paired(lanes.remove(0));
    assert_eq!(wrong, []);
    assert_eq!(pairs.iter().map(|(_, blob)| blob.is_some()).collect::<Vec<_>>(), [true, true, true, false]);
}

#[tokio::test]
async fn a_payload_whose_blob_is_not_certified_yet_is_owned_by_its_plan_and_flips_in_it_are_found() {
    let world = World::new(1).await;
    world.seal(0, 100).await;
    let dying = Faulty::new(Arc::clone(&world.store), Fault::DiesAfter(1));
    assert!(world.publisher_on(dying, quick()).publish_available().await.is_err());
    assert_eq!(objects(&world, Vec::new()).await, Vec::<String>::new());
    let (path, bytes) =
        world.objects().await.into_iter().find(|(path, _)| names::parse_payload(path).is_some()).expect("it is archived");
    for at in (0..bytes.len()).step_by(11) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        world.overwrite(&path, Bytes::from(flipped)).await;
        assert_eq!(objects(&world, Vec::new()).await, [path.to_string()], "byte {at}");
    }
}
