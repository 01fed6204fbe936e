//! What is noted before and after, and what is made of it by whoever comes next.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::*;
use crate::faulty::{Call, DaFault, FaultyDa};
use crate::fixture::{Fault, Faulty, World};

/// A paid backend that fails by a script, and outboxes in front of it.
struct Scene {
    world: World,
    paid: Arc<FaultyDa>,
    metrics: BackendMetrics,
}

impl Scene {
    async fn new(script: impl Fn(Call) -> DaFault + Send + Sync + 'static) -> Self {
        let world = World::new(1).await;
        let paid = FaultyDa::new(world.client(), script);
        Self { world, paid, metrics: BackendMetrics::default() }
    }

    /// That of a process that starts now.
    fn outbox(&self, publisher: u8) -> Outbox {
        self.outbox_on(Arc::clone(&self.world.store), publisher)
    }

    fn outbox_on(&self, store: Arc<dyn ObjectStore>, publisher: u8) -> Outbox {
        let paid = Arc::clone(&self.paid) as Arc<dyn DaClient>;
        Outbox::new(paid, store, self.world.clock.clone(), PublisherId([publisher; 16]), self.metrics.clone())
    }

    /// The attempts and what is said of them, in order.
    async fn noted(&self) -> Vec<(u32, State)> {
        let listed: Vec<ObjectMeta> = self.world.store.list(Some(&Path::from(names::OUTBOX))).try_collect().await.unwrap();
        let mut noted: Vec<_> =
            listed.iter().map(|object| names::parse_outbox(&object.location).unwrap()).map(|(a, s)| (a.number, s)).collect();
        noted.sort_unstable();
        noted
    }

    fn counts(&self) -> (u64, u64, u64) {
        (self.metrics.outcomes_unknown.get(), self.metrics.possibly_paid.get(), self.metrics.certificates_found.get())
    }
}

fn payload() -> Bytes {
    Bytes::from_static(b"a payload")
}

#[tokio::test]
async fn an_attempt_is_noted_before_and_after_and_its_certificate_is_used_instead_of_paying_again() {
    let scene = Scene::new(|_| DaFault::None).await;
    let given = scene.outbox(1).disperse(payload()).await.unwrap();
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Certified)]);
    assert_eq!(scene.outbox(1).disperse(payload()).await.unwrap(), given);
    assert_eq!((scene.paid.dispersals(), scene.counts()), (1, (0, 0, 1)));
    assert_eq!(scene.outbox(2).retrieve(&given).await.unwrap(), payload());
}

#[tokio::test]
async fn an_open_attempt_is_counted_once_as_unknown_and_the_payload_is_sent_again() {
    let scene = Scene::new(|_| DaFault::None).await;
    let outbox = scene.outbox(1);
    // Killed before the answer.
    outbox.open(1, keccak256(payload()), &payload()).await.unwrap();
    scene.outbox(2).disperse(payload()).await.unwrap();
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Unknown), (2, State::Sent), (2, State::Certified)]);
    scene.outbox(3).disperse(payload()).await.unwrap();
    assert_eq!((scene.paid.dispersals(), scene.counts()), (1, (1, 1, 1)));
}

#[tokio::test]
async fn an_unknown_outcome_and_a_failure_are_noted_as_such_and_the_next_attempt_has_the_next_number() {
    let scene = Scene::new(|call| match call {
        Call::Disperse(0) => DaFault::LosesAnswer,
        Call::Disperse(1) => DaFault::Vanishes,
        Call::Disperse(2) => DaFault::Busy,
        Call::Disperse(3) => DaFault::Down,
        _ => DaFault::None,
    })
    .await;
    let outbox = scene.outbox(1);
    for code in ["da_outcome_unknown", "da_outcome_unknown", "da_unavailable", "da_backend_down"] {
        assert_eq!(outbox.disperse(payload()).await.unwrap_err().code(), code);
    }
    // Another process reads the whole past, this one remembers it.
    scene.outbox(2).disperse(payload()).await.unwrap();
    // Nothing was sent to the busy backend, so the third attempt was still to be made.
    let ends = [State::Unknown, State::Unknown, State::Failed, State::Certified];
    let expected: Vec<_> = (1..).zip(ends).flat_map(|(number, end)| [(number, State::Sent), (number, end)]).collect();
    assert_eq!(scene.noted().await, expected);
    assert_eq!(scene.counts(), (0, 0, 0), "what the backend says is unknown, the backend counts");
    assert!(outbox.disperse(payload()).await.is_ok());
    assert_eq!(scene.paid.dispersals(), 5);
}

#[tokio::test]
async fn while_nothing_is_sent_there_is_one_note_however_often_it_is_tried() {
    let scene = Scene::new(|call| if matches!(call, Call::Disperse(0..20)) { DaFault::Busy } else { DaFault::None }).await;
    let outbox = scene.outbox(1);
    for _ in 0..20 {
        assert!(matches!(outbox.disperse(payload()).await, Err(DaError::Retry { .. })));
    }
    assert_eq!(scene.noted().await, [(1, State::Sent)]);
    outbox.disperse(payload()).await.unwrap();
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Certified)]);
}

#[tokio::test]
async fn a_certificate_that_expired_or_whose_payload_is_gone_is_not_used() {
    let scene = Scene::new(|_| DaFault::None).await;
    let first = scene.outbox(1).disperse(payload()).await.unwrap();
    scene.world.clock.advance(Duration::from_secs(15 * 24 * 60 * 60));
    let second = scene.outbox(1).disperse(payload()).await.unwrap();
    assert_ne!(first, second);
    scene.world.overwrite(&names::payload(&keccak256(payload())), Bytes::from_static(b"damaged")).await;
    let third = scene.outbox(1).disperse(payload()).await;
    assert!(matches!(third, Err(DaError::Corrupt { .. })), "it was sent again, to a store that is damaged: {third:?}");
    assert_eq!(scene.paid.dispersals(), 3);
}

#[tokio::test]
async fn a_backend_that_does_not_answer_leaves_the_certificate_for_later() {
    let scene = Scene::new(|call| match call {
        Call::Retrieve(_) => DaFault::Busy,
        Call::Disperse(_) => DaFault::None,
    })
    .await;
    scene.outbox(1).disperse(payload()).await.unwrap();
    let later = scene.outbox(1).disperse(payload()).await;
    assert!(matches!(later, Err(DaError::Retry { .. })), "{later:?}");
    assert_eq!(scene.paid.dispersals(), 1);
}

#[tokio::test]
async fn a_store_that_dies_before_the_note_keeps_the_payload_from_being_sent() {
    let scene = Scene::new(|_| DaFault::None).await;
    let dead = Faulty::new(Arc::clone(&scene.world.store), Fault::DiesBefore(0));
    let failed = scene.outbox_on(dead, 1).disperse(payload()).await;
    assert!(matches!(failed, Err(DaError::Retry { .. })), "{failed:?}");
    assert_eq!((scene.paid.dispersals(), scene.noted().await), (0, Vec::new()));
}

#[tokio::test]
async fn a_store_that_dies_after_the_note_does_not_lose_the_certificate_that_was_paid_for() {
    let scene = Scene::new(|_| DaFault::None).await;
    let dying = Faulty::new(Arc::clone(&scene.world.store), Fault::DiesBefore(1));
    let given = scene.outbox_on(dying, 1).disperse(payload()).await;
    assert!(given.is_ok(), "{given:?}");
    assert_eq!(scene.noted().await, [(1, State::Sent)]);
    scene.outbox(2).disperse(payload()).await.unwrap();
    assert_eq!((scene.paid.dispersals(), scene.counts().0), (2, 1));
}

#[tokio::test]
async fn of_two_at_once_each_notes_an_attempt_of_its_own() {
    for seed in 0..100 {
        let scene = Scene::new(|_| DaFault::None).await;
        let unruly = |seed| Faulty::new(Arc::clone(&scene.world.store), Fault::Unruly(seed));
        let (one, two) = (scene.outbox_on(unruly(2 * seed), 1), scene.outbox_on(unruly(2 * seed + 1), 2));
        let (a, b) = tokio::join!(one.disperse(payload()), two.disperse(payload()));
        assert!(a.is_ok() && b.is_ok(), "seed {seed}: {a:?} {b:?}");
        let noted = scene.noted().await;
        let count = |state| noted.iter().filter(|(_, found)| *found == state).count() as u64;
        assert_eq!(count(State::Sent), scene.paid.dispersals(), "seed {seed}: {noted:?}");
        assert_eq!(count(State::Unknown), scene.counts().0, "seed {seed}: {noted:?}");
    }
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_nothing_is_sent() {
    let scene = Scene::new(|_| DaFault::None).await;
    let attempt = Attempt { payload_hash: keccak256(payload()), number: 1 };
    let name = names::outbox(&attempt, State::Sent);
    scene.world.overwrite(&name, Bytes::from_static(b"{}")).await;
    let failed = scene.outbox(1).disperse(payload()).await;
    assert!(matches!(&failed, Err(DaError::Corrupt { object, .. }) if *object == name.to_string()), "{failed:?}");
    assert_eq!(scene.paid.dispersals(), 0);
}
