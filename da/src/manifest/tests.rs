#![allow(clippy::unwrap_used, clippy::panic)]
use std::collections::BTreeSet;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use tributary_schemas::units::Hash;

use super::*;
use crate::client::{DaClient, Wanted};
use crate::eigenda::stub::Stub;
use crate::eigenda::{EigenDa, EigenDaSettings};
use crate::faulty::{Call, DaFault, FaultyDa};
use crate::fixture::{Fault, Faulty, World, quick};
use crate::local::LocalDa;
use crate::metrics::BackendMetrics;
use crate::outbox::{Outbox, OutboxSettings, PublisherId};
use crate::record::BlobRecord;
use crate::restore::{Nearby, Restored};

/// Room for three recorded blobs, or two and what closes an epoch.
const SMALL: usize = 4_000;

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

/// What closes an epoch; to this stage it is text.
fn closing(world: &World, number: u64) -> Closing {
    let genesis = String::from_utf8(world.journal.genesis().encode().to_vec()).unwrap();
    Closing { genesis, epoch_record: format!("{{\"number\":{number}}}\n"), root: keccak256(number.to_be_bytes()) }
}

/// A deployment of two partitions whose batches are each in a blob of its own, and the cuts of its epochs.
struct Scene {
    world: World,
    cuts: Vec<Cut>,
}

impl Scene {
    /// Each epoch adds so many blobs to both partitions.
    async fn new(epochs: &[usize]) -> Self {
        let (world, mut cuts) = (World::new(2).await, vec![Cut::empty()]);
        for blobs in epochs {
            for _ in 0..*blobs {
                world.seal(0, 3000).await;
                world.seal(1, 3500).await;
            }
            world.publisher().publish_available().await.unwrap();
            cuts.push(Certificates::new(Arc::clone(&world.store)).certified().await.unwrap());
        }
        Self { world, cuts }
    }

    /// A publisher of manifests that sees the world through a store, and publishes through a client.
    fn manifests_with(&self, store: Arc<dyn ObjectStore>, client: Arc<dyn DaClient>, settings: ManifestSettings) -> Manifests {
        let dispersal = Dispersal::new(Arc::clone(&store), client, Arc::clone(&self.world.committer), &quick());
        let certificates = Arc::new(Certificates::new(Arc::clone(&store)));
        Manifests::new(store, self.world.journal.genesis().clone(), certificates, dispersal, settings)
    }

    fn manifests_on(&self, store: Arc<dyn ObjectStore>) -> Manifests {
        let clock = self.world.clock.clone() as Arc<dyn tributary_schemas::ids::Clock>;
        let client = LocalDa::with_committer(Arc::clone(&store), clock, Arc::clone(&self.world.committer));
        self.manifests_with(store, Arc::new(client), ManifestSettings { page_bytes_max: SMALL, ..ManifestSettings::default() })
    }

    fn manifests(&self) -> Manifests {
        self.manifests_on(Arc::clone(&self.world.store))
    }

    fn closed(&self, number: usize) -> Closed<'_> {
        let closing = closing(&self.world, number as u64);
        Closed { epoch: epoch(number as u64), after: &self.cuts[number - 1], cut: &self.cuts[number], closing }
    }

    async fn publish(&self, manifests: &Manifests, number: usize) -> Result<ManifestRecord, DaError> {
        manifests.publish(self.closed(number), Instant::now()).await
    }

    /// Publishes the manifests of all epochs; gives the last page's record.
    async fn publish_all(&self, manifests: &Manifests) -> Result<ManifestRecord, DaError> {
        let mut last = None;
        for number in 1..self.cuts.len() {
            last = Some(self.publish(manifests, number).await?);
        }
        Ok(last.unwrap())
    }

    async fn blobs(&self) -> Vec<BlobRecord> {
        self.world.recorded().await
    }

    /// Everything that is read back from a certificate, through a client, into a new store.
    async fn read_back(&self, client: Arc<dyn DaClient>, last: &ManifestRecord) -> Result<(Vec<Page>, World), DaError> {
        let target = World { store: Arc::new(InMemory::new()), ..World::new(1).await };
        let (page, payload) = read_page(client.as_ref(), &last.certificate.wanted()).await?;
        let since = self.world.journal.genesis().created_at;
        let certificate = Certificate::recovered(&last.certificate.wanted(), &payload, since)?;
        let last = LastPage { page, payload, certificate, since };
        let restored = Restored::new(Arc::clone(&target.store));
        let chain = Chain::follow(client.as_ref(), last, &restored, &|| {}).await?;
        let pages: Vec<Page> = chain.pages().try_collect().await?;
        assert_eq!(chain.blobs(), pages.iter().map(|page| page.blobs.len() as u64).sum::<u64>());
        Ok((pages, target))
    }
}

async fn manifest_objects(world: &World) -> Vec<(object_store::path::Path, Bytes)> {
    world.objects().await.into_iter().filter(|(path, _)| path.as_ref().starts_with(names::MANIFESTS)).collect()
}

#[tokio::test]
async fn a_manifest_of_many_pages_comes_back_from_its_last_certificate_alone() {
    let scene = Scene::new(&[5, 0, 4]).await;
    let last = scene.publish_all(&scene.manifests()).await.unwrap();
    assert!(last.last && last.epoch == epoch(3) && last.page > 1, "{last:?}");
    let (pages, target) = scene.read_back(scene.world.client(), &last).await.unwrap();
    assert!(pages.len() > 6, "{}", pages.len());
    for (page, after) in pages.iter().zip(pages.iter().skip(1)) {
        assert!(page.encode().len() <= SMALL);
        let next = if page.closing.is_some() {
            PageAt::first(page.at.epoch.next())
        } else {
            PageAt { page: page.at.page + 1, ..page.at }
        };
        assert_eq!(after.at, next);
    }
    let listed: Vec<BlobRecord> = pages.iter().flat_map(|page| page.blobs.clone()).collect();
    let (unique, recorded): (BTreeSet<_>, Vec<_>) = (listed.iter().map(|blob| blob.blob_id).collect(), scene.blobs().await);
    assert_eq!((listed.len(), unique.len()), (recorded.len(), recorded.len()), "each blob once");
    assert!(recorded.iter().all(|blob| listed.contains(blob)));
    let closings: Vec<Closing> = pages.iter().filter_map(|page| page.closing.clone()).collect();
    assert_eq!(closings, [1, 2, 3].map(|number| closing(&scene.world, number)));
    assert_eq!(manifest_objects(&target).await, manifest_objects(&scene.world).await, "the same records, byte for byte");
}

#[tokio::test]
async fn a_page_has_one_spelling_and_every_flipped_bit_of_it_is_found() {
    let scene = Scene::new(&[1]).await;
    let last = scene.publish_all(&scene.manifests()).await.unwrap();
    let (_, payload) = read_page(scene.world.client().as_ref(), &last.certificate.wanted()).await.unwrap();
    assert_eq!(Page::decode(&payload).unwrap().encode(), payload);
    for bit in 0..payload.len() * 8 {
        let mut flipped = payload.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Page::decode(&flipped).is_err(), "bit {bit}");
    }
    for end in 0..payload.len() {
        assert!(Page::decode(&payload[..end]).is_err(), "cut at {end}");
    }
    let text = std::str::from_utf8(&payload).unwrap();
    let beginning = format!(
        "{{\"format\":1,\"kind\":\"tributary-manifest\",\"deployment\":\"{}\",\"epoch\":1,\"page\":0,\"blobs\":[\"{{\\\"format\\\":1,",
        last.deployment
    );
    assert!(text.starts_with(&beginning), "{text}");
}

#[tokio::test]
async fn a_page_of_records_out_of_order_or_of_another_deployment_is_no_page() {
    let scene = Scene::new(&[2]).await;
    let last = scene.publish_all(&scene.manifests()).await.unwrap();
    let (page, _) = read_page(scene.world.client().as_ref(), &last.certificate.wanted()).await.unwrap();
    let broken = |change: &dyn Fn(&mut Page)| {
        let mut page = Page { at: PageAt::first(epoch(1)), previous: None, ..page.clone() };
        change(&mut page);
        Page::decode(&page.encode()).unwrap_err().to_string()
    };
    let all = scene.blobs().await;
    assert!(broken(&|page| page.blobs = vec![all[1].clone(), all[0].clone()]).contains("does not follow"));
    assert!(broken(&|page| page.blobs = vec![all[2].clone(), all[0].clone()]).contains("does not follow"));
    assert!(broken(&|page| page.blobs = vec![all[0].clone(), all[0].clone()]).contains("does not follow"));
    assert!(broken(&|page| page.deployment.0[0] ^= 1).contains("another deployment"));
    assert!(broken(&|page| page.at.page = 1).contains("names no page before it"));
    let before = Previous { certificate: Bytes::from_static(b"x"), expires_at: None, payload_hash: Hash::ZERO };
    assert!(broken(&|page| page.previous = Some(before.clone())).contains("names one before it"));
}

#[tokio::test]
async fn pages_fill_up_and_what_does_not_fit_is_refused() {
    let scene = Scene::new(&[6]).await;
    let blobs = scene.blobs().await;
    let deployment = scene.world.journal.genesis().deployment;
    let before = Previous { certificate: Bytes::from(vec![7; 164]), expires_at: None, payload_hash: Hash::ZERO };
    for bytes_max in (2_000..14_000).step_by(37) {
        let mut pages = Pages::new(deployment, epoch(2), blobs.clone(), closing(&scene.world, 2), bytes_max);
        let mut listed = 0;
        for number in 0.. {
            let page = pages.next(Some(before.clone())).unwrap();
            let (size, room) = (page.encode().len(), blobs.get(listed + page.blobs.len()));
            assert!(size <= bytes_max && page.at.page == number, "{size} of {bytes_max}");
            assert_eq!(page.blobs, blobs[listed..listed + page.blobs.len()]);
            if let Some(next) = room {
                let mut fuller = page.clone();
                fuller.blobs.push(next.clone());
                assert!(fuller.encode().len() > bytes_max, "one more would have fitted");
            }
            listed += page.blobs.len();
            if page.closing.is_some() {
                break;
            }
        }
        assert_eq!(listed, blobs.len());
    }
    let mut pages = Pages::new(deployment, epoch(2), blobs, closing(&scene.world, 2), 1_000);
    let refused = pages.next(Some(before)).unwrap_err();
    assert!(refused.code() == "da_rejected" && refused.to_string().contains("not even one"), "{refused}");
}

/// Kills a publisher of manifests at its k-th put for every k until it survives; the next one completes them.
async fn dies_at_every_put(fault: impl Fn(u64) -> Fault) {
    let mut in_the_middle = 0;
    for put in 0.. {
        assert!(put < 100, "a manifest has a bounded number of puts");
        let scene = Scene::new(&[3, 2]).await;
        let dying = Faulty::new(Arc::clone(&scene.world.store), fault(put));
        let died = scene.publish_all(&scene.manifests_on(dying)).await.is_err();
        let left = manifest_objects(&scene.world).await;
        in_the_middle += usize::from(died && !left.is_empty());
        let last = scene.publish_all(&scene.manifests()).await.unwrap();
        let after = manifest_objects(&scene.world).await;
        assert!(left.iter().all(|object| after.contains(object)), "what was recorded stays, killed at put {put}");
        let (pages, _) = scene.read_back(scene.world.client(), &last).await.unwrap();
        assert_eq!(pages.iter().map(|page| page.blobs.len()).sum::<usize>(), 10, "killed at put {put}");
        if !died {
            break;
        }
    }
    assert!(in_the_middle > 4, "{in_the_middle}");
}

#[tokio::test]
async fn a_publisher_killed_before_any_of_its_puts_is_completed_by_the_next() {
    dies_at_every_put(Fault::DiesBefore).await;
}

#[tokio::test]
async fn a_publisher_killed_after_any_of_its_puts_is_completed_by_the_next() {
    dies_at_every_put(Fault::DiesAfter).await;
}

#[tokio::test]
async fn of_two_publishers_at_once_both_end_with_one_chain() {
    for seed in 0..30 {
        let scene = Scene::new(&[4, 3]).await;
        let [one, other] = [2 * seed, 2 * seed + 1]
            .map(|seed| scene.manifests_on(Faulty::new(Arc::clone(&scene.world.store), Fault::Unruly(seed))));
        let (a, b) = tokio::join!(scene.publish_all(&one), scene.publish_all(&other));
        // An answer may be lost more often than a call is tried; the next job is through then.
        let again = scene.publish_all(&scene.manifests()).await.unwrap();
        for last in [a, b].into_iter().flatten() {
            assert_eq!(last, again, "seed {seed}");
        }
        let (pages, _) = scene.read_back(scene.world.client(), &again).await.unwrap();
        assert_eq!(pages.iter().map(|page| page.blobs.len()).sum::<usize>(), 14, "seed {seed}");
    }
}

#[tokio::test]
async fn a_recorded_page_that_is_another_is_damage_and_so_is_a_missing_one() {
    let scene = Scene::new(&[3, 2]).await;
    let manifests = scene.manifests();
    let other = Closed { closing: closing(&scene.world, 9), ..scene.closed(1) };
    let wrong = manifests.publish(other, Instant::now()).await.unwrap();
    let refused = scene.publish(&manifests, 1).await.unwrap_err();
    let name = names::manifest(wrong.epoch, wrong.page).to_string();
    assert!(matches!(&refused, DaError::Corrupt { object, .. } if *object == name), "{refused}");
    scene.world.store.delete(&names::manifest(wrong.epoch, wrong.page)).await.unwrap();
    let refused = scene.publish(&manifests, 2).await.unwrap_err();
    assert!(matches!(&refused, DaError::Corrupt { object, what } if *object == name && what.contains("missing")), "{refused}");
    scene.publish_all(&manifests).await.unwrap();
}

#[tokio::test]
async fn nothing_is_published_while_paused_or_over_what_is_not_certified_and_a_backend_is_waited_for_until_the_deadline() {
    let scene = Scene::new(&[1]).await;
    let (store, client) = (Arc::clone(&scene.world.store), scene.world.client());
    let paused = ManifestSettings { paused: true, ..ManifestSettings::default() };
    let paused = scene.manifests_with(Arc::clone(&store), client.clone(), paused);
    let refused = scene.publish(&paused, 1).await.unwrap_err();
    assert!(refused.to_string().contains("`da.paused`"), "{refused}");

    let beyond = [(tributary_schemas::ids::Partition::new(0).unwrap(), tributary_schemas::ids::Seq::new(9).unwrap())];
    let beyond: Cut = beyond.into_iter().collect();
    let closed = Closed { cut: &beyond, ..scene.closed(1) };
    let late = scene.manifests().publish(closed, Instant::now()).await.unwrap_err();
    assert!(matches!(late, DaError::Late { .. }), "{late}");
    assert_eq!(manifest_objects(&scene.world).await, []);

    let down = FaultyDa::new(client.clone(), |call| match call {
        Call::Disperse(number) if number < 3 => DaFault::Down,
        _ => DaFault::None,
    });
    let waiting = scene.manifests_with(store, Arc::clone(&down) as Arc<dyn DaClient>, ManifestSettings::default());
    let refused = scene.publish(&waiting, 1).await.unwrap_err();
    assert!(matches!(refused, DaError::Down { .. }), "no time is left: {refused}");
    waiting.publish(scene.closed(1), Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(down.dispersals(), 4);
    // What is recorded is given without asking the backend, paused or not.
    assert!(scene.publish(&paused, 1).await.unwrap().last);
}

#[tokio::test]
async fn what_another_job_sent_is_waited_for_until_the_deadline_and_taken_over_when_its_time_is_over() {
    let scene = Scene::new(&[1]).await;
    let network = FaultyDa::new(scene.world.client(), |_| DaFault::None);
    let job = |store: Arc<dyn ObjectStore>, id: u8| {
        let settings = OutboxSettings {
            publisher: PublisherId([id; 16]),
            attempt_max: Duration::from_secs(60),
            paid_pause_max: Duration::ZERO,
        };
        let (behind, clock) = (Arc::clone(&network) as Arc<dyn DaClient>, scene.world.clock.clone());
        let outbox = Outbox::new(behind, Arc::clone(&store), clock, settings, BackendMetrics::default());
        scene.manifests_with(store, Arc::new(outbox), ManifestSettings::default())
    };
    // Archived, noted and sent; the job dies before it notes the answer.
    let dying = Faulty::new(Arc::clone(&scene.world.store), Fault::DiesBefore(2));
    assert!(scene.publish(&job(dying, 1), 1).await.is_err());
    assert_eq!((network.dispersals(), manifest_objects(&scene.world).await.len()), (1, 0));
    let other = job(Arc::clone(&scene.world.store), 2);
    let waits = scene.publish(&other, 1).await.unwrap_err();
    assert!(matches!(waits, DaError::UnderWay { .. }), "{waits}");
    scene.world.clock.advance(Duration::from_secs(120));
    assert!(scene.publish(&other, 1).await.unwrap().last);
    assert_eq!(network.dispersals(), 2);
}

#[tokio::test]
async fn a_blobs_certificate_is_refused_as_no_manifest_and_a_damaged_page_is_named_by_its_certificate() {
    let scene = Scene::new(&[2]).await;
    let client = scene.world.client();
    let blob = scene.blobs().await[0].clone();
    let refused = read_page(client.as_ref(), &blob.certificate.wanted()).await.unwrap_err();
    let named = format!("certificate {}", blob.blob_id);
    assert!(
        matches!(&refused, DaError::Reject { object, what } if *object == named && what.contains("sealed batches")),
        "{refused}"
    );
    let text = client.disperse(Bytes::from_static(b"anything else")).await.unwrap();
    let refused = read_page(client.as_ref(), &text.wanted()).await.unwrap_err();
    assert!(refused.to_string().contains("it is no manifest"), "{refused}");
    let damaged = client.disperse(Bytes::from_static(b"{\"format\":1}")).await.unwrap();
    let refused = read_page(client.as_ref(), &damaged.wanted()).await.unwrap_err();
    assert!(matches!(&refused, DaError::Corrupt { object, .. } if object.starts_with("certificate 0x")), "{refused}");
}

/// Publishes a page as it is, with its record.
async fn forge(scene: &Scene, page: &Page) -> ManifestRecord {
    page.certified(scene.world.client().disperse(page.encode()).await.unwrap())
}

#[tokio::test]
async fn a_chain_that_is_out_of_place_or_of_another_deployment_names_the_certificate_that_does_not_fit() {
    let scene = Scene::new(&[1, 1]).await;
    let last = scene.publish_all(&scene.manifests()).await.unwrap();
    let (pages, _) = scene.read_back(scene.world.client(), &last).await.unwrap();
    let (first, second) = (pages.first().unwrap().clone(), pages.last().unwrap().clone());
    let elsewhere = Page { deployment: tributary_journal::genesis::DeploymentId([9; 16]), blobs: Vec::new(), ..first.clone() };
    let unfinished = Page { closing: None, ..first.clone() };
    let mut other_genesis = first.clone();
    other_genesis.closing.as_mut().unwrap().genesis.push(' ');
    for (before, what) in [(elsewhere, "deployment"), (unfinished, "not the last"), (other_genesis, "genesis record")] {
        let before = forge(&scene, &before).await;
        let after = forge(&scene, &Page { previous: Some(Previous::of(&before)), ..second.clone() }).await;
        let refused = scene.read_back(scene.world.client(), &after).await.err().unwrap();
        let named = format!("certificate {}", before.certificate.blob_id());
        assert!(
            matches!(&refused, DaError::Corrupt { object, what: said } if *object == named && said.contains(what)),
            "{refused}"
        );
    }
    // A page that skips one, and one whose content is another than the page after it says.
    let skipping = Page { at: PageAt::first(epoch(4)), previous: Some(Previous::of(&last)), ..second.clone() };
    let refused = scene.read_back(scene.world.client(), &forge(&scene, &skipping).await).await.err().unwrap();
    assert!(refused.to_string().contains("does not come before page 0 of epoch 4"), "{refused}");
    let lying = Previous { payload_hash: Hash::ZERO, ..second.previous.clone().unwrap() };
    let refused = scene.read_back(scene.world.client(), &forge(&scene, &Page { previous: Some(lying), ..second }).await).await;
    assert!(refused.err().unwrap().to_string().contains("is not the one that page 0 of epoch 2 names"));
}

#[tokio::test]
async fn what_an_earlier_attempt_brought_is_not_fetched_again_and_not_trusted() {
    let scene = Scene::new(&[4]).await;
    let last = scene.publish_all(&scene.manifests()).await.unwrap();
    let (pages, target) = scene.read_back(scene.world.client(), &last).await.unwrap();
    let nobody = FaultyDa::new(scene.world.client(), |_| DaFault::Down);
    let (store, committer) = (Arc::clone(&target.store), Arc::clone(&scene.world.committer));
    let near = Arc::new(Nearby::new(store, committer, Arc::clone(&nobody) as Arc<dyn DaClient>));
    let (again, _) = scene.read_back(near.clone(), &last).await.unwrap();
    assert_eq!(again, pages);
    target.overwrite(&names::payload(&last.certificate.commitment), Bytes::from_static(b"damaged")).await;
    let refused = near.retrieve(&last.certificate.wanted()).await.unwrap_err();
    assert_eq!(refused.code(), "da_corrupt");
    // What is not there the other one is asked for: for long if it is away, and if it is only busy until it answers.
    let absent = Wanted { certificate: scene.blobs().await[0].certificate.bytes.clone(), expires_at: None };
    assert!(near.retrieve(&absent).await.is_err());
    let busy = FaultyDa::new(scene.world.client(), |call| match call {
        Call::Retrieve(number) if number < 2 => DaFault::Busy,
        _ => DaFault::None,
    });
    let (store, committer) = (Arc::clone(&target.store), Arc::clone(&scene.world.committer));
    let near = Nearby::new(store, committer, busy as Arc<dyn DaClient>);
    assert!(near.retrieve(&absent).await.is_ok());
}

#[tokio::test]
async fn pages_on_eigenda_come_back_through_the_proxy_by_their_certificates_alone() {
    let scene = Scene::new(&[2, 3]).await;
    let (stub, clock) = (Stub::start().await, scene.world.clock.clone());
    let committer = Arc::clone(&scene.world.committer);
    let eigenda = EigenDa::new(EigenDaSettings::new(stub.url()), committer, clock, BackendMetrics::default()).unwrap();
    let eigenda: Arc<dyn DaClient> = Arc::new(eigenda);
    let settings = ManifestSettings { page_bytes_max: SMALL, ..ManifestSettings::default() };
    let manifests = scene.manifests_with(Arc::clone(&scene.world.store), Arc::clone(&eigenda), settings);
    let last = scene.publish_all(&manifests).await.unwrap();
    // What is archived is not read: neither store nor archive is behind this client.
    let (pages, target) = scene.read_back(Arc::clone(&eigenda), &last).await.unwrap();
    assert!(pages.len() > 4, "{}", pages.len());
    let (theirs, ours) = (manifest_objects(&scene.world).await, manifest_objects(&target).await);
    assert_eq!(ours.len(), pages.len());
    for ((name, theirs), (at, ours)) in theirs.into_iter().zip(ours) {
        let (epoch, page) = names::parse_manifest(&name).unwrap();
        let [theirs, ours] = [theirs, ours].map(|bytes| ManifestRecord::decode(epoch, page, &bytes).unwrap());
        // When it was sent stands for when it was certified, which no page says.
        assert!(ours.certificate.certified_at <= theirs.certificate.certified_at);
        let certified_at = theirs.certificate.certified_at;
        let as_recorded = Certificate { certified_at, ..ours.certificate.clone() };
        assert_eq!((at, ManifestRecord { certificate: as_recorded, ..ours }), (name, theirs));
    }
    // Of the one that is named alone no time is known but that it is not before `since`.
    let named = Wanted { certificate: last.certificate.bytes.clone(), expires_at: None };
    let (since, payload) = (scene.world.journal.genesis().created_at, eigenda.retrieve(&named).await.unwrap());
    let recovered = Certificate::recovered(&named, &payload, since).unwrap();
    assert_eq!((recovered.certified_at, recovered.expires_at), (since, Some(crate::eigenda::expiry(since).unwrap())));
    assert!(recovered.expires_at < last.certificate.expires_at, "not a moment too long");
}

#[tokio::test]
async fn the_last_whole_manifest_is_found_and_an_unfinished_one_after_it_is_passed_over() {
    let scene = Scene::new(&[1, 4]).await;
    let manifests = scene.manifests();
    let records = manifests.records();
    assert_eq!((records.latest().await.unwrap(), records.latest_whole().await.unwrap()), (None, None));
    let first = scene.publish(&manifests, 1).await.unwrap();
    assert_eq!(records.latest_whole().await.unwrap(), Some(first.clone()));
    let last = scene.publish(&manifests, 2).await.unwrap();
    assert_eq!(records.latest_whole().await.unwrap(), Some(last.clone()));
    scene.world.store.delete(&names::manifest(last.epoch, last.page)).await.unwrap();
    assert_eq!(records.latest().await.unwrap().map(|record| record.page), Some(last.page - 1));
    assert_eq!(records.latest_whole().await.unwrap(), Some(first.clone()));
    assert_eq!(scene.world.findings().await.len(), 1, "the payload of the page that is not recorded any more");
    scene.world.store.delete(&names::manifest(first.epoch, first.page)).await.unwrap();
    let missing = records.latest_whole().await.unwrap_err();
    assert!(matches!(missing, DaError::Corrupt { .. }), "{missing}");
    let found = scene.world.findings().await;
    assert_eq!(found[0].object, names::manifest(first.epoch, first.page).to_string());
    assert!(found[0].what.contains("it is missing, though da/manifests/0000000002/00000.json is recorded"), "{found:?}");
}
