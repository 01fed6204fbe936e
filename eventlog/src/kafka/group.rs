//! A consumer group, for what it is good at: spreading partitions over processes, and showing their lag.
//!
//! The group fetches nothing. Offsets are committed for those who watch; nobody reads from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};
use tokio::sync::watch;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use super::appender::tell;
use super::fault::{Fault, FaultKind};
use super::settings::Settings;
use crate::metrics::Metrics;
use crate::share::Share;

/// How often the group is served.
const POLL: Duration = Duration::from_millis(100);
/// Leaving takes no longer; the session ends by itself then.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// Offsets are committed this often.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// A member of a group.
pub struct Member {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    settings: Settings,
    consumer: BaseConsumer<Context>,
    done: Mutex<BTreeMap<Partition, Offset>>,
    is_leaving: AtomicBool,
}

impl Member {
    /// Joins the group, which forgets a member that is silent for the time of a session.
    ///
    /// # Errors
    /// A [`Fault`] for settings that make no client.
    pub fn join(
        settings: &Settings,
        (group, session): (&str, Duration),
        partitions: PartitionCount,
        metrics: Metrics,
    ) -> Result<Arc<Self>, Fault> {
        let fault = |error: KafkaError| Fault::of(&error, settings);
        let mut config = settings.client("seal");
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.as_millis().to_string())
            .set("heartbeat.interval.ms", (session / 10).as_millis().max(100).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error");
        let context = Context {
            topic: settings.topic.clone(),
            partitions: partitions.partitions().collect(),
            own: watch::Sender::new(BTreeSet::new()),
            fault: Mutex::default(),
            metrics,
        };
        let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(fault)?;
        consumer.subscribe(&[&settings.topic]).map_err(fault)?;
        let shared =
            Arc::new(Shared { settings: settings.clone(), consumer, done: Mutex::default(), is_leaving: AtomicBool::new(false) });
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kafka-group".into()).spawn(move || serving.serve());
        let thread = thread.map_err(|error| Fault::new(FaultKind::Other, format!("no thread for the group: {error}")))?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// What this member may not do in the group; `None` since it last was given partitions, or gave some up.
    pub fn fault(&self) -> Option<Fault> {
        self.shared.consumer.context().fault.lock().clone()
    }
}

#[async_trait]
impl Share for Member {
    fn partitions(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.shared.consumer.context().own.subscribe()
    }

    fn done(&self, partition: Partition, next: Offset) {
        self.shared.done.lock().insert(partition, next);
    }

    async fn leave(&self) {
        self.shared.is_leaving.store(true, Ordering::Release);
        let thread = self.thread.lock().take();
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        });
        let _ = ended.await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.is_leaving.store(true, Ordering::Release);
    }
}

impl Shared {
    /// The thread's work.
    fn serve(&self) {
        let mut committed = Instant::now();
        while !self.is_leaving.load(Ordering::Acquire) {
            match self.consumer.poll(POLL) {
                // Nothing is fetched: every partition is paused from its first moment on.
                None | Some(Ok(_)) => {}
                Some(Err(error)) => self.note(Fault::of(&error, &self.settings)),
            }
            if committed.elapsed() >= COMMIT_EVERY {
                self.commit(CommitMode::Async);
                committed = Instant::now();
            }
        }
        self.commit(CommitMode::Sync);
        // The others get the partitions at once, and not after the session has timed out.
        let began = Instant::now();
        if let Err(error) = self.consumer.close_queue() {
            tracing::warn!(%error, "the group is not left in good order");
        }
        while !self.consumer.closed() && began.elapsed() < LEAVE_MAX {
            let _ = self.consumer.poll(POLL);
        }
        self.consumer.context().own.send_replace(BTreeSet::new());
    }

    fn note(&self, fault: Fault) {
        tracing::warn!(code = fault.code(), error = %fault, "the group");
        // Connections that are lost are made again without another word.
        if fault.kind() == FaultKind::Forbidden {
            *self.consumer.context().fault.lock() = Some(fault);
        }
    }

    fn commit(&self, mode: CommitMode) {
        let done = std::mem::take(&mut *self.done.lock());
        let own = self.consumer.context().own.borrow().clone();
        let mut list = TopicPartitionList::new();
        for (partition, next) in done.into_iter().filter(|(partition, _)| own.contains(partition)) {
            let (Ok(number), Ok(next)) = (i32::try_from(partition.index()), i64::try_from(next.get())) else { continue };
            if let Err(error) = list.add_partition_offset(&self.settings.topic, number, KafkaOffset::Offset(next)) {
                tracing::debug!(%error, "an offset that cannot be committed");
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, mode)
        {
            // The next one says more; the lag that tools show is late meanwhile.
            tracing::debug!(%error, "offsets are not committed");
        }
    }
}

/// Takes partitions and gives them up.
struct Context {
    topic: String,
    partitions: Vec<Partition>,
    own: watch::Sender<BTreeSet<Partition>>,
    /// What is not allowed, since partitions were given or taken.
    fault: Mutex<Option<Fault>>,
    metrics: Metrics,
}

impl Context {
    fn of(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let numbers = list.elements_for_topic(&self.topic);
        let partition = |number: i32| self.partitions.iter().copied().find(|known| i32::try_from(known.index()) == Ok(number));
        numbers.iter().filter_map(|element| partition(element.partition())).collect()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, %reason, "Kafka");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = self.of(list);
        self.metrics.rebalances.inc();
        *self.fault.lock() = None;
        let done: KafkaResult<()> = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Paused before anything is fetched; the offset is never used.
            let taken = list
                .set_all_offsets(KafkaOffset::End)
                .and_then(|()| consumer.incremental_assign(list))
                .and_then(|()| consumer.pause(list));
            tracing::info!(?partitions, "partitions are taken");
            self.own.send_modify(|own| own.extend(partitions));
            taken
        } else {
            tracing::info!(?partitions, "partitions are given up");
            self.own.send_modify(|own| own.retain(|partition| !partitions.contains(partition)));
            consumer.incremental_unassign(list)
        };
        if let Err(error) = done {
            tracing::error!(%error, "the group could not follow an assignment");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            tracing::debug!(%error, "offsets were not committed");
        }
    }
}
