//! One partition's way from sealed batches to recorded certificates.
//!
//! A lane has several blobs under way at once. They are [planned](planning) one after the other, [delivered](delivery) side by side,
//! and their certificates are recorded in the [order] of the sequence.

mod delivery;
mod order;
mod planning;
mod stretch;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tributary_journal::{Journal, JournalError};
use tributary_schemas::ids::{Clock, Partition, Timestamp};

use crate::certificates::Certificates;
use crate::client::DaClient;
use crate::dispersal::Dispersal;
use crate::error::DaError;
use crate::genesis;
use crate::metrics::{Metrics, PartitionLabel};
use crate::plan::Plan;
use crate::retry::Patience;
use crate::settings::Settings;
use stretch::Stretch;

/// What the lanes of one publisher share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) client: Arc<dyn DaClient>,
    pub(crate) dispersal: Dispersal,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) metrics: Metrics,
    pub(crate) patience: Patience,
    /// One permit for each blob that may be under way. Whoever has waited longest gets the next.
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) genesis: OnceCell<()>,
}

impl Shared {
    /// Once for each publisher, before its first plan.
    async fn place_genesis(&self) -> Result<(), DaError> {
        let place = || genesis::place(&self.store, self.journal.genesis(), &self.patience);
        self.genesis.get_or_try_init(place).await?;
        Ok(())
    }
}

/// How one partition fares, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The partition.
    pub partition: Partition,
    /// The last failure, until a blob is published again.
    pub last_error: Option<String>,
    /// Whether that failure stopped the partition until an operator looks and the service starts again.
    pub stopped: bool,
    /// Until when the answer to another publisher is awaited, if it is at a blob of this partition.
    pub awaits: Option<Timestamp>,
}

pub(crate) struct Lane {
    partition: Partition,
    shared: Arc<Shared>,
    state: watch::Sender<LaneState>,
    /// One publishes at a time: two of one process would only disperse twice.
    turn: Mutex<()>,
}

/// The right to have a blob under way: to plan it, to hold its payload and to send it.
struct Permit {
    _permit: OwnedSemaphorePermit,
    in_flight: Gauge,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

impl Lane {
    pub(crate) fn new(partition: Partition, shared: Arc<Shared>) -> Self {
        let state = LaneState { partition, last_error: None, stopped: false, awaits: None };
        Self { partition, shared, state: watch::Sender::new(state), turn: Mutex::new(()) }
    }

    pub(crate) fn state(&self) -> LaneState {
        self.state.borrow().clone()
    }

    /// Publishes until shutdown, or until an error that no retry cures. Either way nothing more is planned or sent then, and what
    /// was sent is brought to its end: to cut it off is safe like a crash, but may be to pay for it in vain.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let Some(_turn) = shutdown.run_until_cancelled(self.turn.lock()).await else { return };
        if let Err(error) = Stretch::endless(self, shutdown.child_token()).publish().await {
            tracing::error!(partition = self.partition.get(), code = error.code(), %error, "publishing stopped");
            self.note(Some(error.to_string()), true);
        }
    }

    /// Publishes everything that is sealed now, however young.
    pub(crate) async fn publish_available(&self) -> Result<(), DaError> {
        let _turn = self.turn.lock().await;
        match self.shared.journal.refresh(self.partition).await? {
            Some(head) => Stretch::up_to(self, head.seq).publish().await,
            None => Ok(()),
        }
    }

    async fn permit(&self) -> Permit {
        let permit = Arc::clone(&self.shared.in_flight).acquire_owned().await;
        let permit = permit.expect("the semaphore lives as long as the lanes and is never closed");
        let in_flight = self.shared.metrics.in_flight.get_or_create(&self.label()).clone();
        in_flight.inc();
        Permit { _permit: permit, in_flight }
    }

    /// Until when another publisher may be at the blob, if one is.
    async fn under_way(&self, plan: &Plan) -> Result<Option<Timestamp>, DaError> {
        self.shared.patience.run(|| self.shared.client.under_way(&plan.payload_hash)).await
    }

    fn note_awaited(&self, until: Timestamp) {
        self.state.send_modify(|state| state.awaits = Some(until));
    }

    pub(crate) fn note(&self, last_error: Option<String>, stopped: bool) {
        self.shared.metrics.stopped.get_or_create(&self.label()).set(i64::from(stopped));
        self.state.send_modify(|state| {
            state.last_error = last_error;
            state.stopped = stopped;
            state.awaits = None;
        });
    }

    fn label(&self) -> PartitionLabel {
        self.partition.into()
    }
}

/// How long ago that was. A clock behind the sealer's makes nobody wait longer than the whole age.
pub(crate) fn age(sealed_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.micros().saturating_sub(sealed_at.micros())).unwrap_or(0))
}

fn is_retry(error: &DaError) -> bool {
    match error {
        DaError::Retry { .. } | DaError::Down { .. } | DaError::OutcomeUnknown { .. } | DaError::UnderWay { .. } => true,
        // What expires between its dispersal and its record is dispersed again.
        DaError::Expired { .. } | DaError::Late { .. } => true,
        DaError::Journal(JournalError::Retry { .. }) => true,
        DaError::Reject { .. } | DaError::Corrupt { .. } | DaError::Missing { .. } | DaError::Journal(_) => false,
    }
}
