//! How far the partitions of a publishing service are.

use std::convert::Infallible;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tributary_da::{Certificates, DaError, LaneState, Publisher};
use tributary_eventlog::Jitter;
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};

use super::failing::{Failing, LOOK_EVERY, Part};
use super::{PartitionStatus, Stage, StatusReport};
use crate::exit::Failure;

/// The answer of `GET /v1/status` of `tributary da`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishingReport {
    /// The deployment's id from the genesis record.
    pub deployment: String,
    /// The backend that publishes.
    pub backend: String,
    /// Whether it was told to publish nothing.
    pub paused: bool,
    /// What is certified, by whichever publisher, as a cut.
    pub available_cut: String,
    /// One entry per partition.
    pub partitions: Vec<PublishingPartition>,
    /// The version of the service.
    pub version: String,
}

/// One partition. Offsets are those of the log: everything before them is that far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishingPartition {
    /// The partition.
    pub partition: u32,
    /// The last sealed batch.
    pub sealed_seq: Option<u64>,
    /// The last batch of the certified prefix.
    pub available_seq: Option<u64>,
    /// Sealed batches without a certificate.
    pub lag: u64,
    /// When the first of them was sealed.
    pub waits_since: Option<String>,
    /// Everything before it is sealed, or was dropped as a duplicate.
    pub sealed_offset: u64,
    /// Everything before it has a certificate.
    pub available_offset: u64,
    /// Why the partition does not get on in this process; absent while it does.
    pub error: Option<String>,
    /// Whether it stands still until an operator looks.
    pub stopped: bool,
    /// Until when the answer to another publisher is awaited, which is at a blob of the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
}

/// What a report is read from.
#[derive(Clone)]
pub struct Publishing {
    /// What is sealed.
    pub journal: Arc<Journal>,
    /// What is certified.
    pub certificates: Arc<Certificates>,
    /// Who publishes here.
    pub publisher: Arc<Publisher>,
    /// The name of the backend.
    pub backend: &'static str,
    /// What fails, and for how long.
    pub failing: Failing,
}

impl Publishing {
    /// Reads a report: what is certified first, for nothing is that is not sealed before.
    pub async fn report(&self) -> Result<PublishingReport, Failure> {
        let certified = self.certificates.certified().await.map_err(unreadable)?;
        self.journal.refresh_all().await.map_err(|error| unreadable(error.into()))?;
        let mut partitions = Vec::new();
        for state in self.publisher.state() {
            partitions.push(self.partition(state, &certified).await.map_err(unreadable)?);
        }
        Ok(PublishingReport {
            deployment: self.journal.genesis().deployment.to_string(),
            backend: self.backend.to_owned(),
            paused: self.publisher.paused(),
            available_cut: certified.to_string(),
            partitions,
            version: crate::cli::VERSION.to_owned(),
        })
    }

    async fn partition(&self, state: LaneState, certified: &Cut) -> Result<PublishingPartition, DaError> {
        let (partition, head) = (state.partition, self.journal.head(state.partition));
        let (sealed, available) = (head.as_ref().map(|header| header.seq), certified.get(partition));
        let next = available.map_or(Seq::FIRST, Seq::next);
        let lag = sealed.map_or(0, |seq| (seq.get() + 1).saturating_sub(next.get()));
        let waits_since = match lag {
            0 => None,
            _ => Some(self.journal.header(partition, next).await?.sealed_at.to_string()),
        };
        Ok(PublishingPartition {
            partition: partition.get(),
            sealed_seq: sealed.map(Seq::get),
            available_seq: available.map(Seq::get),
            lag,
            waits_since,
            sealed_offset: head.map_or(0, |header| header.next_offset.get()),
            available_offset: self.offset_after(partition, available).await?,
            error: state.last_error,
            stopped: state.stopped,
            awaits: state.awaits.map(|until| until.to_string()),
        })
    }

    async fn offset_after(&self, partition: Partition, seq: Option<Seq>) -> Result<u64, DaError> {
        match seq {
            Some(seq) => Ok(self.journal.header(partition, seq).await?.next_offset.get()),
            None => Ok(0),
        }
    }

    /// The partitions that stand still, line by line; then what has failed for too long.
    pub fn standing(&self, now: Instant) -> Vec<String> {
        let stopped = self.publisher.state().into_iter().filter(|state| state.stopped);
        let stopped = stopped.map(|state| {
            format!("stands still, partition {}: not available: {}", state.partition, state.last_error.unwrap_or_default())
        });
        stopped.chain(self.failing.lasting(now)).collect()
    }

    /// Looks again and again for what fails, for as long as it is polled.
    pub async fn watch(&self, jitter: &Jitter) -> Infallible {
        loop {
            self.look(Instant::now());
            tokio::time::sleep(jitter.pause(LOOK_EVERY)).await;
        }
    }

    fn look(&self, now: Instant) {
        let failing = self.publisher.state().into_iter().filter(|state| !state.stopped);
        self.failing.note(now, failing.filter_map(|state| Some((Part::Partition(state.partition), state.last_error?))).collect());
    }
}

impl PublishingReport {
    /// What it says in the words of a whole report, for those who wait: of what others accept and index it knows nothing.
    pub fn as_status(&self) -> StatusReport {
        let partition = |of: &PublishingPartition| PartitionStatus {
            partition: of.partition,
            next_offset: of.sealed_offset,
            sealed_offset: of.sealed_offset,
            available_offset: of.available_offset,
            indexed_offset: 0,
            lag: 0,
            sealed_seq: of.sealed_seq,
            available_seq: of.available_seq,
            indexed_seq: None,
            settled_seq: None,
            sealed_at: None,
            error: of.error.clone(),
            stopped: if of.stopped { vec![Stage::Available] } else { Vec::new() },
        };
        StatusReport {
            deployment: self.deployment.clone(),
            cut: String::new(),
            available_cut: self.available_cut.clone(),
            partitions: self.partitions.iter().map(partition).collect(),
            latest_epoch: None,
            version: self.version.clone(),
        }
    }

    /// For people.
    pub fn render(&self) -> String {
        let state = if self.paused { ", paused" } else { "" };
        let mut text = format!("deployment {}  version {}\n", self.deployment, self.version);
        text +=
            &format!("publishes on {}{state}\npartition   sealed batch  available batch      lag  waits since\n", self.backend);
        let number = |seq: Option<u64>| seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
        for of in &self.partitions {
            text += &format!(
                "{:>9} {:>14} {:>16} {:>8}  {}\n",
                of.partition,
                number(of.sealed_seq),
                number(of.available_seq),
                of.lag,
                of.waits_since.as_deref().unwrap_or("-")
            );
            if let Some(error) = &of.error {
                text += &format!("          {}: {error}\n", if of.stopped { "stands still" } else { "is tried again" });
            }
        }
        text
    }
}

fn unreadable(error: DaError) -> Failure {
    match &error {
        DaError::Journal(journal) if journal.is_corrupt() => Failure::Difference(format!("the journal cannot be read: {error}")),
        damage if damage.is_damage() => Failure::Difference(format!("what is published cannot be read: {error}")),
        _ => Failure::failed("what is published cannot be read", error),
    }
}
