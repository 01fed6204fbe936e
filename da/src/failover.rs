//! A second backend for when the first does not work, and the way back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::Hash;

use crate::client::{Certificate, DaClient, Wanted};
use crate::committed::committed;
use crate::error::DaError;
use crate::metrics::BackendMetrics;

/// When the second backend is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverSettings {
    /// After so many failures of the first in a row, at least 1.
    pub failures_max: u32,
    /// For so long; then one payload is given to the first again, and only if it is certified do the others follow.
    pub cool_down: Duration,
}

impl Default for FailoverSettings {
    fn default() -> Self {
        Self { failures_max: 2, cool_down: Duration::from_secs(60) }
    }
}

/// A [`DaClient`] over two of them.
///
/// What is certified stays with who certified it: a payload is retrieved from the backend that its certificate names. Only
/// [`DaError::Down`] and [`DaError::OutcomeUnknown`] count as failures: a backend that is busy is waited for, and what one
/// refuses for good is not tried on the other.
pub struct Failover {
    first: Arc<dyn DaClient>,
    second: Arc<dyn DaClient>,
    clock: Arc<dyn Clock>,
    settings: FailoverSettings,
    state: Mutex<State>,
    metrics: BackendMetrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first backend is used; it failed so often in a row.
    First { failures: u32 },
    /// The second is used; at this time the first is tried again.
    Second { until: Timestamp },
}

impl Failover {
    /// The first backend, and one for when it does not work.
    pub fn new(
        first: Arc<dyn DaClient>,
        second: Arc<dyn DaClient>,
        clock: Arc<dyn Clock>,
        settings: FailoverSettings,
        metrics: BackendMetrics,
    ) -> Self {
        Self { first, second, clock, settings, state: Mutex::new(State::First { failures: 0 }), metrics }
    }

    /// Whether this payload goes to the first backend. Of those that come after the cool-down only one does: the others stay with
    /// the second until that one is through.
    fn takes_first(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        match *state {
            State::First { .. } => true,
            State::Second { until } if now < until => false,
            State::Second { .. } => {
                *state = State::Second { until: self.cooled_down(now) };
                true
            }
        }
    }

    /// Whether the next payload goes to the second backend.
    fn is_on_second(&self) -> bool {
        matches!(*self.state.lock(), State::Second { until } if self.clock.now() < until)
    }

    fn works(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::First { failures: 0 });
        if matches!(before, State::Second { .. }) {
            self.metrics.on_second.set(0);
            tracing::info!(backend = self.first.backend(), "the backend certifies again");
        }
    }

    /// Whether the second backend is to be used now.
    fn failed(&self, error: &DaError) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let failures = match *state {
            State::First { failures } => failures + 1,
            State::Second { .. } => self.settings.failures_max,
        };
        if failures < self.settings.failures_max {
            *state = State::First { failures };
            return false;
        }
        if matches!(*state, State::First { .. }) {
            self.metrics.failovers.inc();
            self.metrics.on_second.set(1);
            let (backend, second) = (self.first.backend(), self.second.backend());
            tracing::warn!(backend, second, code = error.code(), %error, "another backend is used for a while");
        }
        *state = State::Second { until: self.cooled_down(now) };
        true
    }

    fn cooled_down(&self, now: Timestamp) -> Timestamp {
        let micros = i64::try_from(self.settings.cool_down.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(now.micros().saturating_add(micros)).unwrap_or(now)
    }
}

#[async_trait]
impl DaClient for Failover {
    fn backend(&self) -> &'static str {
        self.first.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.first.serves(backend) || self.second.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.first.payload_bytes_max().min(self.second.payload_bytes_max())
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        if !self.takes_first() {
            return self.second.disperse(payload).await;
        }
        match self.first.disperse(payload.clone()).await {
            Ok(certificate) => {
                self.works();
                Ok(certificate)
            }
            Err(error @ (DaError::Down { .. } | DaError::OutcomeUnknown { .. })) => match self.failed(&error) {
                true => self.second.disperse(payload).await,
                false => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn under_way(&self, content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        match self.is_on_second() {
            true => self.second.under_way(content_hash).await,
            false => self.first.under_way(content_hash).await,
        }
    }

    async fn release(&self, content_hash: &Hash) {
        // Which of them was at it, they know themselves.
        self.first.release(content_hash).await;
        self.second.release(content_hash).await;
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let (backend, _) = committed(&wanted.certificate)?;
        match self.first.serves(backend) {
            true => self.first.retrieve(wanted).await,
            false => self.second.retrieve(wanted).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::faulty::{Call, DaFault, FaultyDa};
    use crate::fixture::World;
    use crate::outbox::{Outbox, OutboxSettings, PublisherId};

    /// A first backend whose dispersals fail as the script says, by their numbers, in front of a local one.
    struct Scene {
        world: World,
        failover: Failover,
        first: Arc<FaultyDa>,
        second: Arc<FaultyDa>,
        payloads: u32,
    }

    impl Scene {
        async fn new(failures_max: u32, script: impl Fn(u64) -> DaFault + Send + Sync + 'static) -> Self {
            let world = World::new(1).await;
            let first = FaultyDa::new(world.client(), move |call| match call {
                Call::Disperse(number) => script(number),
                Call::Retrieve(_) => DaFault::None,
            });
            let second = FaultyDa::new(world.client(), |_| DaFault::None);
            let settings = FailoverSettings { failures_max, cool_down: Duration::from_secs(60) };
            let (one, two) = (Arc::clone(&first) as Arc<dyn DaClient>, Arc::clone(&second) as Arc<dyn DaClient>);
            let failover = Failover::new(one, two, world.clock.clone(), settings, BackendMetrics::default());
            Self { world, failover, first, second, payloads: 0 }
        }

        async fn disperse(&mut self) -> Result<Certificate, DaError> {
            self.payloads += 1;
            self.failover.disperse(Bytes::from(format!("payload {}", self.payloads))).await
        }

        /// What each backend was asked to disperse so far.
        fn asked(&self) -> (u64, u64) {
            (self.first.dispersals(), self.second.dispersals())
        }
    }

    #[tokio::test]
    async fn after_the_failures_allowed_the_second_backend_is_used_until_the_first_certifies_again() {
        let mut scene = Scene::new(2, |number| if (1..4).contains(&number) { DaFault::Down } else { DaFault::None }).await;
        scene.disperse().await.unwrap();
        let first_failure = scene.disperse().await;
        assert!(matches!(first_failure, Err(DaError::Down { .. })), "{first_failure:?}");
        scene.disperse().await.unwrap();
        assert_eq!(scene.asked(), (3, 1), "the second failure goes on to the second backend");
        scene.disperse().await.unwrap();
        assert_eq!(scene.asked(), (3, 2), "the first is left alone");
        scene.world.clock.advance(Duration::from_secs(61));
        scene.disperse().await.unwrap();
        assert_eq!(scene.asked(), (4, 3), "it was tried once, and failed");
        scene.disperse().await.unwrap();
        assert_eq!(scene.asked(), (4, 4), "and is left alone again");
        scene.world.clock.advance(Duration::from_secs(61));
        scene.disperse().await.unwrap();
        scene.disperse().await.unwrap();
        assert_eq!(scene.asked(), (6, 4), "it certified again, and the others follow");
        assert_eq!((scene.failover.metrics.failovers.get(), scene.failover.metrics.on_second.get()), (1, 0));
    }

    #[tokio::test]
    async fn a_success_between_failures_begins_the_count_again() {
        let mut scene = Scene::new(2, |number| if number % 2 == 0 { DaFault::Down } else { DaFault::None }).await;
        for _ in 0..3 {
            assert!(scene.disperse().await.is_err());
            scene.disperse().await.unwrap();
        }
        assert_eq!(scene.asked(), (6, 0));
    }

    #[tokio::test]
    async fn of_many_after_the_cool_down_one_tries_the_first_backend() {
        let slow = DaFault::Slow(Duration::from_millis(50));
        let mut scene = Scene::new(1, move |number| if number == 0 { DaFault::Down } else { slow }).await;
        scene.disperse().await.unwrap();
        scene.world.clock.advance(Duration::from_secs(61));
        let payloads = (0..10).map(|i| scene.failover.disperse(Bytes::from(format!("at once {i}"))));
        assert!(futures::future::join_all(payloads).await.iter().all(Result::is_ok));
        assert_eq!(scene.asked(), (2, 10));
    }

    #[tokio::test]
    async fn a_busy_backend_and_a_refused_payload_are_no_reason_to_use_another() {
        let mut scene = Scene::new(1, |number| if number == 0 { DaFault::Busy } else { DaFault::None }).await;
        let busy = scene.disperse().await;
        assert!(matches!(busy, Err(DaError::Retry { .. })), "{busy:?}");
        let empty = scene.failover.disperse(Bytes::new()).await;
        assert!(matches!(empty, Err(DaError::Reject { .. })), "{empty:?}");
        assert_eq!(scene.asked().1, 0);
    }

    #[tokio::test]
    async fn an_unknown_outcome_counts_as_a_failure() {
        let mut scene = Scene::new(1, |_| DaFault::LosesAnswer).await;
        scene.disperse().await.unwrap();
        assert_eq!(scene.asked(), (1, 1));
    }

    #[tokio::test]
    async fn another_publisher_at_the_first_backend_is_waited_for_as_long_as_that_is_the_one_that_is_used() {
        let scene = Scene::new(1, |_| DaFault::Down).await;
        let (store, clock) = (Arc::clone(&scene.world.store), Arc::clone(&scene.world.clock));
        let down = Arc::clone(&scene.first) as Arc<dyn DaClient>;
        let outbox = |id: u8, behind| {
            let settings = OutboxSettings {
                publisher: PublisherId([id; 16]),
                attempt_max: Duration::from_secs(600),
                paid_pause_max: Duration::ZERO,
            };
            Arc::new(Outbox::new(behind, Arc::clone(&store), clock.clone(), settings, BackendMetrics::default()))
        };
        let slow = FaultyDa::new(scene.world.client(), |_| DaFault::Slow(Duration::from_secs(3600)));
        let (other, payload) = (outbox(1, slow as Arc<dyn DaClient>), Bytes::from_static(b"theirs"));
        let theirs = tokio::spawn({
            let payload = payload.clone();
            async move { other.disperse(payload).await }
        });
        let settings = FailoverSettings { failures_max: 1, cool_down: Duration::from_secs(60) };
        let metrics = BackendMetrics::default();
        let failover = Failover::new(outbox(2, down), scene.world.client(), clock.clone(), settings, metrics.clone());
        let hash = tributary_schemas::units::keccak256(&payload);
        while failover.under_way(&hash).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(failover.disperse(payload.clone()).await, Err(DaError::UnderWay { .. })));
        assert_eq!(metrics.failovers.get(), 0, "that is no failure");
        failover.disperse(Bytes::from_static(b"ours")).await.unwrap();
        assert_eq!(failover.under_way(&hash).await.unwrap(), None, "the second backend has nothing to wait for");
        failover.disperse(payload).await.unwrap();
        scene.world.clock.advance(Duration::from_secs(61));
        assert!(failover.under_way(&hash).await.unwrap().is_some(), "now the first is to be tried again");
        theirs.abort();
    }
}
