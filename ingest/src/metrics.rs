//! What the door tells about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// One label, with the code of a refusal or of a problem.
type Code = [(&'static str, &'static str); 1];

/// Counters of one door. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Events made durable, repetitions included.
    pub accepted: Counter,
    /// Events refused, by code.
    pub rejected: Family<Code, Counter>,
    /// Requests refused as a whole, by code.
    pub problems: Family<Code, Counter>,
    /// Bytes of requests, after decompression.
    pub bytes: Counter,
    /// Seconds from a request's first byte to its answer.
    pub seconds: Histogram,
    /// Requests under way.
    pub in_flight: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            rejected: Family::default(),
            problems: Family::default(),
            bytes: Counter::default(),
            // 0.5 ms to 16 s.
            seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            in_flight: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Makes the values visible in `registry`, under names that begin with `ingest_`.
    pub fn register(&self, registry: &mut Registry) {
        let door = registry.sub_registry_with_prefix("ingest");
        door.register("events_accepted", "Events made durable, repetitions included", self.accepted.clone());
        door.register("events_rejected", "Events refused, by code", self.rejected.clone());
        door.register("requests_refused", "Requests refused as a whole, by code", self.problems.clone());
        door.register_with_unit("received", "Bytes of requests after decompression", Unit::Bytes, self.bytes.clone());
        door.register_with_unit("request", "Time from a request to its answer", Unit::Seconds, self.seconds.clone());
        door.register("requests_in_flight", "Requests under way", self.in_flight.clone());
    }

    /// Counts a refused event.
    pub(crate) fn count_rejected(&self, code: &'static str) {
        self.rejected.get_or_create(&[("code", code)]).inc();
    }

    /// Counts a refused request.
    pub(crate) fn count_problem(&self, code: &'static str) {
        self.problems.get_or_create(&[("code", code)]).inc();
    }
}
