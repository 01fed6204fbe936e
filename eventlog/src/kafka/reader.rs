//! Reading: the client library fetches ahead into a queue per partition, within bounds; readers take from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Instant;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use super::appender::unanswered;
use super::disturbances::{Context, Disturbances};
use super::settings::{MESSAGE_BYTES_MAX, Settings};
use super::watermarks::Watermarks;
use super::window::{Window, number, signed};
use crate::error::LogError;
use crate::metrics::Metrics;
use crate::record::{Bounds, LoggedRecord};

/// How often the client's events are served while nobody reads.
const SERVE_EVERY: Duration = Duration::from_millis(10);
/// How often somebody who waits for a record asks the brokers whether it is there, where nothing is fetched.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Between two attempts to come to an offset.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads partitions.
pub(super) struct Reader {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    settings: Settings,
    consumer: Arc<BaseConsumer<Context>>,
    watermarks: Arc<Watermarks>,
    windows: Vec<Mutex<Window>>,
    disturbances: Arc<Disturbances>,
    /// Held while events of the client library are served.
    serving: Mutex<()>,
    is_closed: AtomicBool,
}

/// What a window gives.
enum Taken {
    Records(Vec<LoggedRecord>),
    /// There is nothing more.
    End,
    /// It will come.
    NotYet,
    /// The window lies elsewhere.
    Elsewhere,
}

impl Reader {
    /// # Errors
    /// [`LogError::Reject`] for settings that make no client.
    pub(super) fn new(
        settings: Settings,
        partitions: PartitionCount,
        watermarks: Arc<Watermarks>,
        metrics: Metrics,
    ) -> Result<Self, LogError> {
        let mut config = settings.client("read");
        config
            // The client library wants a group, though nothing is done in it.
            .set("group.id", "tributary-reader-of-no-group")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A gap is never silent.
            .set("auto.offset.reset", "error")
            // Tells of connections that are lost and of a topic that is another one under the same name, before anything more
            // is fetched. The other texts are dropped.
            .set("debug", "broker,topic")
            .set_log_level(RDKafkaLogLevel::Debug)
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.message.max.bytes", (MESSAGE_BYTES_MAX.max(4 << 20)).to_string())
            .set("queued.min.messages", "100000")
            // A window that was full is filled again at once.
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", (settings.read_ahead_bytes / 1024).to_string());
        let reject = |reason: String| LogError::Reject { reason };
        let disturbances = Arc::new(Disturbances::new(partitions, metrics));
        let context = Context::new(&settings.topic, Arc::clone(&disturbances));
        let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(|error| reject(error.to_string()))?;
        let consumer = Arc::new(consumer);
        let mut windows = Vec::new();
        for partition in partitions.partitions() {
            // Taken before anything is assigned, the queue stays the partition's for good.
            let queue = consumer.split_partition_queue(&settings.topic, number(partition));
            let mut queue = queue.ok_or_else(|| reject(format!("topic {} makes no queue", settings.topic)))?;
            let filled = Arc::clone(disturbances.changed(partition));
            queue.set_nonempty_callback(move || filled.notify_waiters());
            windows.push(Mutex::new(Window::new(queue)));
        }
        let is_closed = AtomicBool::new(false);
        let shared =
            Arc::new(Shared { consumer, watermarks, windows, disturbances, serving: Mutex::new(()), is_closed, settings });
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kafka-reader".into()).spawn(move || serving.serve());
        let thread = thread.map_err(|error| LogError::Retry { reason: format!("no thread for the reader: {error}") })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Whether the partition is known to have everything before the offset, without a question to the brokers.
    pub(super) fn reaches(&self, partition: Partition, before: Offset) -> bool {
        self.shared.watermarks.next(partition) >= signed(before)
    }

    /// The offsets that the brokers hold.
    pub(super) async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        let shared = Arc::clone(&self.shared);
        let asked = tokio::task::spawn_blocking(move || {
            shared.consumer.fetch_watermarks(&shared.settings.topic, number(partition), shared.settings.answer_timeout)
        });
        let (earliest, next) = unanswered(asked.await.map_err(|_| LogError::Closed)?)?;
        let offset = |number: i64| u64::try_from(number).ok().and_then(Offset::new);
        let (Some(earliest), Some(next)) = (offset(earliest), offset(next)) else {
            return Err(LogError::Retry { reason: format!("the brokers do not know yet where partition {partition} begins") });
        };
        self.shared.watermarks.ends(partition, next);
        Ok(Bounds { earliest, next })
    }

    /// Records from an offset on; empty at the end.
    pub(super) async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let deadline = Instant::now() + self.shared.settings.answer_timeout;
        loop {
            let changed = self.shared.disturbances.changed(partition).notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.shared.take(partition, signed(from), max_bytes)? {
                Taken::Records(records) => return Ok(records),
                Taken::End => return Ok(Vec::new()),
                Taken::NotYet => {}
                Taken::Elsewhere => {
                    let bounds = self.bounds(partition).await?;
                    if from < bounds.earliest || from > bounds.next {
                        return Err(LogError::OutOfRange { partition, offset: from, bounds });
                    }
                    let hole = self.shared.begin(partition, signed(from))?.filter(|(at, _)| *at == signed(from));
                    if from == bounds.next {
                        return Ok(Vec::new());
                    }
                    match hole {
                        None => {}
                        Some(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                        Some((_, found)) => {
                            let reason = format!("partition {partition} has no record at offset {from}, but one at {found}");
                            return Err(LogError::Corrupt { reason });
                        }
                    }
                    continue;
                }
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let reason = format!("the brokers gave nothing of partition {partition} from offset {from} on in time");
                return Err(LogError::Retry { reason });
            }
        }
    }

    /// Waits until a record lies at the offset.
    pub(super) async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        loop {
            let changed = self.shared.disturbances.changed(partition).notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.has_record_at(partition, signed(offset))? {
                return Ok(());
            }
            if tokio::time::timeout(ASK_AGAIN, changed).await.is_ok() || self.shared.is_at(partition, signed(offset)) {
                continue;
            }
            // Brokers that do not answer are asked again.
            if let Ok(bounds) = self.bounds(partition).await
                && bounds.earliest <= offset
                && bounds.next == offset
            {
                self.shared.begin(partition, signed(offset))?;
            }
        }
    }

    /// Ends the thread. Whoever waits gets [`LogError::Closed`].
    pub(super) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.disturbances.wake_all();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn take(&self, partition: Partition, from: i64, max_bytes: usize) -> Result<Taken, LogError> {
        self.check_open()?;
        let mut window = self.windows[partition.index()].lock();
        if window.at() != Some(from) {
            return Ok(Taken::Elsewhere);
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(record) = window.next(partition) {
            bytes += record.bytes();
            if bytes > max_bytes && !records.is_empty() {
                window.put_back(record);
                break;
            }
            records.push(record);
        }
        self.check_undisturbed(partition, &mut window)?;
        Ok(match window.at() {
            _ if !records.is_empty() => {
                self.watermarks.reaches(number(partition), from + records.len() as i64);
                Taken::Records(records)
            }
            None => Taken::Elsewhere,
            Some(at) if window.end == Some(at) && self.watermarks.next(partition) <= at => Taken::End,
            Some(_) => Taken::NotYet,
        })
    }

    fn has_record_at(&self, partition: Partition, offset: i64) -> Result<bool, LogError> {
        self.check_open()?;
        if self.watermarks.next(partition) > offset {
            return Ok(true);
        }
        let mut window = self.windows[partition.index()].lock();
        if window.at() != Some(offset) {
            return Ok(false);
        }
        if let Some(record) = window.next(partition) {
            window.put_back(record);
        }
        self.serve_events();
        // The window stays as it is, so that the read that follows meets the same.
        if window.disturbances != Some(self.disturbances.count()) {
            return Err(LogError::Interrupted { partition });
        }
        let is_there = window.ahead.is_some();
        if is_there {
            self.watermarks.reaches(number(partition), offset + 1);
        }
        // A hole is for the read that follows to judge.
        Ok(is_there || window.hole.is_some())
    }

    /// What was taken just now follows what was taken before only if nothing came in between.
    fn check_undisturbed(&self, partition: Partition, window: &mut Window) -> Result<(), LogError> {
        // The client library queues what it tells of a disturbance before it queues a record from behind it.
        self.serve_events();
        if window.disturbances == Some(self.disturbances.count()) {
            return Ok(());
        }
        (window.position, window.ahead) = (None, None);
        Err(LogError::Interrupted { partition })
    }

    fn is_at(&self, partition: Partition, offset: i64) -> bool {
        self.windows[partition.index()].lock().at() == Some(offset)
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.is_closed.load(Ordering::Acquire) { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Fetches the partition from the offset on. Gives the hole that was met before, if any.
    fn begin(&self, partition: Partition, from: i64) -> Result<Option<(i64, i64)>, LogError> {
        let mut window = self.windows[partition.index()].lock();
        let disturbances = self.disturbances.count();
        let failed = |error: KafkaError| LogError::Retry { reason: error.to_string() };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.settings.topic, number(partition), KafkaOffset::Offset(from)).map_err(failed)?;
        if window.is_assigned {
            self.consumer.incremental_unassign(&list).map_err(failed)?;
            window.is_assigned = false;
        }
        self.consumer.incremental_assign(&list).map_err(failed)?;
        window.is_assigned = true;
        (window.position, window.ahead, window.end) = (Some(from), None, None);
        let hole = window.hole.take();
        // Beginning again over a hole still goes on from before.
        if hole.is_none_or(|(at, _)| at != from) {
            window.disturbances = Some(disturbances);
        }
        Ok(hole)
    }

    /// Has every event that is queued served before it returns, by this thread or another.
    fn serve_events(&self) {
        let _one_at_a_time = self.serving.lock();
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Ok(_) | Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => tracing::warn!(%error, "Kafka"),
            }
        }
    }

    /// The thread's work.
    fn serve(&self) {
        while !self.is_closed.load(Ordering::Acquire) {
            self.serve_events();
            std::thread::sleep(SERVE_EVERY);
        }
    }
}
