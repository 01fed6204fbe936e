//! What the log tells about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Counters of one log. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Records made durable.
    pub records: Counter,
    /// Bytes of keys and values made durable.
    pub bytes: Counter,
    /// Commits: one write and one sync each.
    pub commits: Counter,
    /// Appends answered with an error.
    pub append_errors: Counter,
    /// Attempts to reopen the storage after it failed.
    pub reopens: Counter,
    /// Times that what is read may have been replaced by another log, and was compared again.
    pub disturbances: Counter,
    /// Changes of the partitions that this process takes its share of.
    pub rebalances: Counter,
    /// Seconds from the start of a commit until it is durable.
    pub sync_seconds: Histogram,
    /// Records held and not yet released, over all partitions.
    pub backlog_records: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            records: Counter::default(),
            bytes: Counter::default(),
            commits: Counter::default(),
            append_errors: Counter::default(),
            reopens: Counter::default(),
            disturbances: Counter::default(),
            rebalances: Counter::default(),
            // 50 µs to 1.6 s.
            sync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            backlog_records: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Makes the values visible in `registry`, under names that begin with `eventlog_`.
    pub fn register(&self, registry: &mut Registry) {
        let log = registry.sub_registry_with_prefix("eventlog");
        log.register("records", "Records made durable", self.records.clone());
        log.register_with_unit("appended", "Bytes of keys and values made durable", Unit::Bytes, self.bytes.clone());
        log.register("commits", "Commits, one write and one sync each", self.commits.clone());
        log.register("append_errors", "Appends answered with an error", self.append_errors.clone());
        log.register("reopens", "Attempts to reopen the storage after it failed", self.reopens.clone());
        log.register("disturbances", "Times that reading was compared again", self.disturbances.clone());
        log.register("rebalances", "Changes of the share of partitions", self.rebalances.clone());
        log.register_with_unit("sync", "Time of one durable commit", Unit::Seconds, self.sync_seconds.clone());
        log.register("backlog_records", "Records not yet released", self.backlog_records.clone());
    }
}
