//! One broker, one door, one sealer: what happens to them, and what an operator does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use tributary_tests::auditor::event::{Event, Identity};
use tributary_tests::auditor::murmur::keys_of;
use tributary_tests::auditor::{Auditor, Gap, Verdict, Watching};
use tributary_tests::command::Ran;
use tributary_tests::kafka::Cluster;
use tributary_tests::load::{Doors, Plan, Sender};
use tributary_tests::patience::Patience;
use tributary_tests::server::Options;
use tributary_tests::services::{Deployment, GROUP, PartitionStatus, Service, TOPIC};
use tributary_tests::{Outcome, ensure};

/// How many partitions there are.
pub const PARTITIONS: u32 = 2;
/// The partition whose log is damaged, and the one that goes on.
pub const DAMAGED: u32 = 0;
pub const OTHER: u32 = 1;
/// Anything sent is acknowledged, anything acknowledged sealed, and any damage found, within this.
pub const WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// Events of one request. More events make more requests, and so more batches of records in the log.
const REQUEST_EVENTS: u64 = 5;
/// Events of one request where there are many.
const LARGE_REQUEST_EVENTS: u64 = 1_000;

/// One broker, one door, one sealer, and a sender for each partition.
pub struct Scene {
    deployment: Deployment,
    ingest: Service,
    seal: Service,
    senders: [Sender; 2],
    doors: Doors,
    watching: Watching,
}

impl Scene {
    /// Everything runs. `None` where no Kafka can.
    pub async fn set(seed: u64) -> Outcome<Option<Self>> {
        Self::set_with(seed, Options::quick(PARTITIONS), "key").await
    }

    /// The same with other options, and with keys that begin so.
    pub async fn set_with(seed: u64, options: Options, key: &str) -> Outcome<Option<Self>> {
        let Some(deployment) = Deployment::create(1, options).await? else { return Ok(None) };
        let (mut ingest, mut seal) = (deployment.ingest(1)?, deployment.seal(1)?);
        ingest.start().await?;
        seal.start().await?;
        ingest.ready(WITHIN).await?;
        seal.ready(WITHIN).await?;
        let doors = Doors::at(vec![ingest.url()]);
        let sender = |partition| {
            let keys = keys_of(key, partition, PARTITIONS, 5);
            Sender::new(partition, &Plan { seed, senders: 1, keys, pause: Duration::ZERO }, doors.clone())
        };
        let senders = [sender(DAMAGED)?, sender(OTHER)?];
        let watching = Watching::begin(&deployment.store());
        Ok(Some(Self { deployment, ingest, seal, senders, doors, watching }))
    }

    /// The broker.
    pub fn cluster(&self) -> &Cluster {
        self.deployment.cluster()
    }

    /// Sends so many events until they are acknowledged. Gives where the log of the partition ends then.
    pub async fn send(&mut self, partition: u32, count: u64) -> Outcome<u64> {
        let sender = self.senders.get_mut(partition as usize).ok_or("there is no such partition")?;
        for _ in 0..count / REQUEST_EVENTS {
            sender.send(REQUEST_EVENTS, WITHIN).await?;
        }
        self.deployment.end(partition).await
    }

    /// Sends events until they are acknowledged and the log of the partition ends beyond an offset. Gives where it ends then.
    pub async fn send_beyond(&mut self, partition: u32, offset: u64) -> Outcome<u64> {
        let sender = self.senders.get_mut(partition as usize).ok_or("there is no such partition")?;
        loop {
            sender.send(LARGE_REQUEST_EVENTS, WITHIN).await?;
            let end = self.deployment.end(partition).await?;
            if end > offset {
                return Ok(end);
            }
        }
    }

    /// Waits until all that the log holds is sealed.
    pub async fn sealed(&self) -> Outcome {
        self.deployment.wait_sealed(&[&self.seal], WITHIN).await
    }

    /// Asks the sealer to stop.
    pub async fn stop_sealer(&mut self) -> Outcome {
        self.seal.stop(STOPS_WITHIN).await
    }

    /// Starts the sealer again.
    pub async fn start_sealer(&mut self) -> Outcome {
        self.seal.start().await
    }

    /// Pauses the sealer.
    pub fn pause_sealer(&self) -> Outcome {
        self.seal.pause()
    }

    /// Lets the sealer go on.
    pub fn resume_sealer(&self) -> Outcome {
        self.seal.resume()
    }

    /// Deletes the topic and makes it again.
    pub async fn make_topic_again(&self) -> Outcome {
        self.cluster().delete_topic(TOPIC).await?;
        self.deployment.create_topic().await
    }

    /// Waits until the group of the sealers has so many members, and each of them its partitions.
    pub async fn group_has(&self, members: usize) -> Outcome {
        let patience = Patience::of(WITHIN);
        loop {
            let found = self.cluster().members(GROUP).await;
            if found.as_ref().is_ok_and(|found| *found == Some(members)) {
                return Ok(());
            }
            patience.pause(|| self.seal.describe(&format!("the group has {found:?} members, not {members}"))).await?;
        }
    }

    /// What the log of the damaged partition holds, by offset.
    pub async fn logged(&self) -> Outcome<BTreeMap<u64, Identity>> {
        let mut log = BTreeMap::new();
        for record in self.cluster().read(TOPIC, i32::try_from(DAMAGED)?).await? {
            log.insert(u64::try_from(record.offset)?, Event::read(&record.value)?.identity);
        }
        Ok(log)
    }

    /// The events that the journal of the damaged partition holds, in its order.
    pub fn journaled(&self) -> Outcome<Vec<Identity>> {
        Auditor::of(&self.deployment.store()).events(DAMAGED)
    }

    /// The journal of the damaged partition holds exactly the events of this log before an offset, in their order, each once.
    pub fn holds(&self, log: &BTreeMap<u64, Identity>, before: u64) -> Outcome {
        let mut known = BTreeSet::new();
        // A request that was sent twice lies in the log twice.
        let expected = log.range(..before).map(|(_, identity)| identity).filter(|identity| known.insert(*identity));
        let (expected, held) = (expected.collect::<Vec<_>>(), self.journaled()?);
        let same = held.iter().zip(&expected).take_while(|(held, expected)| *held == **expected).count();
        ensure(same == held.len() && same == expected.len(), || {
            let (held, expected) = (held.get(same), expected.get(same));
            format!("event {same} of the journal is {held:?}, but that of the log before offset {before} is {expected:?}")
        })
    }

    /// The damaged partition stands still and says why, with the offsets that follow from the journal's next; the other goes
    /// on. Gives the journal's next offset.
    pub async fn stands_still(&mut self, named: impl Fn(u64) -> Vec<u64>) -> Outcome<u64> {
        let patience = Patience::of(WITHIN);
        // Who loses its share and gets it again stops twice, and in between it does not say so.
        let sealed = loop {
            let status = self.stopped(DAMAGED).await?;
            match self.says_why(&status, &named(status.sealed_offset)).await {
                Ok(()) => break status.sealed_offset,
                Err(error) => patience.pause(|| error.to_string()).await?,
            }
        };
        let end = self.send(OTHER, 10).await?;
        let patience = Patience::of(WITHIN);
        while self.status(OTHER).await?.sealed_offset < end {
            patience.pause(|| self.seal.describe("the other partition does not go on")).await?;
        }
        Ok(sealed)
    }

    /// Status, readiness and metric tell of the damaged partition that is stopped, and name these offsets.
    async fn says_why(&self, status: &PartitionStatus, named: &[u64]) -> Outcome {
        let error = status.error.as_deref().unwrap_or_default();
        let (code, reason) = self.seal.get("/readyz").await?;
        println!("{reason}");
        ensure(code.as_u16() == 503, || format!("/readyz is {code}: {reason}"))?;
        ensure(error.contains("corrupt"), || format!("the status does not say `corrupt`: {error}"))?;
        ensure(reason.contains(&format!("partition {DAMAGED}")), || format!("/readyz does not name the partition: {reason}"))?;
        let metric = self.seal.metric(&format!("tributary_journal_stopped{{partition=\"{DAMAGED}\"}}")).await?;
        ensure(metric == 1, || format!("the metric of a partition that stands still is {metric}"))?;
        for offset in named {
            let is_named = [error, &reason].iter().all(|text| numbers(text).contains(offset));
            ensure(is_named, || format!("offset {offset} is not named: `{error}`, `{reason}`"))?;
        }
        Ok(())
    }

    /// The same where the log does not hold the last record that was sealed, but another one in its place.
    pub async fn stands_before_another_log(&mut self) -> Outcome<u64> {
        self.stands_still(|next| vec![next - 1]).await?;
        let status = self.status(DAMAGED).await?;
        let error = status.error.unwrap_or_default();
        let says = error.contains("is not the one that batch");
        ensure(says, || format!("the status does not say that the log is another: {error}"))?;
        Ok(status.sealed_offset)
    }

    /// A partition once it is stopped.
    pub async fn stopped(&self, partition: u32) -> Outcome<PartitionStatus> {
        self.stopped_where(partition, |_| true).await
    }

    /// The damaged partition once it is stopped at an offset and says why.
    pub async fn stopped_at(&self, offset: u64, why: &str) -> Outcome {
        let says = |error: &str| error.contains(why) && numbers(error).contains(&offset);
        let is_there = |status: &PartitionStatus| status.sealed_offset == offset && status.error.as_deref().is_some_and(says);
        self.stopped_where(DAMAGED, is_there).await.map(|_| ())
    }

    async fn stopped_where(&self, partition: u32, is_there: impl Fn(&PartitionStatus) -> bool) -> Outcome<PartitionStatus> {
        let patience = Patience::of(WITHIN);
        loop {
            let status = self.status(partition).await;
            match status {
                Ok(status) if status.stopped && is_there(&status) => return Ok(status),
                other => patience.pause(|| self.seal.describe(&format!("the partition is not stopped: {other:?}"))).await?,
            }
        }
    }

    pub async fn status(&self, partition: u32) -> Outcome<PartitionStatus> {
        let all = self.seal.partitions().await?;
        let found = all.into_iter().find(|status| status.partition == partition);
        found.ok_or_else(|| self.seal.describe("a partition has no status").into())
    }

    /// An operator's command to accept the gap of the damaged partition.
    pub async fn decide(&self, reason: &str, from: Option<u64>) -> Outcome<Ran> {
        self.decide_on(DAMAGED, reason, from).await
    }

    /// An operator's command to accept the gap of a partition.
    pub async fn decide_on(&self, partition: u32, reason: &str, from: Option<u64>) -> Outcome<Ran> {
        let (partition, from) = (partition.to_string(), from.map(|from| from.to_string()));
        let mut accept = vec!["journal", "accept-gap", "--partition", &partition, "--reason", reason, "--json"];
        accept.extend(from.iter().flat_map(|from| ["--from", from.as_str()]));
        self.deployment.run(&accept).await
    }

    /// Deletes the topic, and makes it again only after the sealer has given its partitions up.
    pub async fn make_topic_again_later(&self) -> Outcome {
        self.cluster().delete_topic(TOPIC).await?;
        let patience = Patience::of(WITHIN);
        while self.status(DAMAGED).await?.owned {
            patience.pause(|| self.seal.describe("the partition of a topic that is away is not given up")).await?;
        }
        self.deployment.create_topic().await
    }

    /// `verify` finds no difference, and everything ends in order.
    pub async fn end_verified(mut self) -> Outcome {
        self.deployment.run(&["verify", "--json"]).await?.expect_code(0)?;
        self.seal.stop(STOPS_WITHIN).await?;
        self.ingest.stop(STOPS_WITHIN).await?;
        self.deployment.end_cluster().await
    }

    /// An operator accepts the gap. The sealer, which runs on, goes on with what the log holds and with what comes.
    pub async fn accept(&mut self, reason: &str, from: Option<u64>) -> Outcome {
        let accepted = self.decide(reason, from).await?.expect_code(0)?.json()?;
        self.send(DAMAGED, 25).await?;
        self.sealed().await?;
        self.seal.ready(WITHIN).await?;
        let listed = self.deployment.run(&["journal", "gaps", "--json"]).await?.expect_code(0)?.json()?;
        let gaps = listed["gaps"].as_array().ok_or_else(|| format!("no list of gaps: {listed}"))?;
        ensure(*gaps == [accepted.clone()], || format!("accepted was {accepted}, listed is {listed}"))?;
        // What fits is no gap, and nothing is recorded a second time.
        let again = self.decide(reason, from).await?;
        ensure(again.code == Some(1), || format!("a gap was accepted where there is none: {}", again.describe()))
    }

    /// The auditor's verdict: one gap, for this reason, and exactly those events lost that the log held in this range alone.
    pub async fn end(mut self, reason: &str, log: &BTreeMap<u64, Identity>, range: impl FnOnce(&Gap) -> Range<u64>) -> Outcome {
        let mut auditor = self.watching.end().await?;
        let verdict: Verdict = auditor.audit(&self.doors.ledger.lock())?;
        println!("{}; {:?}; {} events lost", verdict.counts, verdict.gaps, verdict.lost.len());
        verdict.expect_clean()?;
        let [gap] = verdict.gaps.as_slice() else { return Err(format!("not one gap: {:?}", verdict.gaps).into()) };
        ensure((gap.partition, gap.reason.as_str()) == (DAMAGED, reason), || format!("another gap: {gap:?}"))?;
        let range = range(gap);
        let (gone, kept): (Vec<_>, Vec<_>) = log.iter().partition(|(offset, _)| range.contains(*offset));
        // A request that was sent twice may lie on both sides.
        let kept: BTreeSet<&Identity> = kept.into_iter().map(|(_, identity)| identity).collect();
        let gone = gone.into_iter().map(|(_, identity)| identity).filter(|identity| !kept.contains(identity));
        let lost: BTreeSet<Identity> = gone.cloned().collect();
        let differ = || verdict.lost.symmetric_difference(&lost).map(ToString::to_string).collect::<Vec<_>>().join("\n");
        ensure(verdict.lost == lost, || format!("lost in the journal or lost by the log, but not both:\n{}", differ()))?;
        self.seal.stop(STOPS_WITHIN).await?;
        self.ingest.stop(STOPS_WITHIN).await?;
        self.deployment.end_cluster().await
    }
}

/// The numbers in a text.
fn numbers(text: &str) -> BTreeSet<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}
