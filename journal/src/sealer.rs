//! The sealer: cuts the event log into batches. One task for each partition; no partition waits for another.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tributary_eventlog::EventLog;
use tributary_schemas::ids::{Clock, Offset, Partition, Seq};

use crate::error::JournalError;
use crate::metrics::{Metrics, PartitionLabel};
use crate::seen::SeenIndex;
use crate::settings::Settings;
use crate::store::Journal;

mod candidate;
mod gaps;
mod lane;

use lane::{Lane, Turn};

/// Seals what the log holds. Clones share the work; a second sealer of the same journal, in this process or another, is
/// safe: it loses or wins each batch as a whole.
#[derive(Clone)]
pub struct Sealer {
    shared: Arc<Shared>,
    lanes: Arc<[tokio::sync::Mutex<Lane>]>,
}

/// What all lanes use.
struct Shared {
    journal: Arc<Journal>,
    log: Arc<dyn EventLog>,
    seen: SeenIndex,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: Metrics,
    /// Why a partition does not get on, by partition.
    troubles: Mutex<Vec<Option<Trouble>>>,
}

#[derive(Clone)]
struct Trouble {
    text: String,
    stopped: bool,
}

/// How far a partition is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Which partition.
    pub partition: Partition,
    /// Its last batch, `None` before the first.
    pub sealed: Option<Seq>,
    /// The next offset of the log to seal: all before it are sealed, or dropped as duplicates.
    pub next_offset: Offset,
    /// Why it does not get on, `None` while it does.
    pub error: Option<String>,
    /// Whether it stands still until an operator mends the record and starts again; otherwise an error is tried again.
    pub stopped: bool,
}

impl Sealer {
    /// A sealer of every partition of the journal. Nothing is read or written before [`Self::run`] or
    /// [`Self::seal_available`].
    pub fn new(
        journal: Arc<Journal>,
        log: Arc<dyn EventLog>,
        seen: SeenIndex,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let metrics = journal.metrics().clone();
        let partitions: Vec<Partition> = journal.partitions().collect();
        let troubles = Mutex::new(vec![None; partitions.len()]);
        let shared = Arc::new(Shared { journal, log, seen, clock, settings, metrics, troubles });
        let lanes =
            partitions.into_iter().map(|partition| tokio::sync::Mutex::new(Lane::new(shared.clone(), partition))).collect();
        Self { shared, lanes }
    }

    /// Seals by size and age until shut down. A partition that meets damage stops there, which [`Self::state`] and the
    /// metrics show; the others go on. Failures that can pass are tried again for ever, with a pause.
    pub async fn run(&self, shutdown: CancellationToken) {
        let run = |partition| {
            let task = tokio::spawn(self.clone().run_partition(partition, shutdown.clone()));
            async move { (partition, task.await) }
        };
        // In the order in which they end: one that breaks is noted at once, though the others live on.
        let mut tasks: FuturesUnordered<_> = self.shared.journal.partitions().map(run).collect();
        while let Some((partition, ended)) = tasks.next().await {
            if let Err(error) = ended {
                tracing::error!(%partition, %error, "the sealer's task ended early");
                self.shared.note(partition, Some(&JournalError::Refused(format!("the sealer's task ended early: {error}"))));
            }
        }
    }

    /// Seals everything that lies in the log now, small batches too, then returns. Partitions with damage are named in the
    /// error after the others were sealed.
    ///
    /// # Errors
    /// The first of the partitions' errors.
    pub async fn seal_available(&self) -> Result<(), JournalError> {
        let sealed = self.shared.journal.partitions().map(|partition| self.seal_partition(partition));
        futures::future::join_all(sealed).await.into_iter().collect()
    }

    /// How far every partition is, without a request.
    pub fn state(&self) -> Vec<PartitionState> {
        let troubles = self.shared.troubles.lock().clone();
        let of_partition = |(partition, trouble): (Partition, Option<Trouble>)| {
            let head = self.shared.journal.head(partition);
            PartitionState {
                partition,
                sealed: head.as_ref().map(|header| header.seq),
                next_offset: head.map_or(Offset::FIRST, |header| header.next_offset),
                stopped: trouble.as_ref().is_some_and(|trouble| trouble.stopped),
                error: trouble.map(|trouble| trouble.text),
            }
        };
        self.shared.journal.partitions().zip(troubles).map(of_partition).collect()
    }

    /// The partitions that stand still until an operator mends the record, and why; cheap enough to ask for every append.
    pub fn stopped(&self) -> Vec<(Partition, String)> {
        let troubles = self.shared.troubles.lock();
        let of_partition = |(partition, trouble): (Partition, &Option<Trouble>)| {
            let trouble = trouble.as_ref().filter(|trouble| trouble.stopped)?;
            Some((partition, trouble.text.clone()))
        };
        self.shared.journal.partitions().zip(troubles.iter()).filter_map(of_partition).collect()
    }

    /// The journal it writes.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.shared.journal
    }

    async fn seal_partition(&self, partition: Partition) -> Result<(), JournalError> {
        let target = self.shared.log.bounds(partition).await.map_err(|error| JournalError::log(partition, error))?.next;
        let mut lane = self.lanes[partition.index()].lock().await;
        let sealed = lane.seal_up_to(target).await;
        self.shared.note(partition, sealed.as_ref().err());
        sealed
    }

    async fn run_partition(self, partition: Partition, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let turn = self.lanes[partition.index()].lock().await.turn().await;
            self.shared.note(partition, turn.as_ref().err());
            let wait = match turn {
                Ok(turn) => turn,
                Err(error) if error.is_retry() => {
                    self.shared.metrics.turn_retries.get_or_create(&PartitionLabel(partition)).inc();
                    Turn::Rest(self.shared.retry_pause())
                }
                Err(error) => {
                    tracing::error!(%partition, %error, "the partition is not sealed any further");
                    return;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.shared.rest(partition, wait) => {}
            }
        }
    }
}

impl Shared {
    /// Waits until the next turn is worth its while.
    async fn rest(&self, partition: Partition, turn: Turn) {
        match turn {
            Turn::Again => tokio::task::yield_now().await,
            Turn::Rest(pause) => tokio::time::sleep(pause).await,
            Turn::Idle { from } => {
                if self.log.wait_beyond(partition, from).await.is_err() {
                    // The next turn meets the same error and tells it.
                    tokio::time::sleep(self.retry_pause()).await;
                }
            }
        }
    }

    /// How long to rest after a failure: between half of the longest pause and the whole, for partitions (and processes)
    /// that failed together must not ask the store again together.
    fn retry_pause(&self) -> Duration {
        self.settings.retry_pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    fn note(&self, partition: Partition, error: Option<&JournalError>) {
        let trouble = error.map(|error| Trouble { text: error.to_string(), stopped: !error.is_retry() });
        let stopped = trouble.as_ref().is_some_and(|trouble| trouble.stopped);
        self.metrics.stopped.get_or_create(&PartitionLabel(partition)).set(i64::from(stopped));
        self.troubles.lock()[partition.index()] = trouble;
    }

    fn age_left(&self, since: tributary_schemas::ids::Timestamp) -> Duration {
        let age = self.clock.now().micros().saturating_sub(since.micros());
        self.settings.batch_age_max.saturating_sub(Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests;
