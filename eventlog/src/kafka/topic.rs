//! The topic of a deployment: making it, and checking that it keeps what the pipeline promises.

use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use tributary_schemas::ids::PartitionCount;

use super::events;
use super::fault::{Fault, FaultKind};
use super::settings::{MESSAGE_BYTES_MAX, Settings};

/// Between two looks at a topic that is not known yet: half of this to the whole.
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

impl Finding {
    /// Every code, in the order of docs/errors.md.
    pub const CODES: [&'static str; 3] = ["kafka_replication", "kafka_min_insync_replicas", "kafka_topic_setting"];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self.property {
            "partitions" => FaultKind::PartitionCount.code(),
            "replication factor" => "kafka_replication",
            "min.insync.replicas" => "kafka_min_insync_replicas",
            _ => "kafka_topic_setting",
        }
    }

    /// What to do about it, with the key of the configuration if there is one.
    pub fn cure(&self) -> &'static str {
        match self.property {
            "partitions" => FaultKind::PartitionCount.cure(),
            "replication factor" => "add copies with Kafka's own tools (kafka-reassign-partitions), or lower `kafka.replication`",
            "min.insync.replicas" => "set it with Kafka's own tools (kafka-configs), or lower `kafka.min_insync_replicas`",
            "retention.ms" => "set it with Kafka's own tools (kafka-configs), or lower `kafka.retention_ms`",
            _ => "set it with Kafka's own tools (kafka-configs)",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { property, found, wanted, why } = self;
        write!(f, "{property} is {found}, wanted: {wanted}: {why}; {} [{}]", self.cure(), self.code())
    }
}

/// Whether the topic would be made, as far as the brokers know without making it; `false`: it is there already. Nothing is changed.
///
/// # Errors
/// As [`create`].
pub async fn rehearse(settings: &Settings, plan: TopicPlan) -> Result<bool, Fault> {
    request(settings, plan, options(settings).validate_only(true)).await
}

/// Creates the topic. Whether it was made now; `false`: it is there already, and nothing is changed.
///
/// # Errors
/// A [`Fault`] if the brokers are not reached, or refuse to make it.
pub async fn create(settings: &Settings, plan: TopicPlan) -> Result<bool, Fault> {
    request(settings, plan, options(settings)).await
}

async fn request(settings: &Settings, plan: TopicPlan, options: AdminOptions) -> Result<bool, Fault> {
    // A question tells better than a request what is wrong with the way to the brokers.
    let brokers = look(settings, |settings| events::ask(settings).map(|metadata| metadata.brokers().len())).await?;
    let topic = &settings.topic;
    let partitions = i32::try_from(plan.partitions.get())
        .map_err(|_| Fault::new(FaultKind::TopicRefused, format!("topic {topic} cannot have so many partitions")))?;
    let texts: Vec<(&str, String)> = vec![
        ("min.insync.replicas", plan.min_insync_replicas.to_string()),
        ("retention.ms", plan.retention.as_millis().to_string()),
        ("retention.bytes", "-1".to_owned()),
        ("cleanup.policy", "delete".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("max.message.bytes", (2 * MESSAGE_BYTES_MAX).to_string()),
    ];
    let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(plan.replication.into()));
    let wanted = texts.iter().fold(wanted, |wanted, (name, value)| wanted.set(name, value));
    let answered = client(settings)?.create_topics([&wanted], &options).await;
    match answered.map_err(|error| Fault::of(&error, settings))?.pop() {
        Some(Ok(_)) => Ok(true),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code @ RDKafkaErrorCode::InvalidReplicationFactor))) => {
            let reason = format!("{brokers} of the {} brokers that it takes answer ({code})", plan.replication);
            Err(Fault::of_code(code, &reason, settings))
        }
        Some(Err((_, code))) => Err(Fault::of_code(code, &code.to_string(), settings)),
        None => Err(nothing()),
    }
}

/// What is not as the plan has it. Empty: all is well.
///
/// # Errors
/// A [`Fault`] if the brokers are not reached, or there is no such topic.
pub async fn check(settings: &Settings, plan: TopicPlan) -> Result<Vec<Finding>, Fault> {
    let layout = look(settings, layout).await?;
    let topic = [ResourceSpecifier::Topic(&settings.topic)];
    let described = client(settings)?.describe_configs(&topic, &options(settings)).await;
    let config = match described.map_err(|error| Fault::of(&error, settings))?.into_iter().next() {
        Some(Ok(config)) => config,
        Some(Err(code)) => return Err(Fault::of_code(code, &code.to_string(), settings)),
        None => return Err(nothing()),
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
pub async fn check_when_known(settings: &Settings, plan: TopicPlan) -> Result<Vec<Finding>, Fault> {
    let deadline = tokio::time::Instant::now() + settings.answer_timeout;
    loop {
        match check(settings, plan).await {
            Err(fault) if is_of_new(fault.kind()) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(settings.jitter.pause(LOOK_AGAIN)).await;
            }
            checked => return checked,
        }
    }
}

/// Whether brokers may say so of a topic that was made a moment ago.
fn is_of_new(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::TopicUnknown | FaultKind::Other)
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

fn layout(settings: &Settings) -> Result<Layout, Fault> {
    let metadata = events::ask(settings)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == settings.topic);
    let of_code = |code: RDKafkaErrorCode| Fault::of_code(code, &code.to_string(), settings);
    let topic = topic.ok_or_else(|| of_code(RDKafkaErrorCode::UnknownTopicOrPartition))?;
    if let Some(error) = topic.error() {
        return Err(of_code(error.into()));
    }
    let partitions = topic.partitions();
    let replication = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
    Ok(Layout { partitions: partitions.len(), replication })
}

/// How many partitions the topic has.
pub(super) async fn partitions_of(settings: &Settings) -> Result<usize, Fault> {
    Ok(look(settings, layout).await?.partitions)
}

/// Asks on a thread that may wait.
async fn look<T: Send + 'static>(
    settings: &Settings,
    question: impl FnOnce(&Settings) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let asked = settings.clone();
    let ended = |_| Fault::new(FaultKind::Other, "the process ends before Kafka answered");
    tokio::task::spawn_blocking(move || question(&asked)).await.map_err(ended)?
}

fn nothing() -> Fault {
    Fault::new(FaultKind::Other, "Kafka: the brokers answered nothing")
}

fn client(settings: &Settings) -> Result<AdminClient<DefaultClientContext>, Fault> {
    settings.client("topics").create().map_err(|error| Fault::of(&error, settings))
}

fn options(settings: &Settings) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(settings.answer_timeout)).operation_timeout(Some(settings.answer_timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_its_code_the_key_and_the_cure() {
        for (property, code, key) in [
            ("partitions", "kafka_partition_count", "`kafka.topic`"),
            ("replication factor", "kafka_replication", "`kafka.replication`"),
            ("min.insync.replicas", "kafka_min_insync_replicas", "`kafka.min_insync_replicas`"),
            ("retention.ms", "kafka_topic_setting", "`kafka.retention_ms`"),
            ("cleanup.policy", "kafka_topic_setting", "kafka-configs"),
        ] {
            let finding = Finding { property, found: "1".to_owned(), wanted: "2".to_owned(), why: "so it is" };
            let text = finding.to_string();
            assert!(text.starts_with(&format!("{property} is 1, wanted: 2: so it is; ")), "{text}");
            assert!(text.contains(key) && text.ends_with(&format!("[{code}]")), "{text}");
        }
    }
}
