//! The service that publishes every sealed batch.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Clock;

use crate::certificates::Certificates;
use crate::dispersal::Dispersal;
use crate::error::DaError;
use crate::gauges::Gauges;
use crate::lane::{Lane, LaneState, Shared};
use crate::metrics::Metrics;
use crate::settings::{BLOBS_IN_FLIGHT_LIMIT, Settings};

/// Bundles the batches of every partition into blobs and sees each certified.
///
/// Several publishers of one deployment may run at once, on any machines: the plan that lies in the store first is carried out
/// by all of them, and the certificate that is recorded first counts. Where dispersals cost something, each leaves to the others what
/// they are at ([`crate::Outbox`]).
pub struct Publisher {
    lanes: Vec<Arc<Lane>>,
    pub(crate) gauges: Arc<Gauges>,
    shared: Arc<Shared>,
}

impl Publisher {
    /// A publisher for all partitions of the journal. Nothing happens before [`Self::run`] or [`Self::publish_available`].
    pub fn new(dispersal: Dispersal, journal: Arc<Journal>, clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        let partitions = journal.genesis().partitions;
        let metrics = dispersal.metrics.clone();
        metrics.paused.set(i64::from(settings.paused));
        let shared = Arc::new(Shared {
            certificates: Arc::new(Certificates::new(Arc::clone(&dispersal.store))),
            patience: dispersal.patience.clone(),
            in_flight: Arc::new(Semaphore::new(settings.blobs_in_flight_max.clamp(1, BLOBS_IN_FLIGHT_LIMIT))),
            genesis: OnceCell::new(),
            store: Arc::clone(&dispersal.store),
            client: Arc::clone(&dispersal.client),
            dispersal,
            journal,
            clock,
            settings,
            metrics,
        });
        let lanes = partitions.partitions().map(|partition| Arc::new(Lane::new(partition, Arc::clone(&shared)))).collect();
        Arc::new(Self { lanes, gauges: Arc::new(Gauges::new(Arc::clone(&shared))), shared })
    }

    /// Publishes what is sealed, as it is sealed, one task per partition with several blobs under way, until shutdown; those that were
    /// sent by then are brought to their end. On start it continues where the recorded certificates end, with all plans in place there.
    ///
    /// A failure that may pass is retried for ever with a growing pause; one that no retry cures stops its partition, is logged
    /// once and stands in [`Self::state`]; the others go on. While paused, nothing happens but that gauges are kept.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let (gauges, ends) = (Arc::clone(&self.gauges), shutdown.clone());
        tasks.spawn(async move { gauges.run(ends).await });
        if !self.shared.settings.paused {
            for lane in &self.lanes {
                let (lane, shutdown) = (Arc::clone(lane), shutdown.clone());
                tasks.spawn(async move {
                    // A fault of this program stops its partition like damage does, instead of passing unseen.
                    if AssertUnwindSafe(lane.run(shutdown)).catch_unwind().await.is_err() {
                        lane.note(Some("the publisher's task ended early; its log has the panic".to_owned()), true);
                    }
                });
            }
        }
        shutdown.cancelled().await;
        tasks.join_all().await;
    }

    /// Publishes everything that is sealed now, however young, and returns the certified cut. While paused, nothing is
    /// published and the cut is what was certified before. What publishes already, [`Self::run`] too, comes to its end first.
    ///
    /// # Errors
    /// That of the first partition that met one. What was sent, of any partition, was brought to its end: to cut it off would be to pay
    /// for it in vain.
    pub async fn publish_available(&self) -> Result<Cut, DaError> {
        if !self.shared.settings.paused {
            let ended = join_all(self.lanes.iter().map(|lane| lane.publish_available())).await;
            ended.into_iter().collect::<Result<(), DaError>>()?;
        }
        self.shared.certificates.certified().await
    }

    /// The reader of recorded certificates; those who wait on it are woken by this publisher.
    pub fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.shared.certificates)
    }

    /// Whether it was told to publish nothing.
    pub fn paused(&self) -> bool {
        self.shared.settings.paused
    }

    /// How every partition fares, in ascending order.
    pub fn state(&self) -> Vec<LaneState> {
        self.lanes.iter().map(|lane| lane.state()).collect()
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}
