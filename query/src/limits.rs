//! Who may run a query now, and what it may use.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool, UnboundedMemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::{Code, QueryError};
use crate::functions::Budget;
use crate::guard::Stop;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// What a query is told to wait when all places are taken.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Consumers of memory that an error about memory names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// The limits of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From admission to the last row.
    pub(crate) time: Option<Duration>,
    /// Bytes of memory and of disk.
    pub(crate) space: Option<(usize, u64)>,
    /// Rows of the answer.
    pub(crate) rows: u64,
}

impl Limits {
    /// The limits of the settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            time: Some(settings.query_timeout),
            space: Some((settings.query_memory_max, settings.query_spill_max)),
            rows: settings.rows_max,
        }
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Self { time: None, space: None, rows: u64::MAX }
    }

    /// When a query admitted now must have ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.time.and_then(|time| Instant::now().checked_add(time))
    }

    /// What the values of a query's functions may take: as much as its operators.
    pub(crate) fn budget(&self, stop: &Stop) -> Budget {
        Budget::new(self.space.map_or(u64::MAX, |(memory, _)| memory as u64), stop.clone())
    }

    /// A query's own memory and disk, over what all queries share.
    pub(crate) fn runtime(&self, shared: &RuntimeEnv, settings: &Settings) -> Result<Arc<RuntimeEnv>> {
        let builder = RuntimeEnvBuilder::from_runtime_env(shared);
        let mode = match &settings.spill_dir {
            Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default().with_mode(mode);
        match self.space {
            Some((memory, spill)) => builder
                .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(memory), CONSUMERS_NAMED)))
                .with_disk_manager_builder(disk.with_max_temp_directory_size(spill))
                .build_arc(),
            None => {
                builder.with_memory_pool(Arc::new(UnboundedMemoryPool::default())).with_disk_manager_builder(disk).build_arc()
            }
        }
    }
}

/// Lets a bounded number of queries run, and a bounded number wait in the order they came.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    metrics: Metrics,
}

/// The place of a running query; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    running: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.dec();
    }
}

impl Admission {
    pub(crate) fn new(settings: &Settings, metrics: Metrics) -> Self {
        Self::with(settings.queries_max, settings.queries_waiting_max, metrics)
    }

    /// Places for something else than queries, counted with them.
    pub fn with(places: usize, waiting_max: usize, metrics: Metrics) -> Self {
        let places = Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        Self { places, waiting: AtomicUsize::new(0), waiting_max, metrics }
    }

    /// A place without waiting and without bound.
    pub(crate) fn unlimited(&self) -> Place {
        self.place(None)
    }

    /// A place, if one is free now.
    pub(crate) fn try_admit(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(self.place(Some(permit)))
    }

    /// A place, as soon as one is free.
    ///
    /// # Errors
    /// `busy` if too many wait already, or none was free before the deadline.
    pub async fn admit(&self, deadline: Option<Instant>) -> Result<Place, QueryError> {
        if let Some(place) = self.try_admit() {
            return Ok(place);
        }
        let _waiting = Waiting::enter(self)?;
        let permit = Arc::clone(&self.places).acquire_owned();
        let permit = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, permit).await.map_err(|_| busy())?,
            None => permit.await,
        };
        let permit = permit.map_err(|_| QueryError::new(Code::Internal, "the places for queries are never closed"))?;
        Ok(self.place(Some(permit)))
    }

    fn place(&self, permit: Option<OwnedSemaphorePermit>) -> Place {
        let running = self.metrics.running.clone();
        running.inc();
        Place { _permit: permit, running }
    }
}

/// Counts one that waits, until dropped.
struct Waiting<'a>(&'a Admission);

impl<'a> Waiting<'a> {
    fn enter(admission: &'a Admission) -> Result<Self, QueryError> {
        let room = |waiting: usize| (waiting < admission.waiting_max).then_some(waiting + 1);
        admission.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).map_err(|_| busy())?;
        admission.metrics.waiting.inc();
        Ok(Self(admission))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.waiting.dec();
    }
}

fn busy() -> QueryError {
    let mut error = QueryError::new(Code::Busy, "all places for queries are taken; ask again shortly");
    error.retry_after = Some(RETRY_AFTER);
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn admission(queries_max: usize, queries_waiting_max: usize) -> Arc<Admission> {
        let settings = Settings { queries_max, queries_waiting_max, ..Settings::default() };
        Arc::new(Admission::new(&settings, Metrics::default()))
    }

    #[tokio::test]
    async fn a_query_beyond_the_places_waits_and_one_beyond_the_queue_is_sent_away() {
        let admission = admission(1, 1);
        let place = admission.admit(None).await.unwrap();
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit(None).await.map(|_| ()) }
        });
        while admission.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        let third = admission.admit(None).await.unwrap_err();
        assert_eq!((third.code, third.retry_after), (Code::Busy, Some(RETRY_AFTER)));
        drop(place);
        assert_eq!(second.await.unwrap(), Ok(()));
        assert_eq!((admission.metrics.running.get(), admission.metrics.waiting.get()), (0, 0));
    }

    #[tokio::test]
    async fn a_query_does_not_wait_past_its_deadline() {
        let admission = admission(1, 8);
        let _place = admission.admit(None).await.unwrap();
        let deadline = Some(Instant::now());
        assert_eq!(admission.admit(deadline).await.unwrap_err().code, Code::Busy);
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
    }
}
