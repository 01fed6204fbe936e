//! A topic as Kafka's own client sees it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::sender::Sent;
use crate::Outcome;

/// The largest message, and the largest batch: as the product has it.
pub const MESSAGE_BYTES_MAX: usize = (1 << 20) + (64 << 10) + 4096;
/// A question to the brokers is answered within this.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often a new topic is looked at until each partition has its leader.
const LOOKS_MAX: u32 = 200;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Where Kafka is.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Brokers as `host:port`, separated by commas.
    pub bootstrap: String,
    /// Copies of each record.
    pub replication: u16,
}

impl Cluster {
    /// Copies that must have a record before it is acknowledged: most of them.
    pub fn min_insync(&self) -> u16 {
        self.replication / 2 + 1
    }
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Where it is.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u16,
}

impl Topic {
    /// What all clients have in common.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.cluster.bootstrap)
            .set("client.id", "tributary-bench")
            .set("allow.auto.create.topics", "false")
            .set("socket.nagle.disable", "true")
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        config
    }

    /// Creates it and waits until every partition has a leader.
    pub async fn create(&self) -> Outcome<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let (min_insync, largest) = (self.cluster.min_insync().to_string(), (2 * MESSAGE_BYTES_MAX).to_string());
        let replication = TopicReplication::Fixed(self.cluster.replication.into());
        let topic = NewTopic::new(&self.name, self.partitions.into(), replication)
            .set("min.insync.replicas", &min_insync)
            .set("max.message.bytes", &largest);
        let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX)).operation_timeout(Some(ANSWER_MAX));
        for created in admin.create_topics([&topic], &options).await? {
            created.map_err(|(name, code)| format!("topic {name} cannot be created: {code}"))?;
        }
        for _ in 0..LOOKS_MAX {
            if self.leaders(&admin)? == usize::from(self.partitions) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("not every partition of topic {} has a leader", self.name).into())
    }

    fn leaders(&self, admin: &AdminClient<DefaultClientContext>) -> Outcome<usize> {
        let metadata = admin.inner().fetch_metadata(Some(&self.name), ANSWER_MAX)?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        Ok(topics.flat_map(|topic| topic.partitions()).filter(|partition| partition.leader() >= 0).count())
    }

    /// How many records it holds. Nothing is deleted meanwhile.
    pub fn records(&self) -> Outcome<u64> {
        let consumer: BaseConsumer = self.client().create()?;
        let held = (0..i32::from(self.partitions)).map(|partition| {
            let (first, next) = consumer.fetch_watermarks(&self.name, partition, ANSWER_MAX)?;
            Outcome::Ok(u64::try_from(next - first)?)
        });
        held.sum()
    }

    /// Fails unless it holds what the door acknowledged: nothing less, and nothing more unless a request was repeated.
    pub fn check_holds(&self, sent: &Sent) -> Outcome<()> {
        let (held, events, repeated) = (self.records()?, sent.events, sent.repeated);
        if held == events || (held > events && repeated > 0) {
            return Ok(());
        }
        Err(format!("topic {} holds {held} records, not {events} ({repeated} requests repeated)", self.name).into())
    }
}
