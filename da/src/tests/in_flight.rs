//! Several blobs of one partition under way at once: how many, in which order they are recorded, and what the end of one means for the
//! others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Place, Verdict};
use super::paid::{assert_complete, outbox};
use super::{blobs, blobs_ahead, names, partition, seq};
use crate::faulty::{Call, DaFault, FaultyDa};
use crate::fixture::{Fault, Faulty, World, quick};
use crate::settings::Settings;
use crate::{BackendMetrics, DaError, LocalDa, Publisher};

/// A network behind a gate, with a store of its own.
struct Scene {
    world: World,
    gate: Arc<Gate>,
    metrics: BackendMetrics,
}

impl Scene {
    async fn new(partitions: u32, blobs: usize) -> Self {
        let world = blobs_ahead(partitions, blobs).await;
        // Old enough to be published without company.
        world.clock.advance(Duration::from_secs(60));
        let far: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let network = LocalDa::with_committer(far, world.clock.clone(), Arc::clone(&world.committer));
        Self { gate: Gate::new(Arc::new(network)), world, metrics: BackendMetrics::default() }
    }

    /// A publisher with an outbox that starts now, always under the same name.
    fn publisher(&self, settings: Settings) -> Arc<Publisher> {
        self.publisher_on(Arc::clone(&self.world.store), settings)
    }

    fn publisher_on(&self, store: Arc<dyn ObjectStore>, settings: Settings) -> Arc<Publisher> {
        let client = outbox(&self.world, self.gate.clone(), Arc::clone(&store), 1, &self.metrics);
        self.world.publisher_with(store, client, settings)
    }

    async fn assert_complete(&self) {
        assert_complete(&self.world, self.gate.clone()).await;
    }

    async fn plans(&self) -> usize {
        self.world.objects().await.iter().filter(|(path, _)| path.as_ref().starts_with(names::PLANS)).count()
    }

    /// The first batches of the recorded blobs.
    async fn recorded(&self) -> Vec<u64> {
        blobs(&self.world).await.iter().map(|blob| blob.first_seq.get()).collect()
    }
}

fn at_once(blobs_in_flight_max: usize) -> Settings {
    Settings { blobs_in_flight_max, ..quick() }
}

fn publish(publisher: &Arc<Publisher>) -> JoinHandle<Result<(), DaError>> {
    let publisher = Arc::clone(publisher);
    tokio::spawn(async move { publisher.publish_available().await.map(drop) })
}

/// Runs it until the token is cancelled.
fn run(publisher: &Arc<Publisher>) -> (JoinHandle<()>, CancellationToken) {
    let (publisher, shutdown) = (Arc::clone(publisher), CancellationToken::new());
    let ends = shutdown.clone();
    (tokio::spawn(async move { publisher.run(ends).await }), shutdown)
}

/// Waits until so many blobs of partition 0 are under way.
async fn until_in_flight(publisher: &Publisher, count: i64) {
    until(|| publisher.metrics().in_flight.get_or_create(&partition(0).into()).get() == count).await;
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waits = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.unwrap();
}

#[tokio::test]
async fn as_many_blobs_of_one_partition_are_under_way_as_the_limit_allows_and_never_more() {
    for limit in [1, 5] {
        let scene = Scene::new(1, 12).await;
        let publisher = scene.publisher(at_once(limit));
        let publishing = publish(&publisher);
        for through in 0..12 {
            let waiting = scene.gate.waiting(limit.min(12 - through)).await;
            until_in_flight(&publisher, i64::try_from(waiting.len()).unwrap()).await;
            assert!(scene.plans().await <= through + limit, "no plan without a place for its blob");
            scene.gate.ends(waiting[0], Verdict::Certified);
            until(|| scene.gate.came().len() >= 12.min(through + limit + 1)).await;
        }
        publishing.await.unwrap().unwrap();
        assert_eq!((scene.gate.most(), scene.gate.came().len()), (limit, 12));
        until_in_flight(&publisher, 0).await;
        scene.assert_complete().await;
    }
}

#[tokio::test]
async fn certificates_that_arrive_in_reverse_are_recorded_in_the_order_of_the_sequence() {
    let scene = Scene::new(1, 4).await;
    let store = Faulty::new(Arc::clone(&scene.world.store), Fault::None);
    let publisher = scene.publisher_on(store.clone(), at_once(4));
    let publishing = publish(&publisher);
    scene.gate.waiting(4).await;
    for seq in [3, 2, 1] {
        scene.gate.ends((0, seq), Verdict::Certified);
        until_in_flight(&publisher, i64::try_from(seq).unwrap()).await;
    }
    assert_eq!(publisher.metrics().dispersals.get(), 3);
    assert_eq!(scene.recorded().await, [0; 0], "what comes before them is not certified");
    scene.gate.ends((0, 0), Verdict::Certified);
    publishing.await.unwrap().unwrap();
    let recorded: Vec<_> = store.names().into_iter().filter(|name| name.as_ref().starts_with(names::CERTIFICATES)).collect();
    assert_eq!(recorded, [0, 1, 2, 3].map(|first| names::certificate(partition(0), seq(first))));
    scene.assert_complete().await;
}

#[tokio::test]
async fn a_crash_keeps_the_certificate_that_waits_for_an_earlier_one_and_only_the_earlier_is_paid_again() {
    let scene = Scene::new(1, 2).await;
    let died = scene.publisher(at_once(2));
    let publishing = publish(&died);
    scene.gate.waiting(2).await;
    scene.gate.ends((0, 1), Verdict::Certified);
    until_in_flight(&died, 1).await;
    publishing.abort();
    assert!(publishing.await.unwrap_err().is_cancelled());
    assert_eq!((scene.gate.cut_off(), scene.recorded().await), (vec![(0, 0)], Vec::new()));
    assert!(scene.world.findings_by(scene.gate.clone()).await.is_empty(), "two plans without a certificate are no damage");
    let next = publish(&scene.publisher(at_once(2)));
    assert_eq!(scene.gate.waiting(1).await, [(0, 0)]);
    scene.gate.open();
    next.await.unwrap().unwrap();
    assert_eq!(scene.gate.came()[2..], [(0, 0)], "the second blob was not sent again");
    assert_eq!((scene.metrics.certificates_found.get(), scene.metrics.taken_over.get()), (1, 1));
    scene.assert_complete().await;
}

#[tokio::test]
async fn behind_a_blob_that_fails_for_good_nothing_is_begun_or_recorded_and_what_was_sent_is_not_cut_off() {
    for (refused, recorded) in [(0, vec![]), (1, vec![0])] {
        let scene = Scene::new(1, 6).await;
        let publisher = scene.publisher(at_once(3));
        let (running, shutdown) = run(&publisher);
        scene.gate.waiting(3).await;
        scene.gate.ends((0, refused), Verdict::Rejected);
        until_in_flight(&publisher, 2).await;
        until(|| publisher.state()[0].last_error.is_some()).await;
        assert!(!publisher.state()[0].stopped, "two are brought to their end");
        let others: Vec<Place> = scene.gate.waiting(2).await;
        for other in &others {
            scene.gate.ends(*other, Verdict::Certified);
        }
        until(|| publisher.state()[0].stopped).await;
        assert!(publisher.state()[0].last_error.as_ref().unwrap().contains("refused for good"));
        assert_eq!((scene.recorded().await, scene.gate.cut_off()), (recorded, Vec::new()));
        assert_eq!((scene.gate.came().len(), scene.plans().await), (3, 3), "nothing more was begun");
        shutdown.cancel();
        running.await.unwrap();
        // Once what was wrong is mended, the certificates that waited are used.
        scene.gate.open();
        scene.publisher(at_once(3)).publish_available().await.unwrap();
        let again: Vec<Place> = scene.gate.came()[3..].to_vec();
        assert!(again.contains(&(0, refused)) && others.iter().all(|other| !again.contains(other)), "{again:?}");
        scene.assert_complete().await;
    }
}

#[tokio::test]
async fn a_flush_that_fails_brings_what_was_sent_to_its_end_and_records_what_comes_before() {
    let scene = Scene::new(1, 4).await;
    let publishing = publish(&scene.publisher(at_once(3)));
    scene.gate.waiting(3).await;
    scene.gate.ends((0, 1), Verdict::Lost);
    scene.gate.waiting(2).await;
    for first in [0, 2] {
        scene.gate.ends((0, first), Verdict::Certified);
    }
    let failed = publishing.await.unwrap();
    assert!(matches!(failed, Err(DaError::OutcomeUnknown { .. })), "{failed:?}");
    assert_eq!((scene.recorded().await, scene.gate.came().len(), scene.gate.cut_off()), (vec![0], 3, Vec::new()));
}

#[tokio::test]
async fn a_fault_of_the_program_about_one_blob_does_not_cut_off_another() {
    let scene = Scene::new(1, 2).await;
    let publisher = scene.publisher(at_once(2));
    let (running, shutdown) = run(&publisher);
    scene.gate.waiting(2).await;
    scene.gate.ends((0, 0), Verdict::Panics);
    until_in_flight(&publisher, 1).await;
    scene.gate.ends((0, 1), Verdict::Certified);
    until(|| publisher.state()[0].stopped).await;
    assert!(publisher.state()[0].last_error.as_ref().unwrap().contains("panic"));
    assert_eq!((scene.gate.cut_off(), publisher.metrics().dispersals.get()), (Vec::new(), 1));
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_blob_that_fails_for_a_while_is_tried_again_while_the_others_stay_under_way() {
    let scene = Scene::new(1, 3).await;
    let publisher = scene.publisher(at_once(3));
    let (running, shutdown) = run(&publisher);
    scene.gate.waiting(3).await;
    for tries in 1..=3 {
        scene.gate.ends((0, 1), Verdict::Lost);
        until(|| scene.gate.came().len() == 3 + tries).await;
        let mut waiting = scene.gate.waiting(3).await;
        waiting.sort_unstable();
        assert_eq!((waiting, scene.gate.cut_off()), (vec![(0, 0), (0, 1), (0, 2)], Vec::new()));
    }
    scene.gate.open();
    until(|| publisher.metrics().blobs.get() == 3).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(scene.metrics.possibly_paid.get(), 0, "by the outbox; the backend counts what is lost itself");
    assert_eq!((publisher.metrics().rounds_failed.get(), scene.gate.came().len()), (3, 6));
    scene.assert_complete().await;
}

#[tokio::test]
async fn at_shutdown_all_that_was_sent_is_recorded_and_nothing_more_is_begun() {
    let scene = Scene::new(1, 6).await;
    let (running, shutdown) = run(&scene.publisher(at_once(3)));
    scene.gate.waiting(3).await;
    shutdown.cancel();
    for seq in [2, 1, 0] {
        scene.gate.ends((0, seq), Verdict::Certified);
    }
    running.await.unwrap();
    assert_eq!((scene.recorded().await, scene.gate.came().len(), scene.plans().await), (vec![0, 1, 2], 3, 3));
}

#[tokio::test]
async fn at_shutdown_nobody_waits_for_a_blob_that_pauses_and_the_certificate_behind_it_is_used_at_the_next_start() {
    let scene = Scene::new(1, 2).await;
    let long = Duration::from_secs(3600);
    let publisher = scene.publisher(Settings { backoff_min: long, backoff_max: long, ..at_once(2) });
    let (running, shutdown) = run(&publisher);
    scene.gate.waiting(2).await;
    scene.gate.ends((0, 0), Verdict::Lost);
    until(|| publisher.state()[0].last_error.is_some()).await;
    scene.gate.ends((0, 1), Verdict::Certified);
    until_in_flight(&publisher, 0).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!((scene.recorded().await, publisher.state()[0].stopped), (Vec::new(), false));
    scene.gate.open();
    scene.publisher(at_once(2)).publish_available().await.unwrap();
    assert_eq!(scene.gate.came()[2..], [(0, 0)]);
    scene.assert_complete().await;
}

#[tokio::test]
async fn all_plans_in_place_beyond_what_is_recorded_are_carried_out_at_once_as_they_are() {
    let scene = Scene::new(1, 5).await;
    let planned = publish(&scene.publisher(at_once(4)));
    scene.gate.waiting(4).await;
    planned.abort();
    assert!(planned.await.unwrap_err().is_cancelled());
    assert_eq!((scene.plans().await, scene.recorded().await.len()), (4, 0));
    // It would group them differently.
    let next = scene.publisher(Settings { blob_bytes_max: 100_000, ..at_once(16) });
    let publishing = publish(&next);
    scene.gate.waiting(5).await;
    scene.gate.open();
    publishing.await.unwrap().unwrap();
    assert_eq!((scene.recorded().await, next.metrics().plans_adopted.get()), (vec![0, 1, 2, 3, 4], 4));
    scene.assert_complete().await;
}

#[tokio::test]
async fn what_is_recorded_already_of_the_plans_in_place_is_passed_over() {
    let scene = Scene::new(1, 3).await;
    scene.gate.open();
    let publisher = scene.publisher(at_once(2));
    let (running, shutdown) = run(&publisher);
    until(|| publisher.metrics().blobs.get() == 3).await;
    // Another one publishes what comes, under the nose of the first, which has none of the work.
    let scripted = scene.world.publisher();
    for _ in 0..3 {
        scene.world.seal(0, 3500).await;
    }
    scripted.publish_available().await.unwrap();
    scene.world.clock.advance(Duration::from_secs(60));
    scene.world.seal(0, 3500).await;
    until(|| publisher.metrics().certified_seq.get_or_create(&partition(0).into()).get() >= 5).await;
    scripted.publish_available().await.unwrap();
    until(|| publisher.metrics().certified_seq.get_or_create(&partition(0).into()).get() == 6).await;
    shutdown.cancel();
    running.await.unwrap();
    assert!(publisher.state()[0].last_error.is_none());
}

#[tokio::test]
async fn two_partitions_take_turns_at_the_places_however_much_waits_in_one() {
    for are_planned in [false, true] {
        let scene = Scene::new(2, 8).await;
        if are_planned {
            let planned = publish(&scene.publisher(at_once(16)));
            scene.gate.waiting(16).await;
            planned.abort();
            assert!(planned.await.unwrap_err().is_cancelled());
        }
        let before = scene.gate.came().len();
        let publishing = publish(&scene.publisher(at_once(3)));
        for through in 0..16 {
            let waiting = scene.gate.waiting(3.min(16 - through)).await;
            scene.gate.ends(waiting[0], Verdict::Certified);
            until(|| scene.gate.came().len() - before >= 16.min(through + 4)).await;
        }
        publishing.await.unwrap().unwrap();
        let came: Vec<u32> = scene.gate.came()[before..].iter().map(|(partition, _)| *partition).collect();
        // Whoever begins may take what is free, and nothing is left to wait for at the end.
        for three in came[4..12].windows(3) {
            assert!(three.contains(&0) && three.contains(&1), "one waited longer than the other: {came:?}");
        }
        scene.assert_complete().await;
    }
}

#[tokio::test]
async fn while_the_backend_is_down_nothing_more_is_planned_and_afterwards_blobs_are_fuller() {
    let world = World::new(1).await;
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let client = FaultyDa::new(world.client(), move |call| match call {
        Call::Disperse(_) if down.load(Ordering::SeqCst) => DaFault::Down,
        _ => DaFault::None,
    });
    let publisher = world.publisher_with(Arc::clone(&world.store), client, Settings { blob_bytes_max: 100_000, ..at_once(16) });
    world.seal(0, 3500).await;
    world.clock.advance(Duration::from_secs(60));
    let (running, shutdown) = run(&publisher);
    until(|| publisher.metrics().rounds_failed.get() >= 3).await;
    for _ in 0..10 {
        world.seal(0, 3500).await;
        world.clock.advance(Duration::from_secs(60));
        let failed = publisher.metrics().rounds_failed.get();
        until(|| publisher.metrics().rounds_failed.get() >= failed + 3).await;
    }
    is_down.store(false, Ordering::SeqCst);
    until(|| publisher.metrics().batches.get() == 11).await;
    shutdown.cancel();
    running.await.unwrap();
    let ends: Vec<_> = blobs(&world).await.iter().map(|blob| blob.last_seq.get()).collect();
    assert_eq!(ends, [0, 10]);
}

#[tokio::test]
async fn a_certificate_that_comes_second_while_later_ones_wait_gives_way_and_they_follow() {
    let scene = Scene::new(1, 2).await;
    let publisher = scene.publisher(at_once(2));
    let publishing = publish(&publisher);
    scene.gate.waiting(2).await;
    scene.gate.ends((0, 1), Verdict::Certified);
    until_in_flight(&publisher, 1).await;
    // One without an outbox, which pays again.
    scene.world.publisher().publish_available().await.unwrap();
    scene.gate.open();
    publishing.await.unwrap().unwrap();
    assert_eq!((publisher.metrics().certificates_lost.get(), scene.recorded().await), (2, vec![0, 1]));
    assert_eq!(scene.gate.cut_off(), Vec::new());
}
