//! What the GraphQL interface counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Counters of one interface. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Seconds from admission to the answer.
    pub seconds: Histogram,
    /// Queries planned for a request.
    pub plans: Histogram,
    /// Clients that follow subscriptions now.
    pub subscribers: Gauge,
    /// Clients closed because they did not take what they had asked for.
    pub slow_consumers: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            seconds: Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
            plans: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
            subscribers: Gauge::default(),
            slow_consumers: Counter::default(),
        }
    }
}

impl Metrics {
    /// Names the metrics in the registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("graphql");
        registry.register("seconds", "Seconds from admission to the answer of a request", self.seconds.clone());
        registry.register("plans", "Queries planned for a request", self.plans.clone());
        registry.register("subscribers", "Clients that follow subscriptions", self.subscribers.clone());
        registry.register("slow_consumers", "Clients closed for not taking messages", self.slow_consumers.clone());
    }
}
