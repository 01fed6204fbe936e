//! Which payloads the archive made up for, and which are nowhere.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use object_store::ObjectStoreExt;

use super::*;
use crate::eigenda::stub::{Answer, Stub};
use crate::eigenda::{EigenDa, EigenDaSettings, RETENTION};
use crate::fixture::World;
use crate::metrics::BackendMetrics;
use crate::names;

/// So many payloads on EigenDA and in the archive of this world.
async fn published(world: &World, stub: &Stub, count: u8) -> (Arc<EigenDa>, Vec<Certificate>) {
    let (committer, clock) = (Arc::clone(&world.committer), world.clock.clone());
    let eigenda = EigenDa::new(EigenDaSettings::new(stub.url()), committer, clock, BackendMetrics::default()).unwrap();
    let mut certificates = Vec::new();
    for number in 0..count {
        let payload = Bytes::from(vec![number; 900]);
        let certificate = eigenda.disperse(payload.clone()).await.unwrap();
        world.overwrite(&names::payload(&certificate.commitment), payload).await;
        certificates.push(certificate);
    }
    (Arc::new(eigenda), certificates)
}

fn witness(world: &World, backend: Arc<dyn DaClient>) -> Witness {
    let (store, committer) = (Arc::clone(&world.store), Arc::clone(&world.committer));
    Witness::new(Archive::new(backend, store, committer, BackendMetrics::default()))
}

#[tokio::test]
async fn each_payload_that_the_backend_does_not_give_is_counted_once_with_the_first_reason() {
    let (world, stub) = (World::new(1).await, Stub::start().await);
    let (eigenda, certificates) = published(&world, &stub, 3).await;
    let witness = witness(&world, eigenda);
    witness.retrieve(&certificates[0].wanted()).await.unwrap();
    assert_eq!(witness.from_archive(), FromArchive::default(), "the backend gave it");
    for _ in 0..2 {
        stub.on_get(Answer::Status(503, b"away".to_vec()));
        witness.retrieve(&certificates[1].wanted()).await.unwrap();
    }
    stub.on_get(Answer::Status(200, b"a lie".to_vec()));
    witness.retrieve(&certificates[2].wanted()).await.unwrap();
    let seen = witness.from_archive();
    assert_eq!((seen.blobs_from_archive, seen.blobs_expired), (2, 0));
    let reason = seen.archive_reason.clone().unwrap();
    assert!(
        reason.contains(&certificates[1].blob_id().to_string()) && reason.ends_with("EigenDA does not work for now: away"),
        "{reason}"
    );
    assert_eq!(seen.to_string(), format!("2 payloads of blobs and manifests from the archive alone: {reason}"));
}

#[tokio::test]
async fn what_has_expired_is_counted_apart_and_another_reason_is_named_before_it() {
    let (world, stub) = (World::new(1).await, Stub::start().await);
    let (eigenda, certificates) = published(&world, &stub, 2).await;
    let witness = witness(&world, eigenda);
    stub.forget();
    world.clock.advance(RETENTION);
    witness.retrieve(&certificates[0].wanted()).await.unwrap();
    let seen = witness.from_archive();
    assert_eq!((seen.blobs_from_archive, seen.blobs_expired), (1, 1));
    assert!(seen.to_string().contains("alone, for they have expired: certificate 0x"), "{seen}");
    stub.on_get(Answer::Lost);
    witness.retrieve(&certificates[1].wanted()).await.unwrap();
    let seen = witness.from_archive();
    assert_eq!((seen.blobs_from_archive, seen.blobs_expired), (2, 1));
    assert!(seen.archive_reason.clone().unwrap().contains(&certificates[1].blob_id().to_string()), "{seen}");
    assert!(seen.to_string().contains("1 of them for they have expired, the others: "), "{seen}");
}

#[tokio::test]
async fn what_another_backend_certified_comes_from_the_archive_and_that_is_said() {
    let (world, stub) = (World::new(1).await, Stub::start().await);
    let (_, certificates) = published(&world, &stub, 1).await;
    let witness = witness(&world, world.client());
    witness.retrieve(&certificates[0].wanted()).await.unwrap();
    let seen = witness.from_archive();
    let reason = "`eigenda` has certified it, not the backend at hand, `local`";
    assert_eq!((seen.blobs_from_archive, seen.archive_reason.as_deref()), (1, Some(reason)));
}

#[tokio::test]
async fn missing_is_what_is_nowhere_and_not_what_is_damaged_or_may_come_later() {
    let (world, stub) = (World::new(1).await, Stub::start().await);
    let (eigenda, certificates) = published(&world, &stub, 1).await;
    let (wanted, name) = (certificates[0].wanted(), names::payload(&certificates[0].commitment));
    let other = witness(&world, world.client());
    world.overwrite(&name, Bytes::from_static(b"damaged")).await;
    assert_eq!(other.retrieve(&wanted).await.unwrap_err().code(), "da_corrupt");
    world.store.delete(&name).await.unwrap();
    let nowhere = other.retrieve(&wanted).await.unwrap_err();
    let said = nowhere.to_string();
    assert_eq!(nowhere.code(), "da_missing");
    assert!(said.contains(name.as_ref()) && said.contains("`local`") && said.contains("`eigenda`"), "{said}");

    let same = witness(&world, eigenda);
    stub.on_get(Answer::Status(200, b"a lie".to_vec()));
    assert_eq!(same.retrieve(&wanted).await.unwrap_err().code(), "da_corrupt", "the backend gave something else");
    stub.on_get(Answer::Lost);
    assert_eq!(same.retrieve(&wanted).await.unwrap_err().code(), "da_unavailable", "it may come later");
    stub.forget();
    world.clock.advance(RETENTION);
    let gone = same.retrieve(&wanted).await.unwrap_err();
    assert!(gone.code() == "da_missing" && gone.to_string().contains("expired at"), "{gone}");
    assert_eq!(same.from_archive(), FromArchive::default());

    let local = world.client();
    let wanted = local.disperse(Bytes::from_static(b"payload")).await.unwrap().wanted();
    let (_, committed) = crate::committed::committed(&wanted.certificate).unwrap();
    world.store.delete(&committed.payload_name()).await.unwrap();
    let lost = witness(&world, local).retrieve(&wanted).await.unwrap_err();
    assert!(lost.code() == "da_missing" && lost.to_string().contains(committed.payload_name().as_ref()), "{lost}");
}
