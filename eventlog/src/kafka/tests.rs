//! Against a real broker. One test, for a broker takes seconds to start.

#![allow(clippy::unwrap_used)]

mod broker;
mod security;

use std::collections::BTreeSet;

use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Duration;

use self::broker::Broker;
use super::*;
use crate::Share;
use crate::conformance::{self, Factory};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn plan(partitions: PartitionCount) -> TopicPlan {
    let day = Duration::from_secs(24 * 60 * 60);
    TopicPlan { partitions, replication: 1, min_insync_replicas: 1, retention: day }
}

fn count(partitions: u32) -> PartitionCount {
    PartitionCount::new(partitions).unwrap()
}

fn at(offset: u64) -> Offset {
    Offset::new(offset).unwrap()
}

fn record(key: &str, value: &str) -> Record {
    Record { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value.as_bytes()) }
}

/// Opens the log as soon as the brokers know its topic.
async fn open(settings: Settings, partitions: PartitionCount) -> Arc<KafkaLog> {
    let opened = async {
        loop {
            match KafkaLog::open(settings.clone(), partitions).await {
                Ok(log) => return log,
                Err(error) => tracing::debug!(%error, "not yet"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap()
}

#[async_trait]
impl Factory for Broker {
    async fn open(&self, name: &str, partitions: PartitionCount) -> Arc<dyn EventLog> {
        let settings = Settings::new(self.bootstrap(), name);
        create(&settings, plan(partitions)).await.unwrap();
        open(settings, partitions).await
    }

    async fn close(&self, log: Arc<dyn EventLog>) {
        drop(log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_broker() {
    let Some(broker) = Broker::start().await else { return };
    conformance::run(&broker).await;
    a_topic_is_made_once_and_what_is_wrong_with_it_is_named(&broker).await;
    a_rehearsal_makes_nothing_and_tells_whether_the_topic_could_be_made(&broker).await;
    a_topic_of_another_deployment_is_refused(&broker).await;
    members_share_the_partitions_and_a_leaver_gives_its_own_away(&broker).await;
    what_the_brokers_deleted_is_out_of_range(&broker).await;
    a_topic_made_again_and_filled_beyond_is_not_read_on_unawares(&broker).await;
    a_broker_that_is_away_loses_nothing_that_was_acknowledged(broker).await;
}

async fn a_topic_is_made_once_and_what_is_wrong_with_it_is_named(broker: &Broker) {
    let settings = Settings::new(broker.bootstrap(), "checked");
    assert!(create(&settings, plan(count(3))).await.unwrap());
    assert!(!create(&settings, plan(count(3))).await.unwrap(), "it is there already");
    assert_eq!(check_when_known(&settings, plan(count(3))).await.unwrap(), []);
    let strict = TopicPlan { replication: 2, min_insync_replicas: 2, ..plan(count(4)) };
    let named = |findings: Vec<Finding>| findings.iter().map(|finding| finding.property).collect::<Vec<_>>();
    let findings = check(&settings, strict).await.unwrap();
    assert_eq!(named(findings), ["partitions", "replication factor", "min.insync.replicas"]);

    let admin: AdminClient<DefaultClientContext> = settings.client("test").create().unwrap();
    let wrong = [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1000"),
        ("retention.bytes", "1000"),
        ("retention.ms", "1000"),
        ("unclean.leader.election.enable", "true"),
    ];
    let change = wrong.iter().fold(AlterConfig::new(ResourceSpecifier::Topic("checked")), |c, (name, value)| c.set(name, value));
    admin.alter_configs([&change], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let changed = async {
        loop {
            let mut found = named(check(&settings, plan(count(3))).await.unwrap());
            found.sort_unstable();
            if found == wrong.map(|(name, _)| name) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.expect("every wrong property is named");
    let missing = check(&Settings::new(broker.bootstrap(), "nowhere"), plan(count(1))).await.unwrap_err();
    assert_eq!(missing.kind(), FaultKind::TopicUnknown);
    assert!(missing.to_string().contains("tributary topics create"), "{missing}");
}

async fn a_rehearsal_makes_nothing_and_tells_whether_the_topic_could_be_made(broker: &Broker) {
    let settings = Settings::new(broker.bootstrap(), "rehearsed");
    assert!(rehearse(&settings, plan(count(3))).await.unwrap());
    assert_eq!(check(&settings, plan(count(3))).await.unwrap_err().kind(), FaultKind::TopicUnknown);
    let crowded = TopicPlan { replication: 3, ..plan(count(3)) };
    for refused in [rehearse(&settings, crowded).await, create(&settings, crowded).await] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), FaultKind::TooFewBrokers);
        assert!(refused.to_string().contains("1 of the 3 brokers"), "{refused}");
    }
    let nameless = Settings::new(broker.bootstrap(), "no such name!");
    assert_eq!(rehearse(&nameless, plan(count(1))).await.unwrap_err().kind(), FaultKind::TopicRefused);
    assert!(create(&settings, plan(count(3))).await.unwrap());
    assert!(!rehearse(&settings, plan(count(3))).await.unwrap(), "it is there already");
}

async fn a_topic_of_another_deployment_is_refused(broker: &Broker) {
    let settings = Settings::new(broker.bootstrap(), "checked");
    let error = KafkaLog::open(settings, count(5)).await.err().unwrap();
    assert!(error.to_string().contains("topic checked has 3 partitions; the deployment has 5"), "{error}");
    assert_eq!(error.kind(), FaultKind::PartitionCount);
    let error = KafkaLog::open(Settings::new(broker.bootstrap(), "nowhere"), count(5)).await.err().unwrap();
    assert!(error.kind() == FaultKind::TopicUnknown && !error.is_passing(), "{error}");
    let mut away = Settings::new("127.0.0.1:1", "checked");
    away.answer_timeout = Duration::from_millis(300);
    let log = KafkaLog::connect(away, count(3)).unwrap();
    assert!(log.trouble().unwrap().to_string().contains("no broker has told yet"));
    let error = log.check_topic().await.unwrap_err();
    assert!(error.kind() == FaultKind::Unreachable && error.is_passing(), "{error}");
    // Whoever asks for the state of the process is told more than the senders of records.
    assert!(log.trouble().unwrap().to_string().ends_with("[kafka_unreachable]"));
    let refused = log.append(vec![record("k", "v")]).await.unwrap_err().to_string();
    assert!(!refused.contains("127.0.0.1"), "{refused}");
}

/// Waits until the member has what `wanted` says.
async fn own(member: &Member, wanted: impl Fn(&BTreeSet<Partition>) -> bool) -> BTreeSet<Partition> {
    let mut own = member.partitions();
    let own = tokio::time::timeout(PATIENCE, own.wait_for(|own| wanted(own))).await;
    own.expect("the group gets on").unwrap().clone()
}

async fn members_share_the_partitions_and_a_leaver_gives_its_own_away(broker: &Broker) {
    let log = Factory::open(broker, "shared", count(6)).await;
    let settings = Settings::new(broker.bootstrap(), "shared");
    let session = Duration::from_secs(30);
    let join = || Member::join(&settings, ("group", session), count(6), Metrics::default()).unwrap();
    let first = join();
    own(&first, |own| own.len() == 6).await;
    let second = join();
    let (a, b) = (own(&first, |own| own.len() == 3).await, own(&second, |own| own.len() == 3).await);
    assert!(a.is_disjoint(&b), "{a:?} {b:?}");
    // What a lag tool sees.
    let own_partition = *a.first().unwrap();
    first.done(own_partition, at(7));
    let began = std::time::Instant::now();
    first.leave().await;
    own(&second, |own| own.len() == 6).await;
    assert!(began.elapsed() < session / 2, "the others do not wait for the session to time out");
    let consumer: rdkafka::consumer::BaseConsumer = settings.client("test").set("group.id", "group").create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition("shared", i32::try_from(own_partition.index()).unwrap());
    let committed = rdkafka::consumer::Consumer::committed_offsets(&consumer, asked, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), KafkaOffset::Offset(7));
    second.leave().await;
    assert!(own(&second, BTreeSet::is_empty).await.is_empty());
    drop(log);
}

async fn what_the_brokers_deleted_is_out_of_range(broker: &Broker) {
    let log = Factory::open(broker, "deleted", count(1)).await;
    log.append((0..10).map(|n| record("k", &n.to_string())).collect()).await.unwrap();
    let partition = Partition::new(0).unwrap();
    assert_eq!(log.read(partition, at(0), 1).await.unwrap().len(), 1);
    let admin: AdminClient<DefaultClientContext> = Settings::new(broker.bootstrap(), "").client("test").create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset("deleted", 0, KafkaOffset::Offset(6)).unwrap();
    admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
    assert_eq!(log.bounds(partition).await.unwrap(), Bounds { earliest: at(6), next: at(10) });
    let error = log.read(partition, at(3), 1000).await.err().unwrap();
    assert!(matches!(error, LogError::OutOfRange { offset, .. } if offset == at(3)), "{error}");
    assert_eq!(log.read(partition, at(6), 1000).await.unwrap()[0].value, "6");
    let error = log.release(partition, at(11)).await.err().unwrap();
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
}

/// Reads on at the offset until the read is interrupted; a record before that fails the test.
async fn interrupted(log: &KafkaLog, from: Offset) {
    let partition = Partition::new(0).unwrap();
    let interrupted = async {
        loop {
            match log.read(partition, from, 1000).await {
                Err(LogError::Interrupted { .. }) => return,
                Ok(records) => assert_eq!(records, [], "what is read may be another log"),
                Err(error) => assert!(matches!(error, LogError::Retry { .. }), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, interrupted).await.expect("the disturbance is noticed");
}

async fn a_topic_made_again_and_filled_beyond_is_not_read_on_unawares(broker: &Broker) {
    let settings = Settings::new(broker.bootstrap(), "again");
    create(&settings, plan(count(1))).await.unwrap();
    let log = open(settings.clone(), count(1)).await;
    log.append((0..5).map(|n| record("k", &n.to_string())).collect()).await.unwrap();
    let partition = Partition::new(0).unwrap();
    assert_eq!(log.read(partition, at(0), 1000).await.unwrap().len(), 5);
    assert_eq!(log.read(partition, at(5), 1000).await.unwrap(), []);
    let admin: AdminClient<DefaultClientContext> = settings.client("test").create().unwrap();
    admin.delete_topics(&["again"], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let made_again = async { while !create(&settings, plan(count(1))).await.is_ok_and(|created| created) {} };
    tokio::time::timeout(PATIENCE, made_again).await.unwrap();
    let other = open(settings, count(1)).await;
    other.append((0..10).map(|n| record("k", &format!("new {n}"))).collect()).await.unwrap();
    interrupted(&log, at(5)).await;
    // Whoever compared reads on.
    let read = async {
        loop {
            if let Ok(records) = log.read(partition, at(4), 1000).await {
                return records;
            }
        }
    };
    let records = tokio::time::timeout(PATIENCE, read).await.unwrap();
    assert_eq!((records[0].value.as_ref(), records.len()), (b"new 4".as_slice(), 6));
}

async fn a_broker_that_is_away_loses_nothing_that_was_acknowledged(mut broker: Broker) {
    let mut settings = Settings::new(broker.bootstrap(), "away");
    create(&settings, plan(count(1))).await.unwrap();
    settings.delivery_timeout = Duration::from_secs(2);
    settings.room_wait = Duration::from_millis(200);
    settings.append_bytes_max = 64 << 10;
    let log = open(settings, count(1)).await;
    log.append(vec![record("k", "before")]).await.unwrap();
    let partition = Partition::new(0).unwrap();
    assert_eq!(log.read(partition, at(0), 1000).await.unwrap().len(), 1);
    broker.kill().await;
    // As many as find room wait for the broker, the others are told at once; all of them are told to try again.
    let large = "x".repeat(20 << 10);
    let appends = futures::future::join_all((0..8).map(|_| log.append(vec![record("k", &large)]))).await;
    for answer in &appends {
        assert!(matches!(answer, Err(LogError::Retry { .. })), "{answer:?}");
    }
    assert!(log.trouble().is_some());
    broker.restart().await;
    let acknowledged = async {
        while log.append(vec![record("k", "after")]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, acknowledged).await.unwrap();
    assert_eq!(log.trouble(), None);
    interrupted(&log, at(1)).await;
    let next = log.bounds(partition).await.unwrap().next;
    let (mut values, mut from) = (Vec::new(), at(0));
    while from < next {
        let records = log.read(partition, from, 1 << 20).await.unwrap();
        from = records.last().unwrap().offset.next();
        values.extend(records.into_iter().map(|record| record.value));
    }
    assert_eq!(values.iter().filter(|value| *value == "before").count(), 1);
    assert!(values.iter().any(|value| *value == "after"));
}
