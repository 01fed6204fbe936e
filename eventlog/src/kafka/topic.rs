//! The topic of a deployment: making it, and checking that it keeps what the pipeline promises.

use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tributary_schemas::ids::PartitionCount;

use super::appender::unanswered;
use super::settings::{MESSAGE_BYTES_MAX, Settings};
use crate::error::LogError;

/// Between two looks at a topic that is not known yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a topic must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// As many as the deployment was born with.
    pub partitions: PartitionCount,
    /// Copies of each partition.
    pub replication: u16,
    /// Copies that must have a record before it is acknowledged.
    pub min_insync_replicas: u16,
    /// How long records are kept at least. What is not sealed by then is lost.
    pub retention: Duration,
}

/// Something about a topic that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Kafka's name of the property.
    pub property: &'static str,
    /// What it is.
    pub found: String,
    /// What it must be.
    pub wanted: String,
    /// What happens otherwise.
    pub why: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, wanted: {}: {}", self.property, self.found, self.wanted, self.why)
    }
}

/// Creates the topic. Whether it is there already: then nothing is changed.
///
/// # Errors
/// [`LogError::Reject`] if the brokers refuse it, [`LogError::Retry`] if they do not answer.
pub async fn create(settings: &Settings, plan: TopicPlan) -> Result<bool, LogError> {
    let reject = |reason: String| LogError::Reject { reason };
    let (partitions, replication) = (i32::try_from(plan.partitions.get()), TopicReplication::Fixed(plan.replication.into()));
    let partitions = partitions.map_err(|_| reject("so many partitions are not possible".to_owned()))?;
    let texts: Vec<(&str, String)> = vec![
        ("min.insync.replicas", plan.min_insync_replicas.to_string()),
        ("retention.ms", plan.retention.as_millis().to_string()),
        ("retention.bytes", "-1".to_owned()),
        ("cleanup.policy", "delete".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("max.message.bytes", (2 * MESSAGE_BYTES_MAX).to_string()),
    ];
    let topic = NewTopic::new(&settings.topic, partitions, replication);
    let topic = texts.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let answered = client(settings)?.create_topics([&topic], &options(settings)).await;
    match unanswered(answered)?.pop() {
        Some(Ok(_)) => Ok(true),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(reject(format!("topic {} cannot be created: {code}", settings.topic))),
        None => Err(LogError::Retry { reason: "the brokers answered nothing".to_owned() }),
    }
}

/// What is not as the plan has it. Empty: all is well.
///
/// # Errors
/// [`LogError::Reject`] if there is no such topic, [`LogError::Retry`] if the brokers do not answer.
pub async fn check(settings: &Settings, plan: TopicPlan) -> Result<Vec<Finding>, LogError> {
    let asked = settings.clone();
    let layout = tokio::task::spawn_blocking(move || layout(&asked)).await.map_err(|_| LogError::Closed)??;
    let topic = [ResourceSpecifier::Topic(&settings.topic)];
    let described = unanswered(client(settings)?.describe_configs(&topic, &options(settings)).await)?;
    let config = match described.into_iter().next() {
        Some(Ok(config)) => config,
        Some(Err(code)) => return Err(LogError::Retry { reason: format!("topic {}: {code}", settings.topic) }),
        None => return Err(LogError::Retry { reason: "the brokers answered nothing".to_owned() }),
    };
    let mut findings = Vec::new();
    let partitions = plan.partitions.get() as usize;
    if layout.partitions != partitions {
        findings.push(Finding {
            property: "partitions",
            found: layout.partitions.to_string(),
            wanted: partitions.to_string(),
            why: "the deployment was born with that many, and every record lies in the partition of its key",
        });
    }
    if layout.replication < usize::from(plan.replication) {
        findings.push(Finding {
            property: "replication factor",
            found: layout.replication.to_string(),
            wanted: format!("{} or more", plan.replication),
            why: "what was acknowledged is lost with the last copy",
        });
    }
    findings.extend(of_config(&config, plan));
    Ok(findings)
}

/// [`check`] of a topic that may have been made a moment ago: brokers learn of it one after the other.
///
/// # Errors
/// As [`check`]; that there is no such topic is told after [`Settings::answer_timeout`].
pub async fn check_when_known(settings: &Settings, plan: TopicPlan) -> Result<Vec<Finding>, LogError> {
    let deadline = tokio::time::Instant::now() + settings.answer_timeout;
    loop {
        match check(settings, plan).await {
            Err(LogError::Reject { .. }) if tokio::time::Instant::now() < deadline => tokio::time::sleep(LOOK_AGAIN).await,
            checked => return checked,
        }
    }
}

fn of_config(config: &ConfigResource, plan: TopicPlan) -> Vec<Finding> {
    let value = |name: &str| config.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
    let number = |name: &str| value(name).parse::<i128>().unwrap_or(0);
    let mut findings = Vec::new();
    let mut check = |property: &'static str, holds: bool, wanted: String, why: &'static str| {
        if !holds {
            findings.push(Finding { property, found: value(property), wanted, why });
        }
    };
    let insync = i128::from(plan.min_insync_replicas);
    check(
        "min.insync.replicas",
        number("min.insync.replicas") >= insync,
        format!("{insync} or more"),
        "a record would be acknowledged with fewer copies",
    );
    let unclean = "an out-of-date copy could become the leader and lose acknowledged records";
    check("unclean.leader.election.enable", value("unclean.leader.election.enable") == "false", "false".to_owned(), unclean);
    check("cleanup.policy", value("cleanup.policy") == "delete", "delete".to_owned(), "compaction drops records of a key");
    let retention = i128::try_from(plan.retention.as_millis()).unwrap_or(i128::MAX);
    let kept = number("retention.ms");
    let lost = "records that are not sealed by then are lost";
    check("retention.ms", kept == -1 || kept >= retention, format!("{retention} or more, or -1"), lost);
    check(
        "retention.bytes",
        number("retention.bytes") == -1,
        "-1".to_owned(),
        "records that are not sealed yet could be dropped",
    );
    let largest = MESSAGE_BYTES_MAX as i128;
    let refused = "the largest event would be refused";
    check("max.message.bytes", number("max.message.bytes") >= largest, format!("{largest} or more"), refused);
    findings
}

/// What the metadata say of a topic.
struct Layout {
    partitions: usize,
    /// Of the partition with the fewest copies.
    replication: usize,
}

fn layout(settings: &Settings) -> Result<Layout, LogError> {
    let client = client(settings)?;
    let metadata = unanswered(client.inner().fetch_metadata(Some(&settings.topic), settings.answer_timeout))?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == settings.topic && topic.error().is_none());
    let missing = || LogError::Reject {
        reason: format!("topic {} does not exist: create it with `tributary topics create`", settings.topic),
    };
    let partitions = topic.ok_or_else(missing)?.partitions();
    let replication = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
    Ok(Layout { partitions: partitions.len(), replication })
}

/// How many partitions the topic has.
pub(super) fn partitions_of(settings: &Settings) -> Result<usize, LogError> {
    Ok(layout(settings)?.partitions)
}

fn client(settings: &Settings) -> Result<AdminClient<DefaultClientContext>, LogError> {
    settings.client("topics").create().map_err(|error: KafkaError| LogError::Reject { reason: error.to_string() })
}

fn options(settings: &Settings) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(settings.answer_timeout)).operation_timeout(Some(settings.answer_timeout))
}
