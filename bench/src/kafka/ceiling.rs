//! What Kafka's own client reaches with the same bytes on the same machine.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde::Serialize;

use super::topic::{ANSWER_MAX, MESSAGE_BYTES_MAX, Topic};
use crate::{Outcome, process};

/// The last records are acknowledged within this.
const FLUSH_MAX: Duration = Duration::from_secs(120);
/// How often a record waits for room among those that are on their way, and how long each time.
const WAITS_MAX: u32 = 60_000;
const WAIT: Duration = Duration::from_millis(1);
/// How often Kafka may give nothing before that counts as its end, and how long each time.
const EMPTY_POLLS_MAX: u32 = 300;
const POLL: Duration = Duration::from_millis(100);

/// A record as a role of the product wrote it.
pub struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// How fast records passed.
#[derive(Serialize)]
pub struct Throughput {
    /// Records.
    pub records: u64,
    /// Their keys and values.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// CPU seconds of this process meanwhile.
    pub cpu_seconds: f64,
}

impl Throughput {
    /// Records a second.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }
}

/// Every record of the topic.
pub fn load(topic: &Topic) -> Outcome<Vec<Record>> {
    let mut records = Vec::new();
    read(topic, |message| {
        let bytes = |part: Option<&[u8]>| part.unwrap_or_default().to_vec();
        records.push(Record { key: bytes(message.key()), value: bytes(message.payload()) });
    })?;
    Ok(records)
}

/// Reads the topic from its beginning to its end.
pub fn consume(topic: &Topic) -> Outcome<Throughput> {
    read(topic, |_| ())
}

/// Reads every record. The clock starts with the first, when the connections are there.
fn read(topic: &Topic, mut take: impl FnMut(&BorrowedMessage<'_>)) -> Outcome<Throughput> {
    let expected = topic.records()?;
    let (own, cpu_before) = own_cpu()?;
    let consumer = assigned(topic)?;
    let (mut records, mut bytes, mut started) = (0, 0, Instant::now());
    while records < expected {
        let message = next(&consumer)?;
        if records == 0 {
            started = Instant::now();
        }
        records += 1;
        bytes += (message.key_len() + message.payload_len()) as u64;
        take(&message);
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Throughput { records, bytes, seconds, cpu_seconds: process::cpu_seconds(own)? - cpu_before })
}

/// A consumer of all partitions from their beginning.
fn assigned(topic: &Topic) -> Outcome<BaseConsumer> {
    let mut config = topic.client();
    config
        // The client library wants a group, though nothing is done in it.
        .set("group.id", "tributary-bench-of-no-group")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.message.max.bytes", (4 << 20).to_string());
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::from(topic.partitions) {
        list.add_partition_offset(&topic.name, partition, Offset::Offset(0))?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// The next record. Errors are waited out for a while.
fn next(consumer: &BaseConsumer) -> Outcome<BorrowedMessage<'_>> {
    let mut trouble = None;
    for _ in 0..EMPTY_POLLS_MAX {
        match consumer.poll(POLL) {
            Some(Ok(message)) => return Ok(message),
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
    }
    let why = trouble.map_or_else(|| "no error is known".to_owned(), |error| error.to_string());
    Err(format!("Kafka gives less than the topic holds: {why}").into())
}

/// Writes the records into the topic, in turn into each partition, and waits until all are acknowledged.
pub fn produce(topic: &Topic, records: &[Record]) -> Outcome<Throughput> {
    let producer = producer(topic)?;
    // Connections and leaders are known before the clock starts.
    producer.client().fetch_metadata(Some(&topic.name), ANSWER_MAX)?;
    let (own, cpu_before) = own_cpu()?;
    let started = Instant::now();
    for (record, partition) in records.iter().zip((0..i32::from(topic.partitions)).cycle()) {
        let message = BaseRecord::to(&topic.name).partition(partition);
        send(&producer, message.key(record.key.as_slice()).payload(record.value.as_slice()))?;
    }
    producer.flush(FLUSH_MAX)?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = process::cpu_seconds(own)? - cpu_before;
    producer.context().check(records.len() as u64)?;
    let held = topic.records()?;
    if held != records.len() as u64 {
        return Err(format!("topic {} holds {held} records, not the {} written", topic.name, records.len()).into());
    }
    let bytes = records.iter().map(|record| (record.key.len() + record.value.len()) as u64).sum();
    Ok(Throughput { records: held, bytes, seconds, cpu_seconds })
}

/// With the settings of the product's own.
fn producer(topic: &Topic) -> Outcome<ThreadedProducer<Deliveries>> {
    let mut config = topic.client();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("batch.size", MESSAGE_BYTES_MAX.to_string())
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", (128 << 10).to_string());
    Ok(config.create_with_context(Deliveries::default())?)
}

/// Hands a record over, and waits if there is no room.
fn send(producer: &ThreadedProducer<Deliveries>, mut record: BaseRecord<'_, [u8], [u8]>) -> Outcome<()> {
    for _ in 0..WAITS_MAX {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
            Err((error, _)) => return Err(error.into()),
        }
        std::thread::sleep(WAIT);
    }
    Err("Kafka makes no room for more records".into())
}

/// Takes the brokers' answers.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicU64,
    failure: OnceLock<String>,
}

impl Deliveries {
    fn check(&self, expected: u64) -> Outcome<()> {
        if let Some(failure) = self.failure.get() {
            return Err(format!("a record was not taken: {failure}").into());
        }
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        if acknowledged != expected {
            return Err(format!("{acknowledged} of {expected} records were acknowledged").into());
        }
        Ok(())
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        match delivery {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::AcqRel);
            }
            // The first tells most.
            Err((error, _)) => {
                let _ = self.failure.set(error.to_string());
            }
        }
    }
}

/// This process, and its CPU seconds so far.
fn own_cpu() -> Outcome<(u32, f64)> {
    let own = std::process::id();
    Ok((own, process::cpu_seconds(own)?))
}
