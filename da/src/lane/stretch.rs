//! A stretch of publishing: from where the recorded certificates end, to its target or until it is stopped.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;

use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tributary_schemas::ids::Seq;

use super::order::Order;
use super::planning::Planned;
use super::{Lane, is_retry};
use crate::error::DaError;

/// A lane has so many times as many blobs open as may be under way: beside those that are, the ones whose certificate waits for an
/// earlier one to be recorded, and the ones that other publishers are at. They hold no payload.
const OPEN_FACTOR: usize = 4;

/// Why something was not brought to its end.
pub(super) enum Ended {
    /// The stretch was stopped before it was begun, or what must come before it was not brought to its end.
    Stopped,
    Failed(DaError),
    /// A fault of this program.
    Panicked(Box<dyn Any + Send>),
}

impl From<DaError> for Ended {
    fn from(error: DaError) -> Self {
        Self::Failed(error)
    }
}

/// A stretch of publishing.
pub(super) struct Stretch<'a> {
    pub(super) lane: &'a Lane,
    /// The last batch that is wanted, however young: then the first failure ends the stretch. `None`: all that come, as they ripen,
    /// whatever fails for a while.
    pub(super) target: Option<Seq>,
    /// Once it is cancelled, nothing is planned, tried or sent any more; what was sent goes on to its end.
    pub(super) stop: CancellationToken,
    pub(super) order: Order,
    /// Whether the attempt that ended last got anywhere. While not, nothing more is planned.
    pub(super) works: watch::Sender<bool>,
}

impl<'a> Stretch<'a> {
    /// Of everything that comes, until `stop`.
    pub(super) fn endless(lane: &'a Lane, stop: CancellationToken) -> Self {
        Self { lane, target: None, stop, order: Order::new(), works: watch::Sender::new(true) }
    }

    /// Of everything up to this batch.
    pub(super) fn up_to(lane: &'a Lane, target: Seq) -> Self {
        Self { target: Some(target), ..Self::endless(lane, CancellationToken::new()) }
    }

    /// Publishes it. The first failure that ends it stops what is not sent, and waits for the end of what is: whatever comes before the
    /// failed blob is recorded, and nothing behind it.
    pub(super) async fn publish(&self) -> Result<(), DaError> {
        let first = match self.until_stopped(self.persist(|| self.first_open())).await.flatten() {
            Ok(first) => first,
            Err(Ended::Failed(error)) => return Err(error),
            Err(Ended::Stopped) => return Ok(()),
            Err(Ended::Panicked(panic)) => resume_unwind(panic),
        };
        self.order.begin(first);
        let open_max = self.lane.shared.settings.blobs_in_flight_max.max(1).saturating_mul(OPEN_FACTOR);
        let blobs = self.plans(first).map(|planned| self.see_through(planned).boxed()).buffer_unordered(open_max);
        let (mut blobs, mut failure, mut panicked) = (pin!(blobs), Ok(()), None);
        while let Some(ended) = blobs.next().await {
            match ended {
                Ok(()) | Err(Ended::Stopped) => continue,
                Err(Ended::Failed(error)) => {
                    self.note_failure(&error);
                    failure = failure.and(Err(error));
                }
                Err(Ended::Panicked(panic)) => panicked = Some(panic),
            }
            self.stop.cancel();
        }
        panicked.map_or(failure, |panic| resume_unwind(panic))
    }

    /// The first batch that has no recorded certificate.
    async fn first_open(&self) -> Result<Seq, DaError> {
        let last = self.lane.shared.certificates.last_blob(self.lane.partition).await?;
        Ok(last.map_or(Seq::FIRST, |blob| blob.last_seq.next()))
    }

    /// Delivers a blob. If it is not recorded, for whatever reason, none behind it is.
    async fn see_through(&self, planned: Result<Planned, Ended>) -> Result<(), Ended> {
        let planned = planned?;
        let first = planned.plan.first_seq;
        let delivered = guarded(self.deliver(planned)).await;
        if delivered.is_err() {
            self.order.end(first);
        }
        delivered
    }

    /// Does something, again after each failure that may pass if this stretch is one that goes on.
    pub(super) async fn persist<T, F>(&self, mut operation: impl FnMut() -> F) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, DaError>>,
    {
        let mut failures = 0;
        loop {
            match operation().await {
                Err(error) if self.goes_on_after(&error) => self.pause_after(&error, &mut failures).await?,
                answer => return Ok(answer?),
            }
        }
    }

    /// Whether what failed is to be tried again.
    pub(super) fn goes_on_after(&self, error: &DaError) -> bool {
        self.target.is_none() && is_retry(error)
    }

    /// Notes a failure that may pass, and pauses, the longer the more there were.
    pub(super) async fn pause_after(&self, error: &DaError, failures: &mut u32) -> Result<(), Ended> {
        *failures = failures.saturating_add(1);
        self.lane.shared.metrics.rounds_failed.inc();
        self.note_failure(error);
        self.pause(*failures).await
    }

    pub(super) async fn pause(&self, attempt: u32) -> Result<(), Ended> {
        self.until_stopped(self.lane.shared.patience.pause(attempt)).await
    }

    /// Cuts off what costs nothing when the stretch is stopped.
    pub(super) async fn until_stopped<T>(&self, what: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            // First, so that nothing is begun in the moment in which it is stopped.
            biased;
            () = self.stop.cancelled() => Err(Ended::Stopped),
            done = what => Ok(done),
        }
    }

    /// A stretch with a target tells its caller instead.
    fn note_failure(&self, error: &DaError) {
        if self.target.is_none() {
            self.lane.note(Some(error.to_string()), false);
        }
    }
}

/// Catches a panic: a fault of this program about one blob must not cut off what is sent of others.
pub(super) async fn guarded<T>(what: impl Future<Output = Result<T, Ended>>) -> Result<T, Ended> {
    AssertUnwindSafe(what).catch_unwind().await.unwrap_or_else(|panic| Err(Ended::Panicked(panic)))
}
