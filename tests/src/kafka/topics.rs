//! What is done to topics and asked of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, AlterConfig, ConfigResource, ConfigSource, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::{ASK_TIMEOUT, Cluster, client};
use crate::patience::Patience;
use crate::{Outcome, ensure};

/// A change of a topic is done within this.
const DONE_WITHIN: Duration = Duration::from_secs(60);
/// Everything that a partition of a test holds is read within this.
const READ_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub offset: i64,
    /// Its value.
    pub value: Vec<u8>,
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(DONE_WITHIN)).operation_timeout(Some(DONE_WITHIN))
}

impl Cluster {
    /// The first offset of a partition and the one after its last.
    pub async fn bounds(&self, topic: &str, partition: i32) -> Outcome<(i64, i64)> {
        let (admin, topic) = (Arc::clone(&self.admin), topic.to_owned());
        let ask = move || admin.inner().fetch_watermarks(&topic, partition, ASK_TIMEOUT);
        Ok(tokio::task::spawn_blocking(ask).await??)
    }

    /// Waits until every partition of a topic has a leader and all its copies.
    pub async fn wait_in_sync(&self, topic: &str, within: Duration) -> Outcome {
        let patience = Patience::of(within);
        loop {
            let state = match self.copies(topic).await {
                Ok(copies) if !copies.is_empty() && copies.iter().all(|(has, wanted)| has == wanted) => return Ok(()),
                Ok(copies) => format!("in-sync copies of the partitions of {topic}, and how many there must be: {copies:?}"),
                Err(error) => error.to_string(),
            };
            patience.pause(|| state).await?;
        }
    }

    /// The in-sync copies of each partition, none without a leader, and how many it must have.
    async fn copies(&self, topic: &str) -> Outcome<Vec<(usize, usize)>> {
        let (admin, name) = (Arc::clone(&self.admin), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(Some(&name), ASK_TIMEOUT)).await??;
        let found = asked.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        let partitions = found.ok_or_else(|| format!("there is no topic {topic}"))?.partitions();
        let copies = partitions.iter().map(|p| (if p.leader() < 0 { 0 } else { p.isr().len() }, p.replicas().len()));
        Ok(copies.collect())
    }

    /// Deletes a topic, and waits until no broker knows it.
    pub async fn delete_topic(&self, topic: &str) -> Outcome {
        for deleted in self.admin.delete_topics(&[topic], &options()).await? {
            deleted.map_err(|(name, code)| format!("{name} cannot be deleted: {code}"))?;
        }
        let patience = Patience::of(DONE_WITHIN);
        while self.copies(topic).await.is_ok() {
            patience.pause(|| format!("{topic} is still there")).await?;
        }
        Ok(())
    }

    /// Writes a record in a transaction of its own, and waits for the mark that it leaves behind the record: a broker writes the mark
    /// after it has answered the commit. Nobody else may write into the partition meanwhile.
    pub async fn transaction(&self, topic: &str, partition: i32, value: &[u8]) -> Outcome {
        let (_, before) = self.bounds(topic, partition).await?;
        self.commit_record(topic, partition, value).await?;
        let patience = Patience::of(DONE_WITHIN);
        loop {
            let (_, end) = self.bounds(topic, partition).await?;
            ensure(end <= before + 2, || format!("the log of partition {partition} ends at {end}: somebody else wrote into it"))?;
            if end == before + 2 {
                return Ok(());
            }
            patience.pause(|| format!("the log of partition {partition} ends at {end}, without the mark")).await?;
        }
    }

    async fn commit_record(&self, topic: &str, partition: i32, value: &[u8]) -> Outcome {
        let mut config = client(self.bootstrap());
        let producer: BaseProducer = config.set("transactional.id", "tributary-tests-intruder").create()?;
        let (topic, value) = (topic.to_owned(), value.to_vec());
        let write = move || {
            producer.init_transactions(DONE_WITHIN)?;
            producer.begin_transaction()?;
            let record = BaseRecord::<(), [u8]>::to(&topic).partition(partition).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
            // Sends what is queued first.
            producer.commit_transaction(DONE_WITHIN)
        };
        Ok(tokio::task::spawn_blocking(write).await??)
    }

    /// Deletes the records of a partition before an offset.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Outcome {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let deleted = self.admin.delete_records(&list, &options()).await?;
        for element in deleted.elements() {
            element.error()?;
        }
        let (earliest, _) = self.bounds(topic, partition).await?;
        ensure(earliest == before, || format!("the log begins at {earliest}, not at {before}"))
    }

    /// Sets one property of a topic and leaves the others as they are.
    pub async fn alter_topic(&self, topic: &str, property: &str, value: &str) -> Outcome {
        let config = self.topic_config(topic).await?;
        let kept = config.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic && entry.name != property);
        let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(property, value);
        for entry in kept {
            wanted = wanted.set(&entry.name, entry.value.as_deref().unwrap_or_default());
        }
        for altered in self.admin.alter_configs([&wanted], &options()).await? {
            altered.map_err(|(_, code)| format!("{topic}: {property} cannot be set: {code}"))?;
        }
        let patience = Patience::of(DONE_WITHIN);
        while self.topic_config(topic).await?.get(property).and_then(|entry| entry.value.as_deref()) != Some(value) {
            patience.pause(|| format!("{property} of {topic} does not become {value}")).await?;
        }
        Ok(())
    }

    async fn topic_config(&self, topic: &str) -> Outcome<ConfigResource> {
        let resource = [ResourceSpecifier::Topic(topic)];
        let described = self.admin.describe_configs(&resource, &options()).await?;
        let config = described.into_iter().next().ok_or("the brokers answered nothing")?;
        config.map_err(|code| format!("{topic}: {code}").into())
    }

    /// Every record of a partition.
    pub async fn read(&self, topic: &str, partition: i32) -> Outcome<Vec<Logged>> {
        let (bootstrap, topic) = (self.bootstrap.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || read(&bootstrap, &topic, partition)).await?
    }

    /// How many members a group has; `None` while it deals its partitions out.
    pub async fn members(&self, group: &str) -> Outcome<Option<usize>> {
        let (admin, name) = (Arc::clone(&self.admin), group.to_owned());
        let ask = move || {
            let groups = admin.inner().fetch_group_list(Some(&name), ASK_TIMEOUT)?;
            let found = groups.groups().iter().find(|found| found.name() == name);
            let (members, state) = found.map_or((0, "Empty"), |found| (found.members().len(), found.state()));
            Ok::<_, KafkaError>((members == 0 || state == "Stable").then_some(members))
        };
        Ok(tokio::task::spawn_blocking(ask).await??)
    }

    /// The offsets that a group committed, by partition; -1 where there is none.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> Outcome<Vec<i64>> {
        let mut config = client(&self.bootstrap);
        config.set("group.id", group).set("enable.auto.commit", "false");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition(topic, partition);
        }
        let ask = move || {
            let consumer: BaseConsumer = config.create()?;
            consumer.committed_offsets(list, ASK_TIMEOUT)
        };
        let committed = tokio::task::spawn_blocking(ask).await??;
        let mut offsets: Vec<(i32, i64)> = committed.elements().iter().map(|e| (e.partition(), plain(e.offset()))).collect();
        offsets.sort_unstable();
        Ok(offsets.into_iter().map(|(_, offset)| offset).collect())
    }
}

fn plain(offset: Offset) -> i64 {
    match offset {
        Offset::Offset(offset) => offset,
        _ => -1,
    }
}

fn read(bootstrap: &str, topic: &str, partition: i32) -> Outcome<Vec<Logged>> {
    let mut config = client(bootstrap);
    config.set("group.id", "tributary-tests").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)?;
    consumer.assign(&list)?;
    let deadline = Instant::now() + READ_WITHIN;
    let (mut records, mut trouble) = (Vec::new(), None);
    while Instant::now() < deadline {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default().to_vec();
                records.push(Logged { offset: message.offset(), value });
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(records),
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
    }
    Err(format!("partition {partition} of {topic} cannot be read to its end: {trouble:?}").into())
}
