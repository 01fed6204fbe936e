//! What the engine counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::error::Code;

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `ok`, `dropped` (the asker went away), or the code of the error.
    pub outcome: String,
}

/// Counters of one engine. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Queries by how they ended.
    pub queries: Family<Outcome, Counter>,
    /// Seconds from admission to the end.
    pub seconds: Histogram,
    /// Rows given out.
    pub rows: Counter,
    /// Bytes of answers over HTTP.
    pub bytes: Counter,
    /// Queries running now.
    pub running: Gauge,
    /// Queries waiting for their turn now.
    pub waiting: Gauge,
    /// Claims by how they ended.
    pub claims: Family<Outcome, Counter>,
    /// Trees of epochs built.
    pub trees_built: Counter,
    /// Events in the index of places.
    pub index_events: Gauge,
    /// Bytes that it takes.
    pub index_bytes: Gauge,
    /// 1 when it was given up.
    pub index_given_up: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        Self {
            queries: Family::default(),
            seconds: Histogram::new(seconds),
            rows: Counter::default(),
            bytes: Counter::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            claims: Family::default(),
            trees_built: Counter::default(),
            index_events: Gauge::default(),
            index_bytes: Gauge::default(),
            index_given_up: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Names the metrics in the registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("query");
        registry.register("queries", "Queries by how they ended", self.queries.clone());
        registry.register("seconds", "Seconds from admission to the end of a query", self.seconds.clone());
        registry.register("rows", "Rows given out", self.rows.clone());
        registry.register("bytes", "Bytes of answers over HTTP", self.bytes.clone());
        registry.register("running", "Queries running now", self.running.clone());
        registry.register("waiting", "Queries waiting for their turn", self.waiting.clone());
        registry.register("claims", "Claims by how they ended", self.claims.clone());
        registry.register("trees_built", "Trees of closed epochs built", self.trees_built.clone());
        registry.register("index_events", "Events in the index of places", self.index_events.clone());
        registry.register("index_bytes", "Bytes of the index of places, about", self.index_bytes.clone());
        registry.register(
            "index_given_up",
            "1 when the index of places was given up: the record is too large for it, or makes no sense",
            self.index_given_up.clone(),
        );
    }

    pub(crate) fn query_ended(&self, outcome: &str, seconds: f64) {
        self.queries.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
        self.seconds.observe(seconds);
    }

    pub(crate) fn claim_ended(&self, result: Result<(), Code>) {
        let outcome = result.err().map_or("ok", Code::as_str).to_owned();
        self.claims.get_or_create(&Outcome { outcome }).inc();
    }
}
