//! How far the partitions of a sealing service are.

use std::sync::Arc;

use futures::future::join_all;
use serde::Serialize;
use tributary_eventlog::EventLog;
use tributary_journal::PartitionState;
use tributary_journal::sealer::Sealer;

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
}

/// What a report is read from.
#[derive(Clone)]
pub struct Sealing {
    /// What was accepted.
    pub log: Arc<dyn EventLog>,
    /// What is sealed.
    pub sealer: Sealer,
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
        }
    }

    /// The partitions that stand still, line by line, and why nothing is sealed at all.
    pub fn standing(&self) -> Vec<String> {
        let stopped = self.sealer.stopped().into_iter();
        let stopped = stopped.map(|(partition, error)| format!("stands still, partition {partition}: not sealed: {error}"));
        let unknown = self.log.trouble().map(|error| format!("seals nothing: {error}"));
        stopped.chain(unknown).collect()
    }
}
