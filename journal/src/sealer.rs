//! The sealer: cuts the event log into batches. One task for each partition of its share; no partition waits for another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tributary_eventlog::{EventLog, Share};
use tributary_schemas::ids::{Clock, Offset, Partition, Seq};

use crate::error::JournalError;
use crate::gap;
use crate::metrics::{Metrics, PartitionLabel};
use crate::seen::SeenIndex;
use crate::settings::Settings;
use crate::store::Journal;

pub(crate) mod candidate;
mod crew;
pub(crate) mod gaps;
mod lane;

use crew::Crew;
use lane::{Lane, Turn};

/// How long what is in hand may take to be sealed at the end; then the others wait no longer for the partitions.
const DRAIN_MAX: Duration = Duration::from_secs(5);

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
    /// The partitions of the share.
    own: Mutex<BTreeSet<Partition>>,
}

#[derive(Clone)]
struct Trouble {
    text: String,
    /// What an operator does about it, if nothing else helps.
    cure: Option<String>,
}

impl Trouble {
    fn of(partition: Partition, error: &JournalError) -> Self {
        Self { text: error.to_string(), cure: (!error.is_retry()).then(|| gap::cure(partition, error)) }
    }

    fn is_stopped(&self) -> bool {
        self.cure.is_some()
    }
}

/// How far a partition is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Which partition.
    pub partition: Partition,
    /// Whether it is sealed by this process now.
    pub owned: bool,
    /// Its last batch, `None` before the first.
    pub sealed: Option<Seq>,
    /// The next offset of the log to seal: all before it are sealed, or dropped as duplicates.
    pub next_offset: Offset,
    /// Why it does not get on, `None` while it does.
    pub error: Option<String>,
    /// Whether it stands still until an operator mends the record and starts again; otherwise an error is tried again.
    pub stopped: bool,
    /// What the operator does then.
    pub cure: Option<String>,
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
        let own = Mutex::default();
        let shared = Arc::new(Shared { journal, log, seen, clock, settings, metrics, troubles, own });
        let lanes =
            partitions.into_iter().map(|partition| tokio::sync::Mutex::new(Lane::new(shared.clone(), partition))).collect();
        Self { shared, lanes }
    }

    /// Seals the partitions of the share by size and age until shut down, then seals what is in hand and leaves the share. A
    /// partition that meets damage stands still, which [`Self::state`] and the metrics show, until another process has written
    /// its next batch, such as an operator's; the others go on. Failures that can pass are tried again for ever, with a pause.
    pub async fn run(&self, share: Arc<dyn Share>, shutdown: CancellationToken) {
        let mut partitions = share.partitions();
        let mut crew = Crew::new(self.clone(), Arc::clone(&share), shutdown.clone());
        loop {
            let wanted = partitions.borrow_and_update().clone();
            crew.follow(wanted).await;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                changed = partitions.changed() => if changed.is_err() { break },
                () = crew.watch() => {}
            }
        }
        shutdown.cancelled().await;
        if tokio::time::timeout(DRAIN_MAX, crew.end()).await.is_err() {
            tracing::warn!("a partition was not sealed in time; whoever has it next reads again what was in hand");
        }
        share.leave().await;
        self.shared.own.lock().clear();
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
        let (troubles, own) = (self.shared.troubles.lock().clone(), self.shared.own.lock().clone());
        let of_partition = |(partition, trouble): (Partition, Option<Trouble>)| {
            let head = self.shared.journal.head(partition);
            PartitionState {
                partition,
                owned: own.contains(&partition),
                sealed: head.as_ref().map(|header| header.seq),
                next_offset: head.map_or(Offset::FIRST, |header| header.next_offset),
                stopped: trouble.as_ref().is_some_and(Trouble::is_stopped),
                cure: trouble.as_ref().and_then(|trouble| trouble.cure.clone()),
                error: trouble.map(|trouble| trouble.text),
            }
        };
        self.shared.journal.partitions().zip(troubles).map(of_partition).collect()
    }

    /// The partitions that stand still until an operator mends the record, and why; cheap enough to ask for every append.
    pub fn stopped(&self) -> Vec<(Partition, String)> {
        let troubles = self.shared.troubles.lock();
        let of_partition = |(partition, trouble): (Partition, &Option<Trouble>)| {
            let trouble = trouble.as_ref().filter(|trouble| trouble.is_stopped())?;
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
        self.settings.jitter.between(self.settings.retry_pause / 2, self.settings.retry_pause)
    }

    fn note(&self, partition: Partition, error: Option<&JournalError>) {
        let trouble = error.map(|error| Trouble::of(partition, error));
        let stopped = trouble.as_ref().is_some_and(Trouble::is_stopped);
        self.metrics.stopped.get_or_create(&PartitionLabel(partition)).set(i64::from(stopped));
        let mut troubles = self.troubles.lock();
        let known = troubles[partition.index()].as_ref().map(|known| known.text.as_str());
        if let Some(new) = trouble.as_ref().filter(|new| known != Some(new.text.as_str())) {
            tracing::warn!(%partition, error = %new.text, "the partition does not get on");
        }
        troubles[partition.index()] = trouble;
    }

    /// Lets go of a partition that another process has now: its lag is that one's to tell, and it is read here no more.
    fn let_go(&self, partition: Partition) {
        self.note(partition, None);
        self.metrics.lag.remove(&PartitionLabel(partition));
        self.log.forget(partition);
    }

    fn age_left(&self, since: tributary_schemas::ids::Timestamp) -> Duration {
        let age = self.clock.now().micros().saturating_sub(since.micros());
        // A clock that was set back says nothing of the age any more.
        u64::try_from(age).map_or(Duration::ZERO, |age| self.settings.batch_age_max.saturating_sub(Duration::from_micros(age)))
    }
}

#[cfg(test)]
mod tests;
