//! The service that publishes every sealed batch.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::try_join_all;
use object_store::ObjectStore;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Clock;

use crate::certificates::Certificates;
use crate::client::DaClient;
use crate::error::DaError;
use crate::lane::{Lane, LaneState, Shared};
use crate::metrics::Metrics;
use crate::retry::Patience;
use crate::settings::Settings;

/// Bundles the batches of every partition into blobs and sees each certified.
///
/// Several publishers of one deployment may run at once, on any machines: the plan that lies in the store first is carried out
/// by all of them, and the certificate that is recorded first counts. What a second one costs is dispersals in vain.
pub struct Publisher {
    lanes: Vec<Arc<Lane>>,
    shared: Arc<Shared>,
}

impl Publisher {
    /// A publisher for all partitions of the journal. Nothing happens before [`Self::run`] or [`Self::publish_available`].
    pub fn new(
        store: Arc<dyn ObjectStore>,
        journal: Arc<Journal>,
        client: Arc<dyn DaClient>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Self> {
        let partitions = journal.genesis().partitions;
        let metrics = Metrics::default();
        metrics.paused.set(i64::from(settings.paused));
        let shared = Arc::new(Shared {
            certificates: Arc::new(Certificates::new(Arc::clone(&store))),
            patience: Patience::new(&settings, metrics.clone()),
            in_flight: Semaphore::new(settings.blobs_in_flight_max.max(1)),
            store,
            journal,
            client,
            clock,
            settings,
            metrics,
        });
        let lanes = partitions.partitions().map(|partition| Arc::new(Lane::new(partition, Arc::clone(&shared)))).collect();
        Arc::new(Self { lanes, shared })
    }

    /// Publishes what is sealed, as it is sealed, one task per partition, until shutdown. On start it continues where the
    /// recorded certificates end, with the plan in place if there is one.
    ///
    /// A failure that may pass is retried for ever with a growing pause; one that no retry cures stops its partition, is logged
    /// once and stands in [`Self::state`]; the others go on. While paused, nothing happens.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
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
    /// published and the cut is what was certified before.
    ///
    /// # Errors
    /// The first that any partition met; the others may have gone on.
    pub async fn publish_available(&self) -> Result<Cut, DaError> {
        if !self.shared.settings.paused {
            try_join_all(self.lanes.iter().map(|lane| lane.publish_available())).await?;
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
