//! How far the record is, per partition: what was accepted, sealed, made available, indexed and settled.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use serde::{Deserialize, Serialize};
use tributary_da::Certificates;
use tributary_eventlog::EventLog;
use tributary_indexer::Indexer;
use tributary_journal::Journal;
use tributary_query::{Engine, QueryError};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};

use crate::exit::Failure;

/// The answer of `GET /v1/status` and of `tributary status --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// The deployment's id from the genesis record.
    pub deployment: String,
    /// The head of what is indexed, as a cut.
    pub cut: String,
    /// What is certified on data availability, as a cut.
    pub available_cut: String,
    /// One entry per partition.
    pub partitions: Vec<PartitionStatus>,
    /// The latest closed epoch with its tables written.
    pub latest_epoch: Option<LatestEpoch>,
    /// The version of the server.
    pub version: String,
}

/// One partition. Offsets are those of the log: everything before them is that far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: u32,
    /// The offset that the next accepted event will get.
    pub next_offset: u64,
    /// Everything before it is sealed, or was dropped as a duplicate.
    pub sealed_offset: u64,
    /// Everything before it has a certificate.
    pub available_offset: u64,
    /// Everything before it is in the tables.
    pub indexed_offset: u64,
    /// Accepted and not yet sealed.
    pub lag: u64,
    /// The last sealed batch.
    pub sealed_seq: Option<u64>,
    /// The last batch of the certified prefix.
    pub available_seq: Option<u64>,
    /// The last batch in the tables.
    pub indexed_seq: Option<u64>,
    /// The last batch that a closed epoch covers.
    pub settled_seq: Option<u64>,
    /// When the last batch was sealed.
    pub sealed_at: Option<String>,
    /// Why the partition stands still, if it does.
    pub error: Option<String>,
}

/// The latest epoch, in brief.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LatestEpoch {
    /// Its number.
    pub epoch: u64,
    /// Its cut.
    pub cut: String,
    /// Its root.
    pub root: String,
    /// How many inferences it settled.
    pub inferences: u64,
    /// Their fees in wei.
    pub fees: String,
}

/// How far an event can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// In a sealed batch.
    Sealed,
    /// Its blob has a recorded certificate.
    Available,
    /// In the tables.
    Indexed,
}

impl PartitionStatus {
    /// Everything before this offset is at the stage.
    pub fn reached(&self, stage: Stage) -> u64 {
        match stage {
            Stage::Sealed => self.sealed_offset,
            Stage::Available => self.available_offset,
            Stage::Indexed => self.indexed_offset,
        }
    }
}

/// What a report is read from.
#[derive(Clone)]
pub struct Sources {
    /// What was accepted.
    pub log: Arc<dyn EventLog>,
    /// What is sealed.
    pub journal: Arc<Journal>,
    /// What is available.
    pub certificates: Arc<Certificates>,
    /// What is indexed.
    pub indexer: Arc<Indexer>,
    /// What is settled.
    pub engine: Arc<Engine>,
    /// Why a partition stands still.
    pub sealer: tributary_journal::sealer::Sealer,
}

impl Sources {
    /// Reads a report. What was accepted is read first, so that no stage is shown ahead of it.
    pub async fn report(&self) -> Result<StatusReport, Failure> {
        let failed = |what: &'static str| move |e: &dyn std::fmt::Display| Failure::failed(what, e);
        let certified = self.certificates.certified().await.map_err(|e| failed("the certificates cannot be read")(&e))?;
        let indexed = self.indexer.indexed().await.map_err(|e| failed("the tables cannot be read")(&e))?;
        let latest_epoch = self.latest_epoch().await?;
        let settled: Cut = latest_epoch.as_ref().and_then(|e| e.cut.parse().ok()).unwrap_or_default();
        let mut partitions = Vec::new();
        for partition in self.journal.genesis().partitions.partitions() {
            partitions.push(self.partition(partition, &certified, &indexed, &settled).await?);
        }
        Ok(StatusReport {
            deployment: self.journal.genesis().deployment.to_string(),
            cut: indexed.to_string(),
            available_cut: certified.to_string(),
            partitions,
            latest_epoch,
            version: crate::cli::VERSION.to_owned(),
        })
    }

    async fn partition(
        &self,
        partition: Partition,
        certified: &Cut,
        indexed: &Cut,
        settled: &Cut,
    ) -> Result<PartitionStatus, Failure> {
        let head = self.journal.head(partition);
        let bounds = self.log.bounds(partition).await.map_err(|e| Failure::failed("the log cannot be read", e))?;
        let sealed_offset = head.as_ref().map_or(0, |h| h.next_offset.get());
        Ok(PartitionStatus {
            partition: partition.get(),
            next_offset: bounds.next.get(),
            sealed_offset,
            available_offset: self.offset_after(partition, certified.get(partition)).await?,
            indexed_offset: self.offset_after(partition, indexed.get(partition)).await?,
            lag: bounds.next.get().saturating_sub(sealed_offset),
            sealed_seq: head.as_ref().map(|h| h.seq.get()),
            available_seq: certified.get(partition).map(Seq::get),
            indexed_seq: indexed.get(partition).map(Seq::get),
            settled_seq: settled.get(partition).map(Seq::get),
            sealed_at: head.map(|h| h.sealed_at.to_string()),
            error: self.error(partition),
        })
    }

    async fn offset_after(&self, partition: Partition, seq: Option<Seq>) -> Result<u64, Failure> {
        let Some(seq) = seq else { return Ok(0) };
        let header = self.journal.header(partition, seq).await.map_err(|e| Failure::failed("the journal cannot be read", e))?;
        Ok(header.next_offset.get())
    }

    /// Why the partition stands still until an operator mends the record; trouble that passes is not shown.
    pub fn error(&self, partition: Partition) -> Option<String> {
        let sealing = self.sealer.state().into_iter().find(|s| s.partition == partition);
        sealing.filter(|s| s.stopped).and_then(|s| s.error)
    }

    async fn latest_epoch(&self) -> Result<Option<LatestEpoch>, Failure> {
        let failed = |e: QueryError| Failure::failed("the epochs cannot be read", e);
        // A session sees the epochs whose cut lies within its own.
        let head = self.engine.head().await.map_err(failed)?;
        let session = self.engine.session_unlimited(&head).await.map_err(failed)?;
        let query = "SELECT epoch, cut, root, inferences, fees FROM epochs ORDER BY epoch DESC LIMIT 1";
        let batches = session.collect(query).await.map_err(failed)?;
        Ok(batches.iter().find(|b| b.num_rows() > 0).map(|row| LatestEpoch {
            epoch: row.column(0).as_primitive::<Int64Type>().value(0).unsigned_abs(),
            cut: row.column(1).as_string::<i32>().value(0).to_owned(),
            root: row.column(2).as_string::<i32>().value(0).to_owned(),
            inferences: row.column(3).as_primitive::<Int64Type>().value(0).unsigned_abs(),
            fees: row.column(4).as_primitive::<Decimal128Type>().value(0).to_string(),
        }))
    }
}
