//! The indexer: rounds as long as there are batches, and the upkeep of the tables beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Clock;
use tributary_schemas::tables::Table;

use crate::error::{Kind, Result};
use crate::lake::Lake;
use crate::metrics::RoundMetrics;
use crate::pause::jittered;
use crate::round::{Done, Marks, Round, cut_of};
use crate::settings::Settings;

/// The cut that every table of events has.
#[derive(Clone, Debug)]
pub struct IndexedCut {
    lake: Arc<Lake>,
}

impl IndexedCut {
    /// The indexed cut of a lake.
    pub fn new(lake: Arc<Lake>) -> Self {
        Self { lake }
    }

    /// The cut now. Every row of every batch it covers is in its table.
    ///
    /// Errors: the store does not answer (retry), or the log of `events` is damaged.
    pub async fn indexed(&self) -> Result<Cut> {
        Ok(cut_of(&*self.lake.snapshot(Table::Events).await?))
    }
}

/// Brings sealed batches into the tables, each row exactly once. Several indexers of one lake are safe: one is ahead, the
/// others find its rows there.
pub struct Indexer {
    journal: Arc<Journal>,
    lake: Arc<Lake>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    rounds: AtomicUsize,
    last_error: Mutex<Option<String>>,
    metrics: RoundMetrics,
}

impl Indexer {
    /// An indexer of a journal into a lake. The clock times its rounds.
    pub fn new(journal: Arc<Journal>, lake: Arc<Lake>, clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            journal,
            lake,
            clock,
            settings,
            rounds: AtomicUsize::new(0),
            last_error: Mutex::default(),
            metrics: RoundMetrics::default(),
        })
    }

    /// The cut that every table of events has.
    ///
    /// Errors: as [`IndexedCut::indexed`].
    pub async fn indexed(&self) -> Result<Cut> {
        IndexedCut::new(Arc::clone(&self.lake)).indexed().await
    }

    /// What its rounds count; [`Lake::metrics`] has what the tables count.
    pub fn metrics(&self) -> &RoundMetrics {
        &self.metrics
    }

    /// Why the last round failed; `None` once one succeeded.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// Indexes every batch that is sealed now.
    ///
    /// Errors: the store does not answer (retry), or a batch or a log is damaged. What was committed before stays.
    pub async fn index_available(&self) -> Result<()> {
        let target = self.journal.refresh_all().await?;
        self.create_tables().await?;
        while !self.indexed().await?.is_at_least(&target) {
            self.round(target.clone()).await?;
        }
        Ok(())
    }

    /// Indexes until shutdown, and keeps the tables in shape beside it. A round that fails is tried again with growing pauses;
    /// [`Self::last_error`] tells why.
    pub async fn run(&self, shutdown: CancellationToken) {
        futures::join!(self.run_rounds(&shutdown), self.run_upkeep(&shutdown));
    }

    async fn run_rounds(&self, stop: &CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.next_round() => ended,
            };
            let Err(error) = ended else {
                failures = 0;
                *self.last_error.lock() = None;
                continue;
            };
            failures += 1;
            // What a retry cannot mend needs a person; it is tried at the slowest pace until that person has been there.
            let mends_itself = matches!(error.kind(), Kind::Retry | Kind::Closed);
            let pause = jittered(self.settings.retry_pause_max, if mends_itself { failures } else { u32::MAX });
            self.metrics.retries.inc();
            if mends_itself {
                tracing::warn!(%error, failures, pause_ms = pause.as_millis(), "a round failed and is tried again");
            } else {
                tracing::error!(%error, code = error.code(), failures, "a round cannot be indexed");
            }
            *self.last_error.lock() = Some(error.to_string());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Waits for a batch and indexes what is there.
    async fn next_round(&self) -> Result<()> {
        self.create_tables().await?;
        let indexed = self.indexed().await?;
        let mut news: FuturesUnordered<_> =
            self.journal.partitions().map(|partition| self.journal.wait_beyond(partition, indexed.get(partition))).collect();
        if let Some(header) = news.next().await {
            header?;
        }
        self.round(self.journal.heads()).await?;
        Ok(())
    }

    async fn round(&self, heads: Cut) -> Result<Done> {
        let began = self.clock.now();
        let marks = Arc::new(Marks::read(&self.lake).await?);
        let number = self.rounds.fetch_add(1, Ordering::Relaxed);
        let round = Round { journal: &self.journal, lake: &self.lake, settings: &self.settings, marks, heads, number };
        let done = round.run().await?;
        if done.committed {
            self.metrics.batches.inc_by(done.batches);
            self.metrics.events.inc_by(done.events);
            let took = Duration::from_micros(self.clock.now().micros().saturating_sub(began.micros()).unsigned_abs());
            self.metrics.round_seconds.observe(took.as_secs_f64());
            tracing::debug!(batches = done.batches, events = done.events, took_ms = took.as_millis(), "indexed");
        }
        Ok(done)
    }

    /// Every table of events exists from the start, so that other programs can read them before they have rows.
    async fn create_tables(&self) -> Result<()> {
        futures::future::try_join_all(Table::EVENT_TABLES.iter().map(|table| self.lake.create(*table))).await?;
        Ok(())
    }

    /// Checkpoints, merges and sweeps, one table after the other. What fails is tried again in the next period.
    async fn run_upkeep(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.settings.maintenance_period) => {}
            }
            for table in Table::ALL {
                let ended = tokio::select! {
                    () = stop.cancelled() => return,
                    ended = self.lake.keep_up(*table) => ended,
                };
                if let Err(error) = ended {
                    tracing::warn!(table = table.name(), %error, "the upkeep of a table failed and is tried again later");
                }
            }
        }
    }
}

impl std::fmt::Debug for Indexer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Indexer").field("lake", &self.lake).field("settings", &self.settings).finish_non_exhaustive()
    }
}
