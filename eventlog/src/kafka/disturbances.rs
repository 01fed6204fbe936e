//! What may have put another log in the place of the one that is read: a topic created again, brokers that were away. The client
//! library goes on in whatever it finds at the next offset; here nobody goes on unawares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;
use tributary_schemas::ids::{Partition, PartitionCount};

use super::appender::tell;
use super::events::{Listener, Told};
use crate::metrics::Metrics;

/// The id of a topic that is not known yet.
const UNKNOWN_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA ";

/// How many there were.
pub(super) struct Disturbances {
    count: AtomicU64,
    /// Wakes those who wait for a partition.
    changed: Vec<Arc<Notify>>,
    metrics: Metrics,
}

impl Disturbances {
    pub(super) fn new(partitions: PartitionCount, metrics: Metrics) -> Self {
        let changed = partitions.partitions().map(|_| Arc::default()).collect();
        Self { count: AtomicU64::new(0), changed, metrics }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Wakes those who wait for the partition, for a record or for a disturbance.
    pub(super) fn changed(&self, partition: Partition) -> &Arc<Notify> {
        &self.changed[partition.index()]
    }

    /// Wakes all who wait.
    pub(super) fn wake_all(&self) {
        self.changed.iter().for_each(|changed| changed.notify_waiters());
    }

    fn note(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.metrics.disturbances.inc();
        self.wake_all();
    }
}

/// Listens to the client library.
pub(super) struct Context {
    topic: String,
    disturbances: Arc<Disturbances>,
    told: Told,
}

impl Context {
    pub(super) fn new(topic: &str, disturbances: Arc<Disturbances>) -> Self {
        Self { topic: topic.to_owned(), disturbances, told: Told::default() }
    }
}

impl ClientContext for Context {
    /// Called by whoever serves the client's events, in the order in which they were queued.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.told.one_more();
        // Connections of these kinds fetch nothing.
        let fetches = !message.contains("/bootstrap: ") && !message.contains("GroupCoordinator: ");
        let lost = facility == "STATE" && fetches && message.contains("changed state UP -> ");
        let changed = format!("Topic {} changed id from ", self.topic);
        let replaced =
            facility == "METADATA" && message.split_once(&changed).is_some_and(|(_, ids)| !ids.starts_with(UNKNOWN_ID));
        if lost || replaced {
            tracing::debug!(%message, "reading from Kafka was disturbed: log and journal are compared again");
            self.disturbances.note();
        } else {
            tell(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.told.one_more();
        // That a partition has no more at present is said here too.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, %reason, "Kafka");
        }
    }
}

impl ConsumerContext for Context {}

impl Listener for Context {
    fn told(&self) -> &Told {
        &self.told
    }

    fn strayed(&self, partition: i32, offset: i64) {
        tracing::warn!(partition, offset, "a record came past its reader: log and journal are compared again");
        self.disturbances.note();
    }
}
