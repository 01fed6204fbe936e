//! What the journal counts.

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tributary_schemas::ids::Partition;

/// The label of a series that exists once per partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionLabel(pub Partition);

impl EncodeLabelSet for PartitionLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel as _;
        [("partition", self.0.get())].into_iter().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

/// Makes the histograms of seconds.
#[derive(Clone, Debug)]
pub struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, 14))
    }
}

/// Counters and gauges of one journal and its sealer; clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Batches that this process wrote.
    pub batches: Family<PartitionLabel, Counter>,
    /// Events in them.
    pub events: Family<PartitionLabel, Counter>,
    /// Bytes of their objects.
    pub bytes: Family<PartitionLabel, Counter>,
    /// Records that were dropped because their identity was there before.
    pub duplicates: Family<PartitionLabel, Counter>,
    /// Duplicates whose content differs from the first.
    pub conflicts: Family<PartitionLabel, Counter>,
    /// Batches dropped because another sealer wrote their sequence number.
    pub fenced: Family<PartitionLabel, Counter>,
    /// Writes that were offered to the store again after an error.
    pub retries: Family<PartitionLabel, Counter>,
    /// Turns of a partition's sealer that failed and were tried again after a pause.
    pub turn_retries: Family<PartitionLabel, Counter>,
    /// From the decision to seal until the batch is durable.
    pub seal_seconds: Family<PartitionLabel, Histogram, Seconds>,
    /// Bringing the seen-index up to the head, when there was something to take in.
    pub catch_up_seconds: Family<PartitionLabel, Histogram, Seconds>,
    /// Lists of identities that could not be written; the batches hold the same.
    pub ids_errors: Family<PartitionLabel, Counter>,
    /// Records in the log that no batch covers.
    pub lag: Family<PartitionLabel, Gauge>,
    /// The last sequence number known.
    pub head: Family<PartitionLabel, Gauge>,
    /// 1 while the partition stands still because of damage.
    pub stopped: Family<PartitionLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            batches: Family::default(),
            events: Family::default(),
            bytes: Family::default(),
            duplicates: Family::default(),
            conflicts: Family::default(),
            fenced: Family::default(),
            retries: Family::default(),
            turn_retries: Family::default(),
            seal_seconds: Family::new_with_constructor(Seconds),
            catch_up_seconds: Family::new_with_constructor(Seconds),
            ids_errors: Family::default(),
            lag: Family::default(),
            head: Family::default(),
            stopped: Family::default(),
        }
    }
}

impl Metrics {
    /// Shows the values under `tributary_journal_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("journal");
        registry.register("batches", "Batches written", self.batches.clone());
        registry.register("events", "Events in batches written", self.events.clone());
        registry.register("bytes", "Bytes of batches written", self.bytes.clone());
        registry.register("duplicates", "Records dropped as duplicates", self.duplicates.clone());
        registry.register("conflicts", "Duplicates whose content differs from the first", self.conflicts.clone());
        registry.register("fenced", "Batches dropped because another sealer won", self.fenced.clone());
        registry.register("put_retries", "Batches offered to the store again after an error", self.retries.clone());
        registry.register("turn_retries", "Turns of the sealer tried again after an error", self.turn_retries.clone());
        registry.register("seal_seconds", "From the decision to seal until durable", self.seal_seconds.clone());
        registry.register("catch_up_seconds", "Bringing the seen-index up to the head", self.catch_up_seconds.clone());
        registry.register("ids_errors", "Lists of identities that could not be written", self.ids_errors.clone());
        registry.register("lag_records", "Records in the log that no batch covers", self.lag.clone());
        registry.register("head_seq", "The last sequence number known", self.head.clone());
        registry.register("stopped", "1 while the partition stands still because of damage", self.stopped.clone());
    }
}
