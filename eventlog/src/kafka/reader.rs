//! Reading: the client library fetches ahead into a queue per partition, within bounds; readers take from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Instant;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use super::disturbances::{Context, Disturbances};
use super::events::serve_all;
use super::fault::{Fault, FaultKind};
use super::settings::{MESSAGE_BYTES_MAX, Settings};
use super::watermarks::Watermarks;
use super::window::{Window, number, signed};
use crate::error::LogError;
use crate::metrics::Metrics;
use crate::record::{Bounds, LoggedRecord};

/// How often the client's events are served while nobody reads.
const SERVE_EVERY: Duration = Duration::from_millis(10);
/// How often somebody who waits for a record asks the brokers whether it is there, where nothing is fetched: half of this to the
/// whole.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Between two attempts to come to an offset: half of this to the whole.
const PAUSE: Duration = Duration::from_millis(20);

/// So often a read begins anew at an offset and meets a later record, before it says that there is none: the first time what it meets may
/// have been fetched before.
const HOLES_SURE: u32 = 3;

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
    /// A [`Fault`] for settings that make no client.
    pub(super) fn new(
        settings: Settings,
        partitions: PartitionCount,
        watermarks: Arc<Watermarks>,
        metrics: Metrics,
    ) -> Result<Self, Fault> {
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
        let disturbances = Arc::new(Disturbances::new(partitions, metrics));
        let context = Context::new(&settings.topic, Arc::clone(&disturbances));
        let consumer: Result<BaseConsumer<Context>, KafkaError> = config.create_with_context(context);
        let consumer = Arc::new(consumer.map_err(|error| Fault::of(&error, &settings))?);
        let is_no_name = settings.topic.is_empty() || settings.topic.contains('\0');
        if is_no_name {
            return Err(Fault::new(FaultKind::TopicRefused, format!("`kafka.topic`: no topic is named {:?}", settings.topic)));
        }
        let windows = partitions.partitions().map(|_| Mutex::default()).collect();
        let is_closed = AtomicBool::new(false);
        let shared =
            Arc::new(Shared { consumer, watermarks, windows, disturbances, serving: Mutex::new(()), is_closed, settings });
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kafka-reader".into()).spawn(move || serving.serve());
        let thread = thread.map_err(|error| Fault::new(FaultKind::Other, format!("no thread for the reader: {error}")))?;
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
        let answered = asked.await.map_err(|_| LogError::Closed)?;
        let (earliest, next) = answered.map_err(|error| Fault::of(&error, &self.shared.settings).to_retry())?;
        let offset = |number: i64| u64::try_from(number).ok().and_then(Offset::new);
        let (Some(earliest), Some(next)) = (offset(earliest), offset(next)) else {
            return Err(LogError::Retry { reason: format!("the brokers do not know yet where partition {partition} begins") });
        };
        self.shared.watermarks.ends(partition, next);
        Ok(Bounds { earliest, next })
    }

    /// Records from an offset on; empty at the end.
    pub(super) async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let answer_timeout = self.shared.settings.answer_timeout;
        let deadline = Instant::now() + answer_timeout;
        // Until when nothing is asked anew.
        let mut patience = deadline - answer_timeout / 2;
        // Where the brokers said that the log ends before it was fetched from here, and how often it then went on behind this offset.
        let (mut goes_up_to, mut holes) = (None, 0);
        loop {
            let changed = self.shared.disturbances.changed(partition).notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let taken = self.shared.take(partition, signed(from), max_bytes)?;
            match taken {
                Taken::Records(records) => return Ok(records),
                Taken::End => return Ok(Vec::new()),
                Taken::NotYet => {
                    if tokio::time::timeout_at(patience, changed).await.is_ok() {
                        continue;
                    }
                    if Instant::now() >= deadline {
                        return Err(self.shared.gave_nothing(partition, from, goes_up_to));
                    }
                    patience = deadline;
                    // It may have come to an end behind a hole before the brokers said how far the log goes.
                    if goes_up_to.is_some() || !self.shared.is_at_end(partition, signed(from)) {
                        continue;
                    }
                }
                Taken::Elsewhere => {}
            }
            let bounds = self.bounds(partition).await?;
            if from < bounds.earliest || from > bounds.next {
                return Err(LogError::OutOfRange { partition, offset: from, bounds });
            }
            let hole = self.shared.begin(partition, signed(from))?.filter(|(at, _)| *at == signed(from));
            if from == bounds.next {
                return Ok(Vec::new());
            }
            goes_up_to = Some(bounds.next);
            if let Some((_, found)) = hole {
                holes += 1;
                if holes == HOLES_SURE {
                    return Err(missing(partition, from, found));
                }
                tokio::time::sleep(self.shared.pause(PAUSE)).await;
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
            let waited = tokio::time::timeout(self.shared.pause(ASK_AGAIN), changed).await;
            if waited.is_ok() || self.shared.is_at(partition, signed(offset)) {
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

    /// Fetches the partition no more and gives back what was fetched. Whoever reads it again begins anew.
    pub(super) fn forget(&self, partition: Partition) {
        self.shared.forget(partition);
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
        if !self.is_undisturbed(&window) {
            (window.position, window.ahead) = (None, None);
            return Err(LogError::Interrupted { partition });
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
        if let Some(record) = window.next(partition) {
            window.put_back(record);
        }
        // The window stays as it is, so that the read that follows meets the same.
        if !self.is_undisturbed(&window) {
            return Err(LogError::Interrupted { partition });
        }
        let is_there = window.ahead.is_some();
        if is_there {
            self.watermarks.reaches(number(partition), offset + 1);
        }
        // A hole is for the read that follows to judge.
        Ok(is_there || window.hole.is_some())
    }

    /// Whether what was taken just now follows what was taken before: nothing came in between.
    fn is_undisturbed(&self, window: &Window) -> bool {
        // The client library queues what it tells of a disturbance before it queues a record from behind it.
        self.serve_events();
        window.disturbances == Some(self.disturbances.count())
    }

    fn is_at(&self, partition: Partition, offset: i64) -> bool {
        self.windows[partition.index()].lock().at() == Some(offset)
    }

    /// Whether all that is fetched has been taken, and the brokers had nothing more when it was fetched.
    fn is_at_end(&self, partition: Partition, offset: i64) -> bool {
        let window = self.windows[partition.index()].lock();
        window.at() == Some(offset) && window.end == Some(offset)
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.is_closed.load(Ordering::Acquire) { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Fetches the partition from the offset on. Gives the hole that was met before, if any.
    fn begin(&self, partition: Partition, from: i64) -> Result<Option<(i64, i64)>, LogError> {
        let mut window = self.windows[partition.index()].lock();
        let disturbances = self.disturbances.count();
        let failed = |error: KafkaError| LogError::Retry { reason: error.to_string() };
        let list = self.list(partition, from).map_err(failed)?;
        if window.is_assigned {
            self.consumer.incremental_unassign(&list).map_err(failed)?;
            window.is_assigned = false;
        }
        // The queue of before may belong to a partition that the client library has dropped since, as it does while a topic is away and
        // nobody reads it.
        window.turn_away();
        let queue = self.consumer.split_partition_queue(&self.settings.topic, number(partition));
        let mut queue = queue.ok_or_else(|| LogError::Retry { reason: format!("partition {partition} has no queue") })?;
        let filled = Arc::clone(self.disturbances.changed(partition));
        queue.set_nonempty_callback(move || filled.notify_waiters());
        window.turn_to(queue);
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

    /// Why a read got nothing in time. The next one begins to fetch anew.
    fn gave_nothing(&self, partition: Partition, from: Offset, goes_up_to: Option<Offset>) -> LogError {
        let mut window = self.windows[partition.index()].lock();
        let (at, end) = (window.at(), window.end);
        window.position = None;
        match goes_up_to {
            // What was fetched after the brokers had said so came to the end without a record.
            Some(next) if next > from && at == Some(signed(from)) && end == at => missing(partition, from, signed(next)),
            _ => {
                let reason = format!("the brokers gave nothing of partition {partition} from offset {from} on in time");
                LogError::Retry { reason }
            }
        }
    }

    /// Gives up what is fetched of the partition, and fetches no more.
    fn forget(&self, partition: Partition) {
        let mut window = self.windows[partition.index()].lock();
        if window.is_assigned {
            let given_up = self.list(partition, 0).and_then(|list| self.consumer.incremental_unassign(&list));
            if let Err(error) = given_up {
                // It goes on to hold what it holds, until the partition is read again.
                tracing::debug!(%partition, %error, "a partition that is read no more is still fetched");
                return;
            }
        }
        window.empty();
    }

    fn list(&self, partition: Partition, offset: i64) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.settings.topic, number(partition), KafkaOffset::Offset(offset))?;
        Ok(list)
    }

    fn pause(&self, longest: Duration) -> Duration {
        self.settings.jitter.pause(longest)
    }

    /// Has every event that is queued served before it returns, by this thread or another.
    fn serve_events(&self) {
        let _one_at_a_time = self.serving.lock();
        serve_all(&self.consumer);
    }

    /// The thread's work.
    fn serve(&self) {
        while !self.is_closed.load(Ordering::Acquire) {
            self.serve_events();
            std::thread::sleep(SERVE_EVERY);
        }
    }
}

fn missing(partition: Partition, offset: Offset, next: i64) -> LogError {
    let next = u64::try_from(next).ok().and_then(Offset::new).filter(|next| *next > offset).unwrap_or_else(|| offset.next());
    LogError::Missing { partition, offset, next }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A reader without brokers.
    fn reader() -> Reader {
        let count = PartitionCount::new(2).unwrap();
        let settings = Settings::new("127.0.0.1:1", "events");
        Reader::new(settings, count, Arc::new(Watermarks::new(count)), Metrics::default()).unwrap()
    }

    fn assigned(reader: &Reader) -> Vec<i32> {
        let list = reader.shared.consumer.assignment().unwrap();
        let mut partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        partitions.sort_unstable();
        partitions
    }

    #[test]
    fn a_partition_that_is_forgotten_is_fetched_no_more_and_its_window_is_empty_until_it_is_read_again() {
        let reader = reader();
        let partitions = [Partition::new(0).unwrap(), Partition::new(1).unwrap()];
        for partition in partitions {
            reader.shared.begin(partition, 7).unwrap();
        }
        assert_eq!(assigned(&reader), [0, 1]);
        reader.forget(partitions[1]);
        reader.forget(partitions[1]);
        assert_eq!(assigned(&reader), [0]);
        assert!(reader.shared.is_at(partitions[0], 7), "the other is read on");
        {
            let window = reader.shared.windows[1].lock();
            assert_eq!((window.at(), window.is_assigned, window.disturbances), (None, false, None));
        }
        reader.shared.begin(partitions[1], 9).unwrap();
        assert_eq!(assigned(&reader), [0, 1]);
        assert!(reader.shared.is_at(partitions[1], 9));
    }

    #[test]
    fn pauses_between_questions_are_not_all_of_one_length() {
        let shared = Arc::clone(&reader().shared);
        let pauses: Vec<Duration> = (0..20).map(|_| shared.pause(ASK_AGAIN)).collect();
        assert!(pauses.iter().all(|pause| (ASK_AGAIN / 2..=ASK_AGAIN).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
    }
}
