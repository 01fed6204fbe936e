//! What is noted before and after, and what is made of it by whoever comes next.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::*;
use crate::dispersal::Dispersal;
use crate::faulty::{Call, DaFault, FaultyDa};
use crate::fixture::{Fault, Faulty, World};
use crate::names;

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
        self.pausing_on(store, publisher, Duration::ZERO)
    }

    /// With a pause between what may be paid in vain.
    fn pausing(&self, publisher: u8) -> Outbox {
        self.pausing_on(Arc::clone(&self.world.store), publisher, Duration::from_secs(600))
    }

    fn pausing_on(&self, store: Arc<dyn ObjectStore>, publisher: u8, paid_pause_max: Duration) -> Outbox {
        let paid = Arc::clone(&self.paid) as Arc<dyn DaClient>;
        let settings = OutboxSettings { publisher: PublisherId([publisher; 16]), attempt_max: ATTEMPT_MAX, paid_pause_max };
        Outbox::new(paid, store, self.world.clock.clone(), settings, self.metrics.clone())
    }

    /// Notes the next attempt of a publisher that is killed before it notes more.
    async fn killed(&self, publisher: u8) {
        let outbox = self.outbox(publisher);
        let past = outbox.past(keccak256(payload())).await.unwrap();
        outbox.open(past.next, &payload()).await.unwrap().unwrap();
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

/// How long an attempt takes at most.
const ATTEMPT_MAX: Duration = Duration::from_secs(100);

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
    assert_eq!(scene.outbox(2).retrieve(&given.wanted()).await.unwrap(), payload());
}

#[tokio::test]
async fn a_publisher_that_starts_again_takes_its_own_open_attempt_over_at_once() {
    let scene = Scene::new(|_| DaFault::None).await;
    scene.killed(1).await;
    assert_eq!(scene.outbox(1).under_way(&keccak256(payload())).await.unwrap(), None);
    scene.outbox(1).disperse(payload()).await.unwrap();
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Unknown), (2, State::Sent), (2, State::Certified)]);
    scene.outbox(3).disperse(payload()).await.unwrap();
    assert_eq!((scene.paid.dispersals(), scene.counts()), (1, (1, 1, 1)));
    assert_eq!((scene.metrics.taken_over.get(), scene.metrics.puts_again.get()), (1, 1));
    assert_eq!(scene.metrics.symbols_possibly_billed.get(), 4096);
}

#[tokio::test]
async fn an_open_attempt_of_another_publisher_has_its_time_and_is_then_taken_over_once() {
    let scene = Scene::new(|_| DaFault::None).await;
    scene.killed(1).await;
    let (two, three) = (scene.outbox(2), scene.outbox(3));
    for outbox in [&two, &three, &two] {
        let until = outbox.under_way(&keccak256(payload())).await.unwrap().unwrap();
        let waits = outbox.disperse(payload()).await;
        assert!(matches!(waits, Err(DaError::UnderWay { until: again, .. }) if again == until), "{waits:?}");
        scene.world.clock.advance(ATTEMPT_MAX / 4);
    }
    assert_eq!((scene.paid.dispersals(), scene.noted().await), (0, vec![(1, State::Sent)]), "nobody touches it");
    scene.world.clock.advance(ATTEMPT_MAX / 2);
    assert_eq!(two.under_way(&keccak256(payload())).await.unwrap(), None);
    two.disperse(payload()).await.unwrap();
    three.disperse(payload()).await.unwrap();
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Unknown), (2, State::Sent), (2, State::Certified)]);
    assert_eq!((scene.paid.dispersals(), scene.counts(), scene.metrics.taken_over.get()), (1, (1, 1, 1), 1));
}

#[tokio::test]
async fn that_nothing_was_sent_is_forgotten_after_whatever_the_store_knows_too() {
    let scene = Scene::new(|_| DaFault::Busy).await;
    // The first by its hash, which would be forgotten first.
    let payload = (0_u64..).map(|n| Bytes::from(n.to_string())).find(|payload| keccak256(payload)[0] == 0).unwrap();
    let (outbox, hash) = (scene.outbox(1), keccak256(&payload));
    assert!(matches!(outbox.disperse(payload.clone()).await, Err(DaError::Retry { .. })));
    for other in 0..2 * REMEMBERED_MAX {
        outbox.remember(keccak256(other.to_be_bytes()), Known::next(1, Failures::default()));
    }
    assert_eq!(outbox.known.lock().len(), REMEMBERED_MAX);
    assert!(outbox.known.lock().contains_key(&hash));
    assert!(matches!(outbox.disperse(payload).await, Err(DaError::Retry { .. })));
    assert_eq!((scene.noted().await, scene.counts()), (vec![(1, State::Sent)], (0, 0, 0)), "it is the same attempt still");
}

#[tokio::test]
async fn a_clock_that_is_far_ahead_makes_nobody_wait_longer() {
    let scene = Scene::new(|_| DaFault::None).await;
    let attempt = Attempt { payload_hash: keccak256(payload()), number: 1 };
    let mut ahead = scene.outbox(1).entry_of(attempt, State::Sent, payload().len() as u64, None);
    ahead.at = Timestamp::from_micros(ahead.at.micros() + 1_000_000_000_000).unwrap();
    scene.world.overwrite(&ahead.name(), ahead.encode()).await;
    let outbox = scene.outbox(2);
    assert!(matches!(outbox.disperse(payload()).await, Err(DaError::UnderWay { .. })));
    scene.world.clock.advance(ATTEMPT_MAX + ATTEMPT_MAX / 5);
    outbox.disperse(payload()).await.unwrap();
}

#[tokio::test]
async fn what_became_of_the_attempt_that_was_waited_for_is_used() {
    let scene = Scene::new(|_| DaFault::Slow(Duration::from_millis(20))).await;
    let (one, two) = (scene.outbox(1), scene.outbox(2));
    let other = async {
        while two.under_way(&keccak256(payload())).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        loop {
            match two.disperse(payload()).await {
                Err(DaError::UnderWay { .. }) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    };
    let (a, b) = tokio::join!(one.disperse(payload()), other);
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!((scene.paid.dispersals(), scene.counts(), scene.metrics.puts_again.get()), (1, (0, 0, 1), 0));
}

#[tokio::test]
async fn what_was_noted_and_not_sent_for_long_is_noted_anew_and_what_another_took_over_is_not_sent() {
    let scene = Scene::new(|call| if matches!(call, Call::Disperse(0..4)) { DaFault::Busy } else { DaFault::None }).await;
    let outbox = scene.outbox(1);
    let busy = || async { assert_eq!(outbox.disperse(payload()).await.unwrap_err().code(), "da_unavailable") };
    busy().await;
    scene.world.clock.advance(ATTEMPT_MAX / 20);
    busy().await;
    assert_eq!(scene.noted().await, [(1, State::Sent)], "it is fresh");
    scene.world.clock.advance(ATTEMPT_MAX / 10);
    busy().await;
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Unsent), (2, State::Sent)]);
    // It sleeps for so long that another one takes over, which is busy with the payload when it wakes.
    scene.world.clock.advance(2 * ATTEMPT_MAX);
    let two = scene.outbox(2);
    assert_eq!(two.disperse(payload()).await.unwrap_err().code(), "da_unavailable");
    assert_eq!(outbox.disperse(payload()).await.unwrap_err().code(), "da_under_way");
    two.disperse(payload()).await.unwrap();
    assert_eq!((scene.paid.dispersals(), scene.metrics.puts_again.get(), scene.counts().0), (5, 1, 1));
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
    scene.world.overwrite(&names::payload(&first.commitment), Bytes::from_static(b"damaged")).await;
    let third = scene.outbox(1).disperse(payload()).await;
    assert!(matches!(third, Err(DaError::Corrupt { .. })), "it was sent again, to a store that is damaged: {third:?}");
    assert_eq!(scene.paid.dispersals(), 3);
}

#[tokio::test]
async fn a_backend_that_does_not_give_back_what_it_certified_does_not_work_and_in_the_end_it_is_sent_again() {
    let scene = Scene::new(|call| match call {
        Call::Retrieve(_) => DaFault::Busy,
        Call::Disperse(_) => DaFault::None,
    })
    .await;
    scene.outbox(1).disperse(payload()).await.unwrap();
    for _ in 0..3 {
        let later = scene.outbox(1).disperse(payload()).await;
        assert!(matches!(later, Err(DaError::Down { billed: false, .. })), "another backend may take it: {later:?}");
    }
    assert_eq!((scene.paid.dispersals(), scene.noted().await.len()), (1, 2));
    scene.world.clock.advance(READ_BACK_MAX);
    scene.outbox(1).disperse(payload()).await.unwrap();
    assert_eq!((scene.paid.dispersals(), scene.metrics.puts_again.get()), (2, 1));
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
    scene.outbox(1).disperse(payload()).await.unwrap();
    assert_eq!((scene.paid.dispersals(), scene.counts().0), (2, 1));
}

#[tokio::test]
async fn of_any_number_at_once_one_sends_the_payload() {
    for seed in 0..100 {
        let scene = Scene::new(|_| DaFault::None).await;
        let outboxes: Vec<Outbox> = (0..4)
            .map(|id| scene.outbox_on(Faulty::new(Arc::clone(&scene.world.store), Fault::Unruly(4 * seed + u64::from(id))), id))
            .collect();
        let answers = futures::future::join_all(outboxes.iter().map(|outbox| async {
            loop {
                match outbox.disperse(payload()).await {
                    Err(DaError::UnderWay { .. }) => tokio::task::yield_now().await,
                    answer => return answer.unwrap(),
                }
            }
        }));
        let answers = answers.await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "seed {seed}: {answers:?}");
        assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Certified)], "seed {seed}");
        assert_eq!((scene.paid.dispersals(), scene.counts()), (1, (0, 0, 3)), "seed {seed}");
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

#[tokio::test]
async fn what_may_be_paid_in_vain_waits_longer_each_time_and_no_restart_or_other_publisher_shortens_it() {
    let scene = Scene::new(|_| DaFault::Down).await;
    let outbox = scene.pausing(1);
    for sent in 1..=3 {
        let failed = outbox.disperse(payload()).await.unwrap_err();
        assert_eq!((failed.code(), scene.paid.dispersals()), ("da_backend_down", sent));
        if sent >= 2 {
            for waits in [&outbox, &scene.pausing(1), &scene.pausing(2)] {
                let refused = waits.disperse(payload()).await.unwrap_err();
                assert!(refused.code() == "da_unavailable" && refused.to_string().contains("attempts may have"), "{refused}");
            }
            assert_eq!(scene.paid.dispersals(), sent, "nothing is sent meanwhile");
            scene.world.clock.advance(Duration::from_secs(5 << (sent - 2)));
        }
    }
    // 5 s before the third, 10 s before the fourth.
    let failed = scene.pausing(2).disperse(payload()).await.unwrap_err();
    assert_eq!((failed.code(), scene.paid.dispersals()), ("da_backend_down", 4));
}

#[tokio::test]
async fn a_payload_that_is_given_up_before_it_was_sent_keeps_nobody_waiting() {
    let scene = Scene::new(|call| match call {
        Call::Disperse(0..2) => DaFault::Busy,
        _ => DaFault::None,
    })
    .await;
    let (one, two) = (scene.outbox(1), scene.outbox(2));
    let hash = keccak256(payload());
    one.release(&hash).await;
    assert_eq!(one.disperse(payload()).await.unwrap_err().code(), "da_unavailable");
    assert!(two.under_way(&hash).await.unwrap().is_some(), "its publisher may send it yet");
    one.release(&hash).await;
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Unsent)]);
    assert_eq!(two.under_way(&hash).await.unwrap(), None);
    // Whoever gave it up may come back as well.
    assert_eq!(one.disperse(payload()).await.unwrap_err().code(), "da_unavailable");
    one.release(&hash).await;
    two.disperse(payload()).await.unwrap();
    one.release(&hash).await;
    let ends = scene.noted().await;
    assert_eq!(ends[2..], [(2, State::Sent), (2, State::Unsent), (3, State::Sent), (3, State::Certified)]);
    assert_eq!((scene.counts(), scene.metrics.puts_again.get()), ((0, 0, 0), 0), "nothing was paid in vain");
}

#[tokio::test]
async fn a_job_that_ends_without_a_certificate_says_that_nothing_was_sent() {
    let scene = Scene::new(|_| DaFault::Busy).await;
    let outbox: Arc<dyn DaClient> = Arc::new(scene.outbox(1));
    let settings = crate::fixture::quick();
    let dispersal = Dispersal::new(Arc::clone(&scene.world.store), outbox, Arc::clone(&scene.world.committer), &settings);
    let ended = dispersal.certify(payload(), tokio::time::Instant::now()).await;
    assert_eq!(ended.unwrap_err().code(), "da_unavailable");
    assert_eq!(scene.noted().await, [(1, State::Sent), (1, State::Unsent)]);
    assert_eq!(scene.outbox(2).under_way(&keccak256(payload())).await.unwrap(), None);
}

#[tokio::test]
async fn a_failure_that_a_clock_far_ahead_noted_lengthens_no_pause() {
    let scene = Scene::new(|_| DaFault::None).await;
    for number in 1..=2 {
        let attempt = Attempt { payload_hash: keccak256(payload()), number };
        for state in [State::Sent, State::Failed] {
            let what = (state == State::Failed).then(|| "away".to_owned());
            let mut ahead = scene.outbox(1).entry_of(attempt, state, payload().len() as u64, what);
            ahead.at = Timestamp::from_micros(ahead.at.micros() + 3_600_000_000).unwrap();
            scene.world.overwrite(&ahead.name(), ahead.encode()).await;
        }
    }
    let outbox = scene.pausing(2);
    assert_eq!(outbox.disperse(payload()).await.unwrap_err().code(), "da_unavailable");
    scene.world.clock.advance(Duration::from_secs(6));
    outbox.disperse(payload()).await.unwrap();
    assert_eq!(scene.noted().await[4..], [(3, State::Sent), (3, State::Certified)]);
}
