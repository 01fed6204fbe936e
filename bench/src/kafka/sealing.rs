//! From Kafka to the journal: how fast one sealer on one core takes what a topic holds.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::deployment::Deployment;
use super::role::Role;
use super::sender::Sent;
use super::topic::Topic;
use crate::{Outcome, counters};

/// How long the sealer may take to reach the end of the topic.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The figures of one run.
#[derive(Serialize)]
pub struct Sealing {
    /// Records taken while the clock ran, repetitions included.
    pub records: u64,
    /// From the last look at which nothing was sealed until everything was.
    pub seconds: f64,
    /// CPU seconds of the sealer meanwhile.
    pub cpu_seconds: f64,
    /// Different events, all of them sealed.
    pub distinct: u64,
}

impl Sealing {
    /// Records taken a second.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }
}

/// What the sealer counted since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    /// Events in batches.
    events: u64,
    /// Records dropped, for their event was there before.
    duplicates: u64,
}

/// The sealer at one moment.
struct Look {
    at: Instant,
    counted: Counted,
    cpu_seconds: f64,
}

/// The part of a status report that the bench reads.
#[derive(Deserialize)]
struct Status {
    partitions: Vec<PartitionStatus>,
}

#[derive(Deserialize)]
struct PartitionStatus {
    /// Absent while Kafka does not answer.
    next_offset: Option<u64>,
    sealed_offset: u64,
}

/// Seals everything in the topic with a sealer on the last core, and checks that it is what was sent.
pub async fn measure(deployment: &Deployment, sent: &Sent) -> Outcome<Sealing> {
    let records = deployment.topic.records()?;
    let last_core = std::thread::available_parallelism()?.get() - 1;
    let seal = deployment.seal_on(last_core).await?;
    let (first, last) = watch(&seal, records).await?;
    check(&seal, last.counted, records, sent).await?;
    seal.stop().await?;
    Ok(Sealing {
        records: last.counted.records() - first.counted.records(),
        seconds: (last.at - first.at).as_secs_f64(),
        cpu_seconds: last.cpu_seconds - first.cpu_seconds,
        distinct: last.counted.events,
    })
}

/// Waits until the sealer, which has the topic to itself since it was created, is through, and checks that what is sealed is
/// what was sent.
pub async fn finish(seal: &Role, topic: &Topic, sent: &Sent) -> Outcome<()> {
    let records = topic.records()?;
    let (_, last) = watch(seal, records).await?;
    check(seal, last.counted, records, sent).await
}

/// Looks until so many records are taken. Gives the last look at which none was (the first of all if there is no such), and the
/// last.
async fn watch(seal: &Role, records: u64) -> Outcome<(Look, Look)> {
    let started = Instant::now();
    let mut first = Look::at(seal).await?;
    while started.elapsed() < CATCH_UP_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let look = Look::at(seal).await?;
        if look.counted.records() >= records {
            return Ok((first, look));
        }
        if look.counted.records() == 0 {
            first = look;
        }
    }
    Err(format!("not everything is sealed after {CATCH_UP_MAX:?}: {}", seal.get("/v1/status").await?).into())
}

/// Each event must be sealed once, and each record be sealed or a repetition.
async fn check(seal: &Role, counted: Counted, records: u64, sent: &Sent) -> Outcome<()> {
    if counted.events != sent.distinct || counted.records() != records {
        let distinct = sent.distinct;
        return Err(format!("{counted:?} of {records} records, where {distinct} different events were sent").into());
    }
    let text = seal.get("/v1/status").await?;
    let status: Status = serde_json::from_str(&text)?;
    let is_through = |partition: &PartitionStatus| partition.next_offset == Some(partition.sealed_offset);
    let sealed: u64 = status.partitions.iter().map(|partition| partition.sealed_offset).sum();
    if sealed != records || !status.partitions.iter().all(is_through) {
        return Err(format!("the status does not show {records} records sealed: {text}").into());
    }
    Ok(())
}

impl Look {
    async fn at(seal: &Role) -> Outcome<Self> {
        let counted = Counted::of(&seal.get("/metrics").await?);
        Ok(Self { at: Instant::now(), counted, cpu_seconds: seal.cpu_seconds()? })
    }
}

impl Counted {
    fn of(metrics: &str) -> Self {
        Self {
            events: counters::sum(metrics, "tributary_journal_events_total"),
            duplicates: counters::sum(metrics, "tributary_journal_duplicates_total"),
        }
    }

    fn records(self) -> u64 {
        self.events + self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_a_record_too() {
        let metrics =
            "tributary_journal_events_total{partition=\"0\"} 21\ntributary_journal_duplicates_total{partition=\"1\"} 2\n";
        let counted = Counted::of(metrics);
        assert_eq!((counted, counted.records()), (Counted { events: 21, duplicates: 2 }, 23));
    }
}
