//! What this stage counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tributary_schemas::ids::Partition;

/// The label of metrics that are kept per partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    /// The number of the partition.
    pub partition: u32,
}

impl From<Partition> for PartitionLabel {
    fn from(partition: Partition) -> Self {
        Self { partition: partition.get() }
    }
}

/// The counters of one publisher. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Blobs whose certificate this publisher recorded. (Two that come to record one certificate count it both.)
    pub blobs: Counter,
    /// Payload bytes of these blobs.
    pub payload_bytes: Counter,
    /// Batches in these blobs.
    pub batches: Counter,
    /// Calls of the backend that returned a certificate. More than [`Self::blobs`]: dispersals that were paid for in vain.
    pub dispersals: Counter,
    /// Certificates of ours that came second to another publisher's and do not count.
    pub certificates_lost: Counter,
    /// Plans found in place and carried out: another publisher's, or our own from before a crash.
    pub plans_adopted: Counter,
    /// Blobs that another publisher was at, which were left to it for a while.
    pub waits: Counter,
    /// Blobs under way: each holds its payload.
    pub in_flight: Family<PartitionLabel, Gauge>,
    /// Payloads that did not read back as they were dispersed.
    pub read_back_failures: Counter,
    /// Operations of a store or backend that were tried again.
    pub retries: Counter,
    /// Rounds of a partition that failed and will be tried again.
    pub rounds_failed: Counter,
    /// From the sealing of a blob's first batch to its recorded certificate, in seconds.
    pub lag_seconds: Histogram,
    /// How long ago the oldest batch was sealed that is not available yet, in seconds; 0 if there is none. It grows also while
    /// nothing succeeds.
    pub oldest_waiting_seconds: Family<PartitionLabel, Gauge<f64, AtomicU64>>,
    /// Recorded blobs that a paid backend will forget within 24 hours.
    pub expires_soon: Gauge,
    /// The last certified batch.
    pub certified_seq: Family<PartitionLabel, Gauge>,
    /// 1 while the partition is stopped by an error that no retry cures.
    pub stopped: Family<PartitionLabel, Gauge>,
    /// 1 while publishing is paused.
    pub paused: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            blobs: Counter::default(),
            payload_bytes: Counter::default(),
            batches: Counter::default(),
            dispersals: Counter::default(),
            certificates_lost: Counter::default(),
            plans_adopted: Counter::default(),
            waits: Counter::default(),
            in_flight: Family::default(),
            read_back_failures: Counter::default(),
            retries: Counter::default(),
            rounds_failed: Counter::default(),
            lag_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 14)),
            oldest_waiting_seconds: Family::default(),
            expires_soon: Gauge::default(),
            certified_seq: Family::default(),
            stopped: Family::default(),
            paused: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Shows the metrics under the prefix `da`.
    pub fn register(&self, registry: &mut Registry) {
        let da = registry.sub_registry_with_prefix("da");
        da.register("blobs", "Blobs whose certificate was recorded", self.blobs.clone());
        da.register("payload_bytes", "Payload bytes of recorded blobs", self.payload_bytes.clone());
        da.register("batches", "Batches in recorded blobs", self.batches.clone());
        da.register("dispersals", "Certificates that the backend returned", self.dispersals.clone());
        da.register("certificates_lost", "Certificates that came second and do not count", self.certificates_lost.clone());
        da.register("plans_adopted", "Plans found in place and carried out", self.plans_adopted.clone());
        da.register("waits", "Blobs that were left to another publisher for a while", self.waits.clone());
        da.register("blobs_in_flight", "Blobs under way", self.in_flight.clone());
        da.register("read_back_failures", "Payloads that did not read back as dispersed", self.read_back_failures.clone());
        da.register("retries", "Operations that were tried again", self.retries.clone());
        da.register("rounds_failed", "Rounds of a partition that failed and will be tried again", self.rounds_failed.clone());
        da.register("lag_seconds", "From sealing to the recorded certificate", self.lag_seconds.clone());
        let oldest = self.oldest_waiting_seconds.clone();
        da.register("oldest_waiting_seconds", "Age of the oldest sealed batch that is not available yet", oldest);
        da.register("expires_soon", "Recorded blobs that a paid backend will forget within 24 hours", self.expires_soon.clone());
        da.register("certified_seq", "The last certified batch of the partition", self.certified_seq.clone());
        da.register("stopped", "1 while the partition is stopped by an error", self.stopped.clone());
        da.register("paused", "1 while publishing is paused", self.paused.clone());
    }
}

/// What backends count beside the publisher's own counters: one for all that are plugged together. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct BackendMetrics {
    /// Payloads sent to EigenDA's proxy.
    pub puts: Counter,
    /// Payloads of which nobody knows whether they are published: their answer was lost, or whoever sent them has crashed.
    pub outcomes_unknown: Counter,
    /// Payloads that were sent and may be billed, and for which there is no certificate that can be used.
    pub possibly_paid: Counter,
    /// Payloads that were sent though an earlier dispersal of them may be billed: what is paid beyond one dispersal for each.
    pub puts_again: Counter,
    /// Attempts that did not end and were taken over: their publisher died, or did not say in time how they ended.
    pub taken_over: Counter,
    /// Symbols that certified payloads are billed for.
    pub symbols_billed: Counter,
    /// Symbols that the payloads of [`Self::possibly_paid`] may be billed for.
    pub symbols_possibly_billed: Counter,
    /// What a symbol costs, in wei, by the configuration. Symbols times this is the bill.
    pub price_wei_per_symbol: Gauge,
    /// Certificates of an earlier dispersal that were found in the outbox and used.
    pub certificates_found: Counter,
    /// How often the second backend took over.
    pub failovers: Counter,
    /// 1 while the second backend is used.
    pub on_second: Gauge,
    /// Payloads that the backend did not give and the archive did.
    pub archive_reads: Counter,
}

impl BackendMetrics {
    /// Shows the metrics under the prefix `da`.
    pub fn register(&self, registry: &mut Registry) {
        let da = registry.sub_registry_with_prefix("da");
        da.register("puts", "Payloads sent to EigenDA's proxy", self.puts.clone());
        da.register("outcomes_unknown", "Payloads that may be published or not", self.outcomes_unknown.clone());
        da.register("possibly_paid", "Payloads without a certificate that may be billed", self.possibly_paid.clone());
        da.register("puts_again", "Payloads sent though an earlier dispersal may be billed", self.puts_again.clone());
        da.register("taken_over", "Dispersals that did not end and were taken over", self.taken_over.clone());
        da.register("symbols_billed", "Symbols that certified payloads are billed for", self.symbols_billed.clone());
        let possibly = self.symbols_possibly_billed.clone();
        da.register("symbols_possibly_billed", "Symbols that payloads without a certificate may be billed for", possibly);
        da.register("price_wei_per_symbol", "What a symbol costs by the configuration", self.price_wei_per_symbol.clone());
        da.register("certificates_found", "Certificates of earlier dispersals that were used", self.certificates_found.clone());
        da.register("failovers", "How often the second backend took over", self.failovers.clone());
        da.register("on_second_backend", "1 while the second backend is used", self.on_second.clone());
        da.register("archive_reads", "Payloads that came from the archive", self.archive_reads.clone());
    }
}
