//! A backend that is paid: what it costs when publishers die, meet, or are not answered, and that nothing else comes of it.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::gate::Gate;
use super::{blobs, blobs_ahead, two_blobs_ahead};
use crate::eigenda::stub::{Answer, Stub};
use crate::eigenda::{EigenDa, EigenDaSettings, RETENTION};
use crate::faulty::{DaFault, FaultyDa};
use crate::fixture::{Fault, Faulty, World, quick};
use crate::outbox::State;
use crate::settings::Settings;
use crate::{
    Archive, BackendMetrics, BlobRecord, Certificates, DaClient, DaError, Failover, FailoverSettings, LocalDa, Outbox,
    OutboxSettings, Plan, Publisher, PublisherId, names, recover,
};

/// How long a dispersal takes at most.
pub(super) const ATTEMPT_MAX: Duration = Duration::from_secs(60);

/// Two blobs wait to be published on a network that has a store of its own.
struct Scene {
    world: World,
    network: Arc<FaultyDa>,
    metrics: BackendMetrics,
}

impl Scene {
    async fn new() -> Self {
        Self::of(two_blobs_ahead().await)
    }

    fn of(world: World) -> Self {
        let far: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let local = LocalDa::with_committer(far, world.clock.clone(), Arc::clone(&world.committer));
        let network = FaultyDa::new(Arc::new(local), |_| DaFault::None);
        Self { world, network, metrics: BackendMetrics::default() }
    }

    fn publisher(&self, store: Arc<dyn ObjectStore>, id: u8, settings: Settings) -> Arc<Publisher> {
        let network = Arc::clone(&self.network) as Arc<dyn DaClient>;
        let outbox = outbox(&self.world, network, Arc::clone(&store), id, &self.metrics);
        self.world.publisher_with(store, outbox, settings)
    }

    /// That all is published, and each blob was sent once, without a fault that may have been paid for.
    async fn assert_each_is_paid_once(&self, seed: u64) {
        assert_complete(&self.world, self.network.clone()).await;
        let blobs = blobs(&self.world).await.len() as u64;
        assert_eq!((self.network.dispersals(), self.noted().await), (blobs, blobs), "seed {seed}");
        assert_eq!((self.metrics.puts_again.get(), self.metrics.possibly_paid.get()), (0, 0), "seed {seed}");
    }

    /// How many attempts were noted before they were made.
    async fn noted(&self) -> u64 {
        let listed: Vec<ObjectMeta> = self.world.store.list(Some(&Path::from(names::OUTBOX))).try_collect().await.unwrap();
        let entries = listed.iter().map(|object| names::parse_outbox(&object.location).unwrap());
        entries.filter(|(_, state)| *state == State::Sent).count() as u64
    }
}

pub(super) fn outbox(
    world: &World,
    behind: Arc<dyn DaClient>,
    store: Arc<dyn ObjectStore>,
    id: u8,
    metrics: &BackendMetrics,
) -> Arc<dyn DaClient> {
    let settings = OutboxSettings { publisher: PublisherId([id; 16]), attempt_max: ATTEMPT_MAX, paid_pause_max: Duration::ZERO };
    Arc::new(Outbox::new(behind, store, world.clock.clone(), settings, metrics.clone()))
}

/// Everything sealed comes back through the client, and the check finds nothing.
pub(super) async fn assert_complete(world: &World, client: Arc<dyn DaClient>) {
    let certificates = Arc::new(Certificates::new(Arc::clone(&world.store)));
    let recovered: Vec<_> = recover::batches(certificates, Arc::clone(&client)).try_collect().await.unwrap();
    let mut sealed = Vec::new();
    for partition in world.journal.genesis().partitions.partitions() {
        sealed.extend(world.sealed(partition.get()).await);
    }
    assert_eq!(recovered, sealed);
    assert_eq!(world.findings_by(client).await, []);
}

/// Publishes everything; when that waits for another publisher, the time passes that one may take.
async fn publish_and_let_time_pass(world: &World, publisher: &Publisher) {
    let time = async {
        while publisher.metrics().waits.get() == 0 {
            tokio::task::yield_now().await;
        }
        world.clock.advance(2 * ATTEMPT_MAX);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        published = publisher.publish_available() => drop(published.unwrap()),
        () = time => {}
    }
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_is_paid_twice_at_most_and_known() {
    let counted = Scene::new().await;
    let store = Faulty::new(Arc::clone(&counted.world.store), Fault::None);
    counted.publisher(store.clone(), 1, quick()).publish_available().await.unwrap();
    assert_eq!(store.puts(), 10, "plan, archive, attempt, its end, certificate of two blobs");
    let (mut paid_twice, mut used_again, mut waits) = (0, 0, 0);
    for (put, at_once) in (0..10).flat_map(|put| [(put, 1), (put, 2)]) {
        // It starts again under its name, or another one goes on.
        for (fault, next) in
            [Fault::DiesBefore(put), Fault::DiesAfter(put)].into_iter().flat_map(|fault| [(fault, 1), (fault, 2)])
        {
            let scene = Scene::new().await;
            let store = Faulty::new(Arc::clone(&scene.world.store), fault);
            let settings = Settings { blobs_in_flight_max: at_once, ..quick() };
            let died = scene.publisher(store, 1, settings).publish_available().await;
            assert!(matches!(died, Err(DaError::Retry { .. })), "{fault:?}: {died:?}");
            let publisher = scene.publisher(Arc::clone(&scene.world.store), next, quick());
            publish_and_let_time_pass(&scene.world, &publisher).await;
            assert_complete(&scene.world, scene.network.clone()).await;
            let (extra, unknown) = (scene.network.dispersals() - 2, scene.metrics.outcomes_unknown.get());
            assert!(extra <= unknown && unknown <= at_once as u64, "{fault:?}: {extra} more, {unknown} unknown");
            assert_eq!((scene.metrics.taken_over.get(), scene.metrics.possibly_paid.get()), (unknown, unknown), "{fault:?}");
            assert!(scene.noted().await >= scene.network.dispersals(), "{fault:?}: nothing is sent without a note");
            let waited = publisher.metrics().waits.get();
            assert_eq!(waited > 0, next == 2 && unknown > 0, "{fault:?}: only for another one");
            assert!(waited <= unknown, "{fault:?}: {waited} waits");
            paid_twice += extra;
            used_again += scene.metrics.certificates_found.get();
            waits += waited;
        }
    }
    assert!(paid_twice > 0 && used_again > 0 && waits > 0, "all were met: {paid_twice} {used_again} {waits}");
}

#[tokio::test]
async fn two_publishers_at_once_pay_once_for_each_blob() {
    let mut waits = 0;
    for seed in 0..60 {
        let scene = Scene::new().await;
        let unruly = |seed| Faulty::new(Arc::clone(&scene.world.store), Fault::Unruly(seed));
        let one = scene.publisher(unruly(2 * seed), 1, quick());
        let two = scene.publisher(unruly(2 * seed + 1), 2, Settings { blob_bytes_max: 3000, ..quick() });
        let (a, b) = tokio::join!(one.publish_available(), two.publish_available());
        assert_eq!(a.unwrap(), b.unwrap(), "seed {seed}");
        scene.assert_each_is_paid_once(seed).await;
        waits += one.metrics().waits.get() + two.metrics().waits.get();
    }
    assert!(waits > 0, "they met");
}

#[tokio::test]
async fn two_publishers_with_several_blobs_of_two_partitions_under_way_pay_once_for_each() {
    let (mut waits, mut most) = (0, 0);
    for seed in 0..40 {
        let scene = Scene::of(blobs_ahead(2, 8).await);
        let unruly = |seed| Faulty::new(Arc::clone(&scene.world.store), Fault::Unruly(seed));
        let gate = Gate::new(Arc::clone(&scene.network) as Arc<dyn DaClient>);
        gate.open();
        let publisher = |id: u8, settings| {
            let store = unruly(2 * seed + u64::from(id));
            let outbox = outbox(&scene.world, gate.clone(), store.clone(), id, &scene.metrics);
            scene.world.publisher_with(store, outbox, settings)
        };
        let one = publisher(0, Settings { blobs_in_flight_max: 3, ..quick() });
        let two = publisher(1, Settings { blobs_in_flight_max: 5, blob_bytes_max: 8000, ..quick() });
        let (a, b) = tokio::join!(one.publish_available(), two.publish_available());
        assert_eq!(a.unwrap(), b.unwrap(), "seed {seed}");
        scene.assert_each_is_paid_once(seed).await;
        assert!(gate.most() <= 8, "seed {seed}: {} at once", gate.most());
        waits += one.metrics().waits.get() + two.metrics().waits.get();
        most = most.max(gate.most());
    }
    assert!(waits > 0 && most > 3, "they met, with several each: {waits} waits, {most} at once");
}

#[tokio::test]
async fn two_publishers_in_front_of_a_proxy_send_each_payload_once() {
    for seed in 0..10 {
        let (world, metrics) = (two_blobs_ahead().await, BackendMetrics::default());
        let (stub, client) = eigenda(&world, &metrics).await;
        let publisher = |id: u8| {
            let store: Arc<dyn ObjectStore> = Faulty::new(Arc::clone(&world.store), Fault::Unruly(2 * seed + u64::from(id)));
            let client = outbox(&world, Arc::clone(&client), Arc::clone(&store), id, &metrics);
            world.publisher_with(store, client, quick())
        };
        let (one, two) = (publisher(1), publisher(2));
        let (a, b) = tokio::join!(one.publish_available(), two.publish_available());
        assert_eq!(a.unwrap(), b.unwrap(), "seed {seed}");
        assert_eq!((stub.paid(), blobs(&world).await.len(), metrics.puts.get()), (2, 2, 2), "seed {seed}");
        assert_eq!(metrics.symbols_billed.get(), 2 * 4096, "seed {seed}");
        assert_complete(&world, archive(&world, client)).await;
    }
}

#[tokio::test]
async fn whoever_waits_goes_on_as_soon_as_the_certificate_is_recorded() {
    let scene = Scene::new().await;
    let world = &scene.world;
    // Planned, noted and sent; the publisher dies before it notes the answer.
    let dying = Faulty::new(Arc::clone(&world.store), Fault::DiesBefore(3));
    let one_by_one = Settings { blobs_in_flight_max: 1, ..quick() };
    assert!(scene.publisher(dying, 1, one_by_one).publish_available().await.is_err());
    assert_eq!((scene.noted().await, scene.network.dispersals()), (1, 1));
    let other = scene.publisher(Arc::clone(&world.store), 2, quick());
    let first = world.journal.genesis().partitions.partitions().next().unwrap();
    let record = async {
        while other.metrics().waits.get() == 0 {
            tokio::task::yield_now().await;
        }
        let name = names::plan(first, tributary_schemas::ids::Seq::FIRST);
        let plan = world.objects().await.into_iter().find(|(path, _)| *path == name).unwrap().1;
        let plan = Plan::decode(first, tributary_schemas::ids::Seq::FIRST, &plan).unwrap();
        let payload = crate::blob::encode(&world.sealed(0).await[..2]);
        let certificate = scene.network.disperse(payload).await.unwrap();
        let record = BlobRecord::new(&plan, certificate);
        world.overwrite(&names::certificate(first, plan.first_seq), record.encode()).await;
    };
    let (published, ()) = tokio::join!(other.publish_available(), record);
    published.unwrap();
    assert_eq!(scene.network.dispersals(), 3, "one of each publisher, and the one that was recorded");
    assert_eq!((scene.metrics.taken_over.get(), scene.metrics.possibly_paid.get()), (0, 0), "nothing was taken over");
    assert_complete(world, scene.network.clone()).await;
}

/// EigenDA's proxy and a client of it, not patient.
async fn eigenda(world: &World, metrics: &BackendMetrics) -> (Stub, Arc<dyn DaClient>) {
    let stub = Stub::start().await;
    let settings = EigenDaSettings { put_timeout: Duration::from_secs(3), ..EigenDaSettings::new(stub.url()) };
    let client = EigenDa::new(settings, Arc::clone(&world.committer), world.clock.clone(), metrics.clone()).unwrap();
    (stub, Arc::new(client))
}

fn archive(world: &World, backend: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
    let committer = Arc::clone(&world.committer);
    Arc::new(Archive::new(backend, Arc::clone(&world.store), committer, BackendMetrics::default()))
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_an_unknown_outcome_and_after_the_expiry_the_archive_gives_the_same() {
    let (world, metrics) = (two_blobs_ahead().await, BackendMetrics::default());
    let (stub, client) = eigenda(&world, &metrics).await;
    let client = outbox(&world, client, Arc::clone(&world.store), 1, &metrics);
    let publisher = world.publisher_with(Arc::clone(&world.store), Arc::clone(&client), quick());
    stub.on_put(Answer::Silent);
    let late = publisher.publish_available().await;
    assert!(matches!(late, Err(DaError::OutcomeUnknown { .. })), "{late:?}");
    publisher.publish_available().await.unwrap();
    assert_eq!((stub.paid(), metrics.outcomes_unknown.get(), metrics.possibly_paid.get()), (3, 1, 1));
    let recorded = blobs(&world).await;
    assert!(recorded.iter().all(|blob| blob.certificate.backend == "eigenda" && blob.certificate.commitment.len() == 64));
    assert_complete(&world, archive(&world, Arc::clone(&client))).await;

    stub.forget();
    world.clock.advance(RETENTION);
    assert_complete(&world, archive(&world, client)).await;
    assert_complete(&world, archive(&world, world.client())).await;
    // Whose archive is damaged is told, even while the backend still gives the right bytes.
    let name = names::payload(&recorded[0].certificate.commitment);
    world.overwrite(&name, bytes::Bytes::from_static(b"damaged")).await;
    let findings = world.findings_by(archive(&world, world.client())).await;
    assert_eq!(findings.into_iter().map(|finding| finding.object).collect::<Vec<_>>(), [name.to_string()]);
}

#[tokio::test]
async fn a_blob_that_eigenda_does_not_take_is_published_by_the_second_backend_and_those_after_the_cool_down_by_the_first() {
    let (world, metrics) = (two_blobs_ahead().await, BackendMetrics::default());
    let (stub, first) = eigenda(&world, &metrics).await;
    let first = outbox(&world, first, Arc::clone(&world.store), 1, &metrics);
    let settings = FailoverSettings { failures_max: 1, cool_down: Duration::from_secs(60) };
    let client: Arc<dyn DaClient> =
        Arc::new(Failover::new(first, world.client(), world.clock.clone(), settings, metrics.clone()));
    let one_by_one = Settings { blobs_in_flight_max: 1, ..quick() };
    let publisher = world.publisher_with(Arc::clone(&world.store), Arc::clone(&client), one_by_one);
    stub.on_put(Answer::Status(503, b"no".to_vec()));
    publisher.publish_available().await.unwrap();
    world.clock.advance(Duration::from_secs(61));
    world.seal(0, 10).await;
    publisher.publish_available().await.unwrap();
    let backends: Vec<_> = blobs(&world).await.into_iter().map(|blob| blob.certificate.backend).collect();
    assert_eq!(backends, ["local", "local", "eigenda"]);
    assert_eq!((metrics.failovers.get(), metrics.on_second.get(), stub.paid()), (1, 0, 1));
    assert_complete(&world, archive(&world, client)).await;
}

#[tokio::test]
async fn any_flipped_byte_of_the_outbox_is_found_and_named_and_so_is_an_attempt_that_was_never_noted() {
    let scene = Scene::new().await;
    scene.publisher(Arc::clone(&scene.world.store), 1, quick()).publish_available().await.unwrap();
    let world = &scene.world;
    let client = || Arc::clone(&scene.network) as Arc<dyn DaClient>;
    let findings = || world.findings_by(client());
    let entries: Vec<_> = world.objects().await.into_iter().filter(|(path, _)| names::parse_outbox(path).is_some()).collect();
    assert_eq!(entries.len(), 4);
    for (path, bytes) in entries {
        for at in (0..bytes.len()).step_by(7) {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            world.overwrite(&path, bytes::Bytes::from(flipped)).await;
            assert!(findings().await.iter().any(|finding| finding.object == path.to_string()), "{path} byte {at}");
        }
        object_store::ObjectStoreExt::delete(&world.store, &path).await.unwrap();
        let is_named = findings().await.iter().any(|finding| finding.object == path.to_string());
        // That an attempt did not end is what a crash leaves.
        assert_eq!(is_named, path.as_ref().ends_with(".sent.json"), "{path}");
        world.overwrite(&path, bytes).await;
    }
    assert_eq!(findings().await, []);
}

#[tokio::test]
async fn what_the_network_forgets_within_a_day_is_counted_until_it_has() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (world, metrics) = (two_blobs_ahead().await, BackendMetrics::default());
    let (_stub, client) = eigenda(&world, &metrics).await;
    let publisher = world.publisher_with(Arc::clone(&world.store), client, quick());
    publisher.publish_available().await.unwrap();
    let hour = Duration::from_secs(60 * 60);
    for (passes, soon) in [(Duration::ZERO, 0), (RETENTION - DAY - hour, 0), (2 * hour, 2), (DAY - 2 * hour, 2), (2 * hour, 0)] {
        world.clock.advance(passes);
        publisher.gauges.refresh().await;
        assert_eq!(publisher.metrics().expires_soon.get(), soon, "{passes:?} later");
    }
    // The store forgets nothing: its blobs do not expire.
    world.seal(0, 10).await;
    let local = world.publisher();
    local.publish_available().await.unwrap();
    world.clock.advance(RETENTION - hour);
    local.gauges.refresh().await;
    assert_eq!(local.metrics().expires_soon.get(), 0);
}
