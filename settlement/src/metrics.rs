//! What settlement counts and times.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of one process. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Epochs whose record this process wrote.
    pub epochs_closed: Counter,
    /// Epochs that another job closed first.
    pub epochs_lost: Counter,
    /// Epochs whose tables this process wrote or completed.
    pub epochs_written: Counter,
    /// Inferences settled in them.
    pub inferences: Counter,
    /// Reward lines in them.
    pub lines: Counter,
    /// Writes of an epoch record that were tried again.
    pub record_retries: Counter,
    /// The latest closed epoch that this process knows.
    pub latest_epoch: Gauge,
    /// Seconds to compute one epoch.
    pub compute_seconds: Histogram,
    /// Seconds that the job waited for the certified and the indexed cut.
    pub wait_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.01, 2.0, 18));
        Self {
            epochs_closed: Counter::default(),
            epochs_lost: Counter::default(),
            epochs_written: Counter::default(),
            inferences: Counter::default(),
            lines: Counter::default(),
            record_retries: Counter::default(),
            latest_epoch: Gauge::default(),
            compute_seconds: seconds(),
            wait_seconds: seconds(),
        }
    }
}

impl Metrics {
    /// Adds the metrics to the registry, each beginning with `settlement_`.
    pub fn register(&self, registry: &mut Registry) {
        let of = registry.sub_registry_with_prefix("settlement");
        of.register("epochs_closed", "Epochs whose record this process wrote", self.epochs_closed.clone());
        of.register("epochs_lost", "Epochs that another job closed first", self.epochs_lost.clone());
        of.register("epochs_written", "Epochs whose tables this process wrote", self.epochs_written.clone());
        of.register("inferences", "Inferences settled", self.inferences.clone());
        of.register("lines", "Reward lines written", self.lines.clone());
        of.register("record_retries", "Writes of an epoch record tried again", self.record_retries.clone());
        of.register("latest_epoch", "The latest closed epoch known", self.latest_epoch.clone());
        of.register("compute_seconds", "Seconds to compute one epoch", self.compute_seconds.clone());
        of.register("wait_seconds", "Seconds waited for the stages before", self.wait_seconds.clone());
    }

    pub(crate) fn waited(&self, duration: Duration) {
        self.wait_seconds.observe(duration.as_secs_f64());
    }

    pub(crate) fn computed(&self, duration: Duration) {
        self.compute_seconds.observe(duration.as_secs_f64());
    }
}
