//! How far the partitions of a sealing service are.

use std::sync::Arc;

use futures::future::join_all;
use serde::Serialize;
use tokio::time::Instant;
use tributary_eventlog::EventLog;
use tributary_journal::PartitionState;
use tributary_journal::sealer::Sealer;

use super::failing::Failing;
use crate::exit::Failure;

/// The answer of `GET /v1/status` of `tributary seal`.
#[derive(Clone, Debug, Serialize)]
pub struct SealingReport {
    /// The deployment's id from the genesis record.
    pub deployment: String,
    /// One entry per partition, those of other processes included.
    pub partitions: Vec<SealingPartition>,
    /// The version of the service.
    pub version: String,
}

/// One partition. Offsets are those of the log.
#[derive(Clone, Debug, Serialize)]
pub struct SealingPartition {
    /// The partition.
    pub partition: u32,
    /// Whether this process seals it now.
    pub owned: bool,
    /// The offset that the next accepted event will get; absent while the log does not answer.
    pub next_offset: Option<u64>,
    /// Everything before it is sealed, or was dropped as a duplicate.
    pub sealed_offset: u64,
    /// Accepted and not yet sealed; absent while the log does not answer.
    pub lag: Option<u64>,
    /// The last sealed batch.
    pub sealed_seq: Option<u64>,
    /// When it was sealed.
    pub sealed_at: Option<String>,
    /// Why the partition does not get on in this process; absent while it does.
    pub error: Option<String>,
    /// Whether it stands still until an operator decides.
    pub stopped: bool,
    /// What the operator does then.
    pub cure: Option<String>,
}

/// What a report is read from.
#[derive(Clone)]
pub struct Sealing {
    /// What was accepted.
    pub log: Arc<dyn EventLog>,
    /// What is sealed.
    pub sealer: Sealer,
    /// What fails, and for how long.
    pub failing: Failing,
}

impl Sealing {
    /// Reads a report: what others sealed is asked of the store first, what was accepted of the log last.
    pub async fn report(&self) -> Result<SealingReport, Failure> {
        let journal = self.sealer.journal();
        journal.refresh_all().await.map_err(|e| match e.is_corrupt() {
            true => Failure::Difference(format!("the journal cannot be read: {e}")),
            false => Failure::failed("the journal cannot be read", e),
        })?;
        Ok(SealingReport {
            deployment: journal.genesis().deployment.to_string(),
            partitions: join_all(self.sealer.state().into_iter().map(|state| self.partition(state))).await,
            version: crate::cli::VERSION.to_owned(),
        })
    }

    async fn partition(&self, state: PartitionState) -> SealingPartition {
        let next_offset = self.log.bounds(state.partition).await.ok().map(|bounds| bounds.next.get());
        let sealed_offset = state.next_offset.get();
        let head = self.sealer.journal().head(state.partition);
        SealingPartition {
            partition: state.partition.get(),
            owned: state.owned,
            next_offset,
            sealed_offset,
            lag: next_offset.map(|next| next.saturating_sub(sealed_offset)),
            sealed_seq: state.sealed.map(|seq| seq.get()),
            sealed_at: head.map(|header| header.sealed_at.to_string()),
            error: state.error,
            stopped: state.stopped,
            cure: state.cure,
        }
    }

    /// The partitions that stand still and what to do about it, line by line; then why nothing is sealed at all, and what has failed
    /// for too long.
    pub fn standing(&self, now: Instant) -> Vec<String> {
        let stopped = self.sealer.state().into_iter().filter(|state| state.stopped).map(|state| {
            let (error, cure) = (state.error.unwrap_or_default(), state.cure.unwrap_or_default());
            format!("stands still, partition {}: not sealed: {error}; {cure}", state.partition)
        });
        let unknown = self.log.trouble().map(|error| format!("seals nothing: {error}"));
        stopped.chain(unknown).chain(self.failing.lasting(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::fake::{FakeLog, sealing};

    #[tokio::test]
    async fn a_partition_that_stands_still_says_the_command_that_lets_it_go_on_and_where_to_read() {
        let (_folder, sealing) = sealing(&FakeLog::beginning_at(3)).await;
        assert!(sealing.sealer.seal_available().await.is_err_and(|error| error.is_corrupt()));
        let standing = sealing.standing(Instant::now());
        let report = sealing.report().await.map(|report| report.partitions).unwrap_or_default();
        assert!(standing.len() == 1 && report.len() == 1 && report[0].stopped, "{standing:?} {report:?}");
        for text in [&standing[0], report[0].cure.as_ref().unwrap_or(&String::new())] {
            assert!(text.contains("`tributary journal accept-gap --partition 0 --reason"), "{text}");
            assert!(text.contains("docs/kafka.md, \"When a partition stands still\""), "{text}");
        }
        assert!(standing[0].starts_with("stands still, partition 0: not sealed: corrupt: "), "{standing:?}");
    }
}
