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

use crate::damages::Damages;
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

/// Why nothing is indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, on what.
    pub error: String,
    /// Whether it stays until an operator mends it; otherwise it passes by itself.
    pub stopped: bool,
}

/// Brings sealed batches into the tables, each row exactly once. Several indexers of one lake are safe: one is ahead, the
/// others find its rows there.
pub struct Indexer {
    journal: Arc<Journal>,
    lake: Arc<Lake>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    rounds: AtomicUsize,
    trouble: Mutex<Option<Trouble>>,
    damages: Damages,
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
            trouble: Mutex::default(),
            damages: Damages::default(),
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

    /// Why the last round failed, or which damage keeps a partition from being indexed; `None` once neither is so.
    pub fn trouble(&self) -> Option<Trouble> {
        let damage = || self.damages.first().map(|error| Trouble { error, stopped: true });
        self.trouble.lock().clone().or_else(damage)
    }

    /// Indexes every batch that is sealed now. A damaged batch is told after all were indexed that it does not keep back.
    ///
    /// Errors: the store does not answer (retry), or a batch or a log is damaged. What was committed before stays.
    pub async fn index_available(&self) -> Result<()> {
        let mut target = self.journal.refresh_all().await?;
        let mut damage = None;
        self.create_tables().await?;
        while !self.indexed().await?.is_at_least(&target) {
            for (damaged, error) in self.round(target.clone()).await?.damaged {
                target = target.iter().filter(|(partition, _)| *partition != damaged).collect();
                damage.get_or_insert(error);
            }
        }
        damage.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Indexes until shutdown, and keeps the tables in shape beside it. A round that fails is tried again with growing pauses.
    /// A partition in which a batch is damaged stops there, and is looked at again from time to time; the others go on.
    /// [`Self::trouble`] tells of both.
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
                *self.trouble.lock() = None;
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
            *self.trouble.lock() = Some(Trouble { error: error.to_string(), stopped: !mends_itself });
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Waits for a batch and indexes what is there, but for partitions that rest because of damage.
    async fn next_round(&self) -> Result<()> {
        self.create_tables().await?;
        let indexed = self.indexed().await?;
        let awake = self.journal.partitions().filter(|partition| !self.damages.rests(*partition));
        let wait = |partition| {
            let known = indexed.get(partition);
            async move { (partition, self.journal.wait_beyond(partition, known).await) }
        };
        let mut news: FuturesUnordered<_> = awake.map(wait).collect();
        let news = async {
            match news.next().await {
                Some(news) => news,
                // All of them rest.
                None => std::future::pending().await,
            }
        };
        // A partition that rests has no news, so that it must be looked at again by itself.
        let longest = self.damages.first().map_or(Duration::MAX, |_| self.rest());
        match tokio::time::timeout(longest, news).await {
            Ok((partition, Err(error))) if error.is_corrupt() => {
                self.metrics.retries.inc();
                self.damages.note(partition, &error, self.rest());
                return Ok(());
            }
            Ok((_, Err(error))) => return Err(error.into()),
            Ok((_, Ok(_))) | Err(_) => {}
        }
        let heads = self.journal.heads();
        let done = self.round(heads.iter().filter(|(partition, _)| !self.damages.rests(*partition)).collect()).await?;
        self.damages.forget(&done.reached);
        for (partition, error) in &done.damaged {
            self.metrics.retries.inc();
            self.damages.note(*partition, error, self.rest());
        }
        Ok(())
    }

    /// How long a damaged partition rests: what a retry cannot mend is tried at the slowest pace.
    fn rest(&self) -> Duration {
        jittered(self.settings.retry_pause_max, u32::MAX)
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
