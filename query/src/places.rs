//! The index of places, kept up with the record: lookups by key read only the batches that hold the key, and what counts is
//! known without grouping a table.
//!
//! It is built in memory, from the lake in the background and from the tail as questions come. A question whose cut it does not
//! cover, or a record too large for it, is answered without it.

mod fill;
mod index;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tributary_indexer::Snapshot;
use tributary_schemas::cut::Cut;
use tributary_schemas::tables::Table;

use crate::catalog::{Sources, cut_of};
use crate::metrics::Metrics;
use crate::tail::TailRows;
use datafusion::execution::session_state::SessionState;
use tokio::runtime::Handle;

pub(crate) use index::{EventPlace, Index, KeyHash, Rule, Standing};
use index::{Hashers, Unfit};

/// So many batches are added while a question waits; more are added behind it.
const BATCHES_WAITED_FOR: u64 = 256;
/// No question waits longer.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// The index of one engine, and how far it is.
pub(crate) struct Places {
    inner: RwLock<Inner>,
    /// Held while the lake is read; two readings at once would do the same work.
    filling: tokio::sync::Mutex<()>,
    /// Whether so much is being added that no question should wait for it.
    is_filling_long: AtomicBool,
    hashers: Hashers,
    metrics: Metrics,
}

struct Inner {
    index: Index,
    covered: Cut,
    unfit: Option<Unfit>,
}

/// What a question has that the index can be filled from.
pub(crate) struct Origin<'q> {
    pub(crate) sources: &'q Arc<Sources>,
    pub(crate) events: &'q Arc<Snapshot>,
    pub(crate) tail: &'q TailRows,
    /// Plans the reading of tables.
    pub(crate) reader: &'q Arc<SessionState>,
    /// Where the lake is read.
    pub(crate) threads: &'q Handle,
}

impl Places {
    /// An empty index of at most so many bytes.
    pub(crate) fn new(bytes_max: usize, metrics: Metrics) -> Arc<Self> {
        let index = Index::new(bytes_max);
        Arc::new(Self {
            hashers: index.hashers(),
            inner: RwLock::new(Inner { index, covered: Cut::empty(), unfit: None }),
            filling: tokio::sync::Mutex::new(()),
            is_filling_long: AtomicBool::new(false),
            metrics,
        })
    }

    /// The index if it covers the cut, or does so after adding little. What is more is added behind the question.
    pub(crate) async fn covering(self: &Arc<Self>, cut: &Cut, origin: Origin<'_>) -> Option<Arc<Self>> {
        if self.missing(cut)? == 0 || self.fill_from_tail(cut, origin.tail).await {
            return Some(Arc::clone(self));
        }
        let stored = cut_of(origin.events)?;
        let is_long = self.missing(&stored)? > BATCHES_WAITED_FOR;
        if self.is_filling_long.load(Ordering::Relaxed) || (is_long && self.is_filling_long.swap(true, Ordering::Relaxed)) {
            return None;
        }
        let (places, sources, events, reader) =
            (Arc::clone(self), Arc::clone(origin.sources), Arc::clone(origin.events), Arc::clone(origin.reader));
        let long = is_long.then(|| FillingLong(Arc::clone(self)));
        let filling = origin.threads.spawn(async move {
            let _long = long;
            if let Err(error) = places.fill_from_lake(&sources, &events, reader.as_ref().clone()).await {
                tracing::warn!(%error, "the index of places could not be brought forward; questions are answered without it");
            }
        });
        if is_long {
            return None;
        }
        tokio::time::timeout(WAIT_MAX, filling).await.ok()?.ok()?;
        (self.missing(cut)? == 0 || self.fill_from_tail(cut, origin.tail).await).then(|| Arc::clone(self))
    }

    /// Whether it was given up: what it has stays true, and nothing is added any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.inner.read().unfit.is_some()
    }

    /// How many batches of the cut are not covered; `None` if the index cannot be used.
    fn missing(&self, cut: &Cut) -> Option<u64> {
        let inner = self.inner.read();
        if inner.unfit.is_some() {
            return None;
        }
        let batches = |cut: &Cut, partition| cut.get(partition).map_or(0, |last| last.get() + 1);
        Some(cut.iter().map(|(partition, _)| batches(cut, partition).saturating_sub(batches(&inner.covered, partition))).sum())
    }

    /// Looks something up.
    pub(crate) fn read<T>(&self, question: impl FnOnce(&Index) -> T) -> T {
        question(&self.inner.read().index)
    }

    /// Adds to the index and says how it then stands.
    fn write(&self, change: impl FnOnce(&mut Inner) -> Result<(), Unfit>) -> Result<(), Unfit> {
        let mut inner = self.inner.write();
        if let Some(unfit) = inner.unfit {
            return Err(unfit);
        }
        let changed = change(&mut inner);
        if let Err(unfit) = changed {
            tracing::warn!(?unfit, "the index of places is given up: questions are answered without it");
            // Questions that are under way go on with what they have.
            inner.unfit = Some(unfit);
        }
        self.metrics.index_events.set(i64::try_from(inner.index.len()).unwrap_or(i64::MAX));
        self.metrics.index_bytes.set(i64::try_from(inner.index.bytes()).unwrap_or(i64::MAX));
        self.metrics.index_given_up.set(i64::from(inner.unfit.is_some()));
        changed
    }
}

/// While it lives, no question waits for what is added. It ends with the task that adds, however that ends.
struct FillingLong(Arc<Places>);

impl Drop for FillingLong {
    fn drop(&mut self) {
        self.0.is_filling_long.store(false, Ordering::Relaxed);
    }
}

/// Its memory is free again.
impl Drop for Places {
    fn drop(&mut self) {
        self.metrics.index_events.set(0);
        self.metrics.index_bytes.set(0);
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Places")
    }
}

/// What a view asks of the rows of a table.
pub(crate) type View = (Table, Rule);
