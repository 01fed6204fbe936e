//! Reading: the client library fetches ahead into a queue per partition, within bounds; readers take from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use super::appender::unanswered;
use super::settings::{MESSAGE_BYTES_MAX, Settings};
use super::watermarks::Watermarks;
use crate::error::LogError;
use crate::record::{Bounds, LoggedRecord};

/// How often the client's events are served.
const POLL: Duration = Duration::from_millis(100);
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
    changed: Vec<Arc<Notify>>,
    is_closed: AtomicBool,
}

/// What is fetched of a partition.
struct Window {
    queue: PartitionQueue<Context>,
    /// The offset of the record that comes next; `None` while nothing is fetched.
    position: Option<i64>,
    /// That record, if it was taken from the queue already.
    ahead: Option<LoggedRecord>,
    /// The brokers had nothing more at this offset.
    end: Option<i64>,
    /// The queue went on without the record at the first offset, at the second.
    hole: Option<(i64, i64)>,
    is_assigned: bool,
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

impl Window {
    /// The next record, if it is fetched already.
    fn next(&mut self, partition: Partition) -> Option<LoggedRecord> {
        if let Some(ahead) = self.ahead.take() {
            return Some(ahead);
        }
        while let Some(at) = self.position {
            let message = match self.queue.poll(Duration::ZERO) {
                None => return None,
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.end = self.position;
                    continue;
                }
                Some(Err(error)) => {
                    tracing::warn!(%partition, %error, "Kafka");
                    if is_of_offset(&error) {
                        self.position = None;
                    }
                    continue;
                }
            };
            if message.offset() < at {
                continue;
            }
            if message.offset() > at {
                // Probably fetched before the window came here: it comes here once more.
                (self.hole, self.position) = (Some((at, message.offset())), None);
                return None;
            }
            let Some(record) = record_of(&message) else { continue };
            self.position = Some(at + 1);
            return Some(record);
        }
        None
    }

    /// Puts the record back that was given last.
    fn put_back(&mut self, record: LoggedRecord) {
        self.ahead = Some(record);
    }

    /// The offset of the record that [`Self::next`] gives.
    fn at(&self) -> Option<i64> {
        self.ahead.as_ref().map(|record| signed(record.offset)).or(self.position)
    }
}

impl Reader {
    /// # Errors
    /// [`LogError::Reject`] for settings that make no client.
    pub(super) fn new(settings: Settings, partitions: PartitionCount, watermarks: Arc<Watermarks>) -> Result<Self, LogError> {
        let mut config = settings.client("read");
        config
            // The client library wants a group, though nothing is done in it.
            .set("group.id", "tributary-reader-of-no-group")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A gap is never silent.
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.message.max.bytes", (MESSAGE_BYTES_MAX.max(4 << 20)).to_string())
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", (settings.read_ahead_bytes / 1024).to_string());
        let reject = |reason: String| LogError::Reject { reason };
        let consumer: BaseConsumer<Context> = config.create_with_context(Context).map_err(|error| reject(error.to_string()))?;
        let consumer = Arc::new(consumer);
        let (mut windows, mut changed) = (Vec::new(), Vec::new());
        for partition in partitions.partitions() {
            // Taken before anything is assigned, the queue stays the partition's for good.
            let queue = consumer.split_partition_queue(&settings.topic, number(partition));
            let mut queue = queue.ok_or_else(|| reject(format!("topic {} makes no queue", settings.topic)))?;
            let filled = Arc::new(Notify::new());
            changed.push(Arc::clone(&filled));
            queue.set_nonempty_callback(move || filled.notify_waiters());
            let window = Window { queue, position: None, ahead: None, end: None, hole: None, is_assigned: false };
            windows.push(Mutex::new(window));
        }
        let is_closed = AtomicBool::new(false);
        let shared = Arc::new(Shared { consumer, watermarks, windows, changed, is_closed, settings });
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kafka-reader".into()).spawn(move || serving.serve());
        let thread = thread.map_err(|error| LogError::Retry { reason: format!("no thread for the reader: {error}") })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
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
            let changed = self.shared.changed[partition.index()].notified();
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
            let changed = self.shared.changed[partition.index()].notified();
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
        self.shared.changed.iter().for_each(|changed| changed.notify_waiters());
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
        let next = window.next(partition);
        let is_there = next.is_some();
        if let Some(record) = next {
            window.put_back(record);
            self.watermarks.reaches(number(partition), offset + 1);
        }
        Ok(is_there)
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
        Ok(window.hole.take())
    }

    /// The thread's work.
    fn serve(&self) {
        while !self.is_closed.load(Ordering::Acquire) {
            if let Some(Err(error)) = self.consumer.poll(POLL) {
                tracing::warn!(%error, "Kafka");
            }
        }
    }
}

struct Context;

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, %reason, "Kafka");
    }
}

impl ConsumerContext for Context {}

/// Whether nothing more is fetched, for the offset is not there.
fn is_of_offset(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::LogTruncation)
    )
}

fn record_of(message: &BorrowedMessage<'_>) -> Option<LoggedRecord> {
    let offset = u64::try_from(message.offset()).ok().and_then(Offset::new)?;
    let bytes = |part: Option<&[u8]>| part.map_or_else(Bytes::new, Bytes::copy_from_slice);
    Some(LoggedRecord { offset, key: bytes(message.key()), value: bytes(message.payload()) })
}

fn signed(offset: Offset) -> i64 {
    i64::try_from(offset.get()).unwrap_or(i64::MAX)
}

fn number(partition: Partition) -> i32 {
    i32::try_from(partition.index()).expect("a partition count fits")
}
