//! How far the record is, per partition: what was accepted, sealed, made available, indexed and settled.

pub mod failing;
#[cfg(test)]
mod fake;
pub mod publishing;
pub mod sealing;

use std::fmt;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use serde::{Deserialize, Serialize};
use tributary_da::{Certificates, Publisher};
use tributary_eventlog::EventLog;
use tributary_indexer::Indexer;
use tributary_journal::Journal;
use tributary_journal::sealer::Sealer;
use tributary_query::error::Kind;
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
    /// Why the partition does not get on at present, stage by stage; `None` while it does.
    pub error: Option<String>,
    /// The stages that are not reached any more until an operator mends the record. The others are tried again without help.
    #[serde(default)]
    pub stopped: Vec<Stage>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// In a sealed batch.
    Sealed,
    /// Its blob has a recorded certificate.
    Available,
    /// In the tables.
    Indexed,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed => "sealed",
            Self::Available => "available",
            Self::Indexed => "indexed",
        })
    }
}

/// Why a stage is not reached.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The partition; `None` for all of them.
    pub partition: Option<Partition>,
    /// What is not reached.
    pub stage: Stage,
    /// What happened, on what.
    pub error: String,
    /// Whether it stays until an operator mends the record; otherwise it is tried again.
    pub stopped: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "partition {partition}: not {}: {}", self.stage, self.error),
            None => write!(f, "not {}: {}", self.stage, self.error),
        }
    }
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
    /// Why something is not sealed.
    pub sealer: Sealer,
    /// Why something is not available.
    pub publisher: Arc<Publisher>,
}

/// What the partitions of one report have in common.
struct Reached {
    settled: Cut,
    certified: Cut,
    indexed: Cut,
    troubles: Vec<Trouble>,
}

impl Sources {
    /// Reads a report, against the flow: what is settled first, what was accepted last. So no stage is shown ahead of one
    /// before it, and everything that was accepted before the call lies before `next_offset`.
    pub async fn report(&self) -> Result<StatusReport, Failure> {
        let latest_epoch = self.latest_epoch().await?;
        let settled = latest_epoch.as_ref().and_then(|e| e.cut.parse().ok()).unwrap_or_default();
        let indexed = self.indexer.indexed().await.map_err(|e| match e.kind() {
            tributary_indexer::Kind::Corrupt => Failure::Difference(format!("the tables cannot be read: {e}")),
            _ => Failure::failed("the tables cannot be read", e),
        })?;
        let certified = self.certificates.certified().await.map_err(|e| match e.is_damage() {
            true => Failure::Difference(format!("the certificates cannot be read: {e}")),
            false => Failure::failed("the certificates cannot be read", e),
        })?;
        let reached = Reached { settled, certified, indexed, troubles: self.troubles() };
        let mut partitions = Vec::new();
        for partition in self.journal.genesis().partitions.partitions() {
            partitions.push(self.partition(partition, &reached).await?);
        }
        Ok(StatusReport {
            deployment: self.journal.genesis().deployment.to_string(),
            cut: reached.indexed.to_string(),
            available_cut: reached.certified.to_string(),
            partitions,
            latest_epoch,
            version: crate::cli::VERSION.to_owned(),
        })
    }

    async fn partition(&self, partition: Partition, reached: &Reached) -> Result<PartitionStatus, Failure> {
        let (certified, indexed) = (reached.certified.get(partition), reached.indexed.get(partition));
        let head = self.journal.head(partition);
        let bounds = self.log.bounds(partition).await.map_err(|e| Failure::failed("the log cannot be read", e))?;
        let sealed_offset = head.as_ref().map_or(0, |h| h.next_offset.get());
        let own = |trouble: &&Trouble| trouble.partition.is_none_or(|of| of == partition);
        let troubles: Vec<&Trouble> = reached.troubles.iter().filter(own).collect();
        let errors: Vec<String> = troubles.iter().map(|t| format!("not {}: {}", t.stage, t.error)).collect();
        Ok(PartitionStatus {
            partition: partition.get(),
            next_offset: bounds.next.get(),
            sealed_offset,
            available_offset: self.offset_after(partition, certified).await?,
            indexed_offset: self.offset_after(partition, indexed).await?,
            lag: bounds.next.get().saturating_sub(sealed_offset),
            sealed_seq: head.as_ref().map(|h| h.seq.get()),
            available_seq: certified.map(Seq::get),
            indexed_seq: indexed.map(Seq::get),
            settled_seq: reached.settled.get(partition).map(Seq::get),
            sealed_at: head.map(|h| h.sealed_at.to_string()),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
            stopped: troubles.iter().filter(|t| t.stopped).map(|t| t.stage).collect(),
        })
    }

    /// What keeps any stage from getting on, in the order of the flow. Nothing is asked of store or log.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for state in self.sealer.state() {
            let trouble =
                |error| Trouble { partition: Some(state.partition), stage: Stage::Sealed, error, stopped: state.stopped };
            let with_cure = |error: String| match &state.cure {
                Some(cure) => format!("{error}; {cure}"),
                None => error,
            };
            troubles.extend(state.error.map(with_cure).map(trouble));
        }
        if self.publisher.paused() {
            let error = "publishing is paused (`da.paused`)".to_owned();
            troubles.push(Trouble { partition: None, stage: Stage::Available, error, stopped: false });
        }
        for state in self.publisher.state() {
            let trouble =
                |error| Trouble { partition: Some(state.partition), stage: Stage::Available, error, stopped: state.stopped };
            troubles.extend(state.last_error.map(trouble));
        }
        let of_indexer = |t: tributary_indexer::Trouble| Trouble {
            partition: t.partition,
            stage: Stage::Indexed,
            error: t.error,
            stopped: t.stopped,
        };
        troubles.extend(self.indexer.troubles().into_iter().map(of_indexer));
        troubles
    }

    async fn offset_after(&self, partition: Partition, seq: Option<Seq>) -> Result<u64, Failure> {
        let Some(seq) = seq else { return Ok(0) };
        let header = self.journal.header(partition, seq).await.map_err(|e| Failure::failed("the journal cannot be read", e))?;
        Ok(header.next_offset.get())
    }

    async fn latest_epoch(&self) -> Result<Option<LatestEpoch>, Failure> {
        let failed = |e: QueryError| match e.kind() {
            Kind::Corrupt => Failure::Difference(format!("the epochs cannot be read: {e}")),
            _ => Failure::failed("the epochs cannot be read", e),
        };
        // A session sees the epochs whose cut lies within its own.
        let head = self.engine.indexed().await.map_err(failed)?;
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
