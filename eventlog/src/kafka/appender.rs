//! Appends: records on their way to the brokers, and who waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tributary_schemas::ids::Partition;

use super::fault::{Fault, FaultKind};
use super::settings::{MESSAGE_BYTES_MAX, Settings};
use super::watermarks::Watermarks;
use crate::error::LogError;
use crate::metrics::Metrics;
use crate::record::Record;

/// The bytes on their way are counted in units of this size.
const UNIT_BYTES: usize = 1024;
/// How long the end waits for records whose senders wait no more.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Records that the client holds at most, whatever their size.
const RECORDS_MAX: usize = 1_000_000;

/// Sends records, and knows when they are durable.
pub(super) struct Appender {
    settings: Settings,
    config: ClientConfig,
    /// Made for the first append: a process that only reads needs none.
    live: RwLock<Option<Arc<Live>>>,
    room: Arc<Semaphore>,
    units: usize,
    shared: Arc<Shared>,
}

/// A producer. After a fatal error another takes its place.
struct Live {
    producer: ThreadedProducer<Context>,
    is_broken: Arc<AtomicBool>,
}

struct Shared {
    watermarks: Arc<Watermarks>,
    metrics: Metrics,
    /// Why the last record that was answered failed; `None` after one that did not.
    trouble: Mutex<Option<String>>,
}

/// One append: how many of its records are not answered yet.
struct Pending {
    left: AtomicUsize,
    error: Mutex<Option<LogError>>,
    done: Mutex<Option<oneshot::Sender<Result<(), LogError>>>>,
    /// Room that is free again once all are answered.
    _room: OwnedSemaphorePermit,
}

impl Pending {
    fn fail(&self, error: LogError) {
        let mut first = self.error.lock();
        // That a record can never be taken weighs more than that one was not taken now.
        if first.is_none() || matches!(error, LogError::Reject { .. }) {
            *first = Some(error);
        }
    }

    fn answered(&self, records: usize) {
        if self.left.fetch_sub(records, Ordering::AcqRel) == records
            && let Some(done) = self.done.lock().take()
        {
            let error = self.error.lock().take();
            // Whoever appended may have gone.
            let _ = done.send(error.map_or(Ok(()), Err));
        }
    }
}

impl Appender {
    pub(super) fn new(settings: Settings, watermarks: Arc<Watermarks>, metrics: Metrics) -> Self {
        let mut config = settings.client("ingest");
        let millis = |duration: Duration| duration.as_millis().to_string();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", settings.compression.as_str())
            .set("linger.ms", millis(settings.linger))
            .set("batch.size", (MESSAGE_BYTES_MAX).to_string())
            .set("batch.num.messages", "10000")
            .set("message.timeout.ms", millis(settings.delivery_timeout))
            .set("request.timeout.ms", millis(settings.delivery_timeout / 2))
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "1000")
            .set("queue.buffering.max.messages", RECORDS_MAX.to_string())
            .set("queue.buffering.max.kbytes", (settings.append_bytes_max * 2 / 1024).to_string());
        let shared = Arc::new(Shared { watermarks, metrics, trouble: Mutex::default() });
        let units = settings.append_bytes_max.div_ceil(UNIT_BYTES);
        let room = Arc::new(Semaphore::new(units));
        Self { settings, config, live: RwLock::default(), room, units, shared }
    }

    /// The most bytes of one append.
    pub(super) fn bytes_max(&self) -> usize {
        self.settings.append_bytes_max
    }

    /// Sends records, placed already, and returns when all are durable.
    pub(super) async fn append(&self, records: Vec<(Partition, Record)>, bytes: usize) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let room = self.room(bytes, records.len()).await?;
        let (done, answer) = oneshot::channel();
        let pending = Arc::new(Pending {
            left: AtomicUsize::new(records.len()),
            error: Mutex::default(),
            done: Mutex::new(Some(done)),
            _room: room,
        });
        let live = self.live()?;
        self.send(&live, &records, &pending);
        drop(live);
        drop(pending);
        let answered = answer.await.unwrap_or(Err(LogError::Closed));
        match &answered {
            Ok(()) => {
                self.shared.metrics.records.inc_by(records.len() as u64);
                self.shared.metrics.bytes.inc_by(bytes as u64);
            }
            Err(_) => {
                self.shared.metrics.append_errors.inc();
            }
        }
        answered
    }

    /// Why an append would probably fail now.
    pub(super) fn trouble(&self) -> Option<LogError> {
        self.shared.trouble.lock().clone().map(|reason| LogError::Retry { reason })
    }

    /// The brokers answer again: whether they take records, the next one tells.
    pub(super) fn forget_trouble(&self) {
        *self.shared.trouble.lock() = None;
    }

    /// Waits a little until what is on its way is answered.
    pub(super) fn flush(&self) {
        let Some(live) = self.live.read().clone() else { return };
        if let Err(error) = live.producer.flush(FLUSH_MAX) {
            tracing::warn!(%error, "not all records were acknowledged before the end");
        }
    }

    async fn room(&self, bytes: usize, records: usize) -> Result<OwnedSemaphorePermit, LogError> {
        // The client keeps about a hundred bytes for each record.
        let units = (bytes + records * 128).div_ceil(UNIT_BYTES).clamp(1, self.units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units);
        match tokio::time::timeout(self.settings.room_wait, room).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(LogError::Closed),
            Err(_) => {
                self.shared.metrics.append_errors.inc();
                let why = self.shared.trouble.lock().clone().unwrap_or_else(|| "Kafka is slower than what comes in".to_owned());
                Err(LogError::Retry { reason: format!("{} bytes wait already: {why}", self.settings.append_bytes_max) })
            }
        }
    }

    /// The producer, or another in its place if it is broken for good.
    fn live(&self) -> Result<Arc<Live>, LogError> {
        let usable = |live: &Option<Arc<Live>>| live.clone().filter(|live| !live.is_broken());
        if let Some(live) = usable(&self.live.read()) {
            return Ok(live);
        }
        let mut slot = self.live.write();
        if let Some(live) = usable(&slot) {
            return Ok(live);
        }
        let fresh = Live::new(&self.config, &self.shared).map_err(|error| Fault::of(&error, &self.settings))?;
        let fresh = Arc::new(fresh);
        if let Some(broken) = slot.replace(Arc::clone(&fresh)) {
            self.shared.metrics.reopens.inc();
            // Its end waits for a thread of its own; whoever waits for its records is told that they failed.
            std::thread::spawn(move || drop(broken));
        }
        Ok(fresh)
    }

    fn send(&self, live: &Live, records: &[(Partition, Record)], pending: &Arc<Pending>) {
        for (n, (partition, record)) in records.iter().enumerate() {
            let message = BaseRecord::with_opaque_to(&self.settings.topic, Arc::clone(pending))
                .partition(i32::try_from(partition.index()).expect("a partition count fits"))
                .key(record.key.as_ref())
                .payload(record.value.as_ref());
            if let Err((error, _)) = live.producer.send(message) {
                pending.fail(self.shared.failed(&error));
                pending.answered(records.len() - n);
                return;
            }
        }
    }
}

impl Live {
    fn new(config: &ClientConfig, shared: &Arc<Shared>) -> KafkaResult<Self> {
        let is_broken = Arc::new(AtomicBool::new(false));
        let context = Context { shared: Arc::clone(shared), is_broken: Arc::clone(&is_broken) };
        Ok(Self { producer: config.create_with_context(context)?, is_broken })
    }

    /// Whether it can send nothing any more.
    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire) || self.producer.client().fatal_error().is_some()
    }
}

impl Shared {
    fn failed(&self, error: &KafkaError) -> LogError {
        let code = error.rdkafka_error_code();
        let reason = match code {
            // What somebody has to mend is said with its cure. Where the brokers are is nothing for the senders of records.
            Some(code) => match FaultKind::of(code) {
                kind @ (FaultKind::NotEnoughReplicas | FaultKind::Forbidden) => Fault::new(kind, code.to_string()).with_code(),
                _ => code.to_string(),
            },
            None => error.to_string(),
        };
        if matches!(code, Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord)) {
            return LogError::Reject { reason };
        }
        *self.trouble.lock() = Some(reason.clone());
        LogError::Retry { reason }
    }
}

/// Takes the brokers' answers.
struct Context {
    shared: Arc<Shared>,
    is_broken: Arc<AtomicBool>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.is_broken.store(true, Ordering::Release);
            tracing::error!(%reason, "the producer is broken and is replaced");
        } else {
            tracing::warn!(%error, %reason, "Kafka");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, pending: Arc<Pending>) {
        match delivery {
            Ok(message) => {
                self.shared.watermarks.recorded(message.partition(), message.offset());
                if let Some(ended) = self.shared.trouble.lock().take() {
                    tracing::info!(%ended, "Kafka takes records again");
                }
            }
            Err((error, _)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                    self.is_broken.store(true, Ordering::Release);
                }
                pending.fail(self.shared.failed(error));
            }
        }
        pending.answered(1);
    }
}

/// Passes on what the client library says. Its errors are told again by whoever meets them.
pub(super) fn tell(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Debug => {}
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::debug!(%facility, %message, "Kafka"),
        _ => tracing::info!(%facility, %message, "Kafka"),
    }
}

#[cfg(test)]
mod tests {
    use tributary_schemas::ids::PartitionCount;

    use super::*;

    #[test]
    fn copies_that_are_missing_are_told_with_their_code_and_the_cure() {
        let partitions = PartitionCount::new(1).expect("one partition is possible");
        let appender =
            Appender::new(Settings::new("127.0.0.1:1", "events"), Arc::new(Watermarks::new(partitions)), Metrics::default());
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::NotEnoughReplicas);
        let told = appender.shared.failed(&error).to_string();
        assert!(told.contains("bring the missing brokers back") && told.ends_with("[kafka_not_enough_replicas]"), "{told}");
        assert_eq!(appender.trouble().map(|trouble| trouble.to_string()), Some(told));
    }
}
