//! What this stage counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The label `table`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TableLabel {
    /// Its name.
    pub table: &'static str,
}

/// Counters of the lake. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Rows committed.
    pub rows: Family<TableLabel, Counter>,
    /// Bytes of data files committed.
    pub bytes: Family<TableLabel, Counter>,
    /// Commits won.
    pub commits: Family<TableLabel, Counter>,
    /// Commits whose version another writer took.
    pub conflicts: Family<TableLabel, Counter>,
    /// Live files.
    pub files: Family<TableLabel, Gauge>,
    /// Files merged away by compaction.
    pub compacted: Family<TableLabel, Counter>,
    /// Objects deleted: replaced files, orphans, commits behind a checkpoint.
    pub swept: Family<TableLabel, Counter>,
    /// Checkpoints written.
    pub checkpoints: Family<TableLabel, Counter>,
}

impl Metrics {
    /// Makes them visible under `tributary_lake_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("lake");
        registry.register("rows", "Rows committed", self.rows.clone());
        registry.register("bytes", "Bytes of data files committed", self.bytes.clone());
        registry.register("commits", "Commits won", self.commits.clone());
        registry.register("conflicts", "Commits whose version another writer took", self.conflicts.clone());
        registry.register("files", "Live files", self.files.clone());
        registry.register("compacted", "Files merged away", self.compacted.clone());
        registry.register("swept", "Objects deleted after their retention", self.swept.clone());
        registry.register("checkpoints", "Checkpoints written", self.checkpoints.clone());
    }
}

/// Counters of the indexer's rounds. Clones count together.
#[derive(Clone, Debug)]
pub struct RoundMetrics {
    /// Batches indexed.
    pub batches: Counter,
    /// Events indexed.
    pub events: Counter,
    /// Seconds of a round, from the first batch read to the last commit.
    pub round_seconds: Histogram,
    /// Rounds that failed and were tried again, damaged partitions among them.
    pub retries: Counter,
}

impl Default for RoundMetrics {
    fn default() -> Self {
        Self {
            batches: Counter::default(),
            events: Counter::default(),
            round_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            retries: Counter::default(),
        }
    }
}

impl RoundMetrics {
    /// Makes them visible under `tributary_indexer_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("indexer");
        registry.register("batches", "Batches indexed", self.batches.clone());
        registry.register("events", "Events indexed", self.events.clone());
        registry.register("round_seconds", "Seconds of a round", self.round_seconds.clone());
        registry.register("retries", "Rounds tried again after an error", self.retries.clone());
    }
}

/// The label of a table.
pub(crate) fn label(table: tributary_schemas::tables::Table) -> TableLabel {
    TableLabel { table: table.name() }
}
