//! Recreates everything that follows from the journal and the records of epochs: tables, lines, roots.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;
use tributary_da::Certificates;
use tributary_indexer::lake::Lake;
use tributary_indexer::{Indexer, Settings as IndexerSettings};
use tributary_journal::{Journal, Settings as JournalSettings};
use tributary_query::{Engine, Settings as QuerySettings};
use tributary_schemas::ids::{Clock, Seq};
use tributary_schemas::tables::Table;

use crate::epoch::{Settlement, read_row};
use crate::error::SettlementError;
use crate::ledger::EpochRow;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::record::EpochRecord;
use crate::records::{EpochRecords, Written, path};
use crate::settings::Settings;

/// What was rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RebuildReport {
    /// The deployment.
    pub deployment: String,
    /// Its partitions.
    pub partitions: u32,
    /// Sealed batches, each with its hashes, link and root recomputed on the way.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Tables written.
    pub tables: u64,
    /// Rows in them.
    pub rows: u64,
    /// Every epoch, its tables recomputed.
    pub epochs: Vec<EpochRow>,
    /// Epochs whose row was compared with the one in the source's tables and is equal; a source without readable tables
    /// has none. Every root but the last is compared with the next record in any case.
    pub compared: u64,
}

/// From the journal and the records of `source` into `target`, which is empty or holds an unfinished rebuild of the same
/// deployment. `source` is only read. Genesis, batches and records are the same objects, byte for byte; the tables are
/// equal as multisets. Data availability is not carried over: the target's batches are in no blob yet.
///
/// # Errors
/// `Refused`: the target holds another deployment, or there is no journal to rebuild from. `Difference`: the source is
/// damaged, or a recomputed root is not the recorded one. `Retry`: a store did not answer; begin again with the same target.
pub async fn rebuild_from_journal(
    source: Arc<dyn ObjectStore>,
    target: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<RebuildReport, SettlementError> {
    let from = Journal::open(Arc::clone(&source), None, Arc::clone(&clock)).await?;
    let records = EpochRecords::new(Arc::clone(&source), Metrics::default()).load().await?;
    check_target(&target).await?;
    let into = Journal::adopt(Arc::clone(&target), from.genesis().clone(), JournalSettings::default()).await?;
    let mut report = RebuildReport {
        deployment: from.genesis().deployment.to_string(),
        partitions: from.genesis().partitions.get(),
        ..RebuildReport::default()
    };
    copy_batches(&from, &into, progress, &mut report).await?;
    copy_records(&records, &target).await?;

    let stage = Stage::open(Arc::clone(&target), into, Arc::clone(&clock));
    progress.stage("tables of events", None);
    stage.indexer.index_available().await?;
    progress.stage("epochs", Some(records.len() as u64));
    // The treasury of each epoch is in its record; this one is never paid.
    if let Some(treasury) = records.last().map(|record| record.treasury) {
        let lake = Arc::clone(&stage.lake);
        let (journal, certificates, engine) =
            (Arc::clone(&stage.journal), Arc::clone(&stage.certificates), Arc::clone(&stage.engine));
        let settings = Settings::new(treasury);
        Settlement::new(target, journal, certificates, lake, engine, Arc::clone(&clock), settings).complete_closed().await?;
    }
    for record in &records {
        report.epochs.push(stage.row_of(record).await?);
        progress.advance(1);
    }
    report.compared = compare_with(Stage::open(source, from, clock), &records, &report.epochs).await?;
    for table in Table::ALL {
        report.rows += stage.lake.snapshot(*table).await?.rows();
        report.tables += 1;
    }
    Ok(report)
}

/// Where everything that follows from a journal lies, and the journal itself.
const OURS: [&str; 4] = ["journal", "da", "lake", "settlement"];

/// A target without a genesis record must hold nothing of a record: it would be taken for rebuilt. With one, it is an
/// unfinished rebuild, or another deployment, which the journal refuses. Other files do not matter.
async fn check_target(target: &Arc<dyn ObjectStore>) -> Result<(), SettlementError> {
    let retry = |e: object_store::Error| SettlementError::retry("looking into the target", e);
    match target.head(&tributary_journal::store::genesis_path()).await {
        Ok(_) => return Ok(()),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(retry(error)),
    }
    for folder in OURS {
        if let Some(object) = target.list(Some(&Path::from(folder))).try_next().await.map_err(retry)? {
            return Err(SettlementError::Refused(format!("the target is not empty, it holds {}", object.location)));
        }
    }
    Ok(())
}

/// The stages over one store.
struct Stage {
    journal: Arc<Journal>,
    certificates: Arc<Certificates>,
    lake: Arc<Lake>,
    engine: Arc<Engine>,
    indexer: Arc<Indexer>,
}

impl Stage {
    fn open(store: Arc<dyn ObjectStore>, journal: Arc<Journal>, clock: Arc<dyn Clock>) -> Self {
        let certificates = Arc::new(Certificates::new(Arc::clone(&store)));
        let lake = Lake::open(store);
        let (lake_of, journal_of) = (Arc::clone(&lake), Arc::clone(&journal));
        let engine = Engine::new(
            Arc::clone(&lake),
            Arc::clone(&journal),
            Arc::clone(&certificates),
            Arc::clone(&clock),
            QuerySettings::default(),
        );
        let indexer = Indexer::new(journal_of, lake_of, clock, IndexerSettings::default());
        Self { journal, certificates, lake, engine, indexer }
    }

    async fn row_of(&self, record: &EpochRecord) -> Result<EpochRow, SettlementError> {
        let session = self.engine.session_unlimited(&record.cut).await?;
        let row = read_row(&session, record.number).await?;
        row.ok_or_else(|| SettlementError::Internal(format!("epoch {} was rebuilt without a row", record.number)))
    }
}

async fn copy_batches(
    from: &Journal,
    into: &Journal,
    progress: &dyn Progress,
    report: &mut RebuildReport,
) -> Result<(), SettlementError> {
    let heads = from.heads();
    progress.stage("batches", Some(heads.iter().map(|(_, last)| last.get() + 1).sum()));
    for (partition, last) in heads.iter() {
        for seq in (0..=last.get()).filter_map(Seq::new) {
            let batch = from.read(partition, seq).await?;
            report.batches += 1;
            report.events += u64::from(batch.header.events);
            let (batch, root) = tokio::task::spawn_blocking(move || {
                let root = batch.verify_root();
                (batch, root)
            })
            .await
            .map_err(|_| SettlementError::Closed)?;
            root.map_err(|damage| {
                let name = tributary_journal::store::batch_path(partition, seq).to_string();
                SettlementError::difference(name, damage.to_string())
            })?;
            into.append(&batch).await?;
            progress.advance(1);
        }
    }
    Ok(())
}

async fn copy_records(records: &[EpochRecord], target: &Arc<dyn ObjectStore>) -> Result<(), SettlementError> {
    let copies = EpochRecords::new(Arc::clone(target), Metrics::default());
    for record in records {
        if let Written::Lost(_) = copies.put(record).await? {
            let what = format!("the target holds another record than the source under {}", path(record.number));
            return Err(SettlementError::Refused(what));
        }
    }
    Ok(())
}

/// Compares with the rows of the source, as far as it has readable ones: a lost lake is a reason to rebuild, not against it.
async fn compare_with(source: Stage, records: &[EpochRecord], rebuilt: &[EpochRow]) -> Result<u64, SettlementError> {
    let mut compared = 0;
    for (record, rebuilt) in records.iter().zip(rebuilt) {
        let stored = match source.row_of(record).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(epoch = record.number.get(), %error, "the source has no readable row to compare with");
                continue;
            }
        };
        if let Some((column, rebuilt, stored)) = rebuilt.difference(&stored) {
            let what = format!("{column} is {stored} in the source, rebuilt it is {rebuilt}");
            return Err(SettlementError::difference(format!("table epochs, epoch {}", record.number), what));
        }
        compared += 1;
    }
    Ok(compared)
}
