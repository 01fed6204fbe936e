//! Recreates everything that follows from the batches and the records of epochs: tables, lines, roots.

mod blobs;
mod journal;
mod named;

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;
use tributary_da::{Certificates, FromArchive};
use tributary_indexer::lake::Lake;
use tributary_indexer::{Indexer, Settings as IndexerSettings};
use tributary_journal::{Genesis, Journal};
use tributary_query::{Engine, Settings as QuerySettings};
use tributary_schemas::ids::Clock;
use tributary_schemas::tables::Table;

use crate::epoch::{Settlement, Stages, read_row};
use crate::error::SettlementError;
use crate::ledger::EpochRow;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::record::EpochRecord;
use crate::records::{EpochRecords, Written, path};
use crate::settings::Settings;

pub use blobs::{BlobSource, rebuild_from_da};
pub use journal::rebuild_from_journal;

/// What was rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RebuildReport {
    /// The deployment.
    pub deployment: String,
    /// Its partitions.
    pub partitions: u32,
    /// Blobs that were fetched, each checked against its certificate; `None` from the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<u64>,
    /// Payloads of blobs and of pages of manifests that the backend did not give and the archive of the source did; of those that were
    /// fetched now, not by an attempt before. `None` from the journal.
    #[serde(flatten)]
    pub from_archive: Option<FromArchive>,
    /// Epochs that the source has closed and that are not rebuilt, since it has no whole manifest of them; `None` where the source's
    /// records are not asked: from the journal, and from a manifest that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs_without_manifest: Option<u64>,
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
    /// Epochs of which something computed elsewhere was there to compare with, and is equal: from the journal the row in the source's
    /// tables, as far as it has readable ones; from blobs the root in the manifest. Every root but the last is compared with the
    /// next record in any case.
    pub compared: u64,
}

impl RebuildReport {
    fn begun(genesis: &Genesis) -> Self {
        Self { deployment: genesis.deployment.to_string(), partitions: genesis.partitions.get(), ..Self::default() }
    }
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

/// Puts the record of an epoch into the target.
async fn put_record(copies: &EpochRecords, record: &EpochRecord) -> Result<(), SettlementError> {
    match copies.put(record).await? {
        Written::Won => Ok(()),
        Written::Lost(_) => {
            let what = format!("the target holds another record than the source under {}", path(record.number));
            Err(SettlementError::Refused(what))
        }
    }
}

/// The stages over one store.
struct Rebuilt {
    stages: Stages,
    indexer: Arc<Indexer>,
}

impl Rebuilt {
    fn open(store: Arc<dyn ObjectStore>, journal: Arc<Journal>, clock: Arc<dyn Clock>) -> Self {
        let certificates = Arc::new(Certificates::new(Arc::clone(&store)));
        let lake = Lake::open(Arc::clone(&store));
        let (of_lake, of_journal, of_certificates) = (Arc::clone(&lake), Arc::clone(&journal), Arc::clone(&certificates));
        let engine = Engine::new(of_lake, of_journal, of_certificates, Arc::clone(&clock), QuerySettings::default());
        let (of_journal, of_lake) = (Arc::clone(&journal), Arc::clone(&lake));
        let indexer = Indexer::new(of_journal, of_lake, Arc::clone(&clock), IndexerSettings::default());
        Self { stages: Stages { store, journal, certificates, lake, engine, clock }, indexer }
    }

    /// Builds all tables over what the store holds of batches and records.
    async fn build_tables(
        &self,
        records: &[EpochRecord],
        progress: &dyn Progress,
        report: &mut RebuildReport,
    ) -> Result<(), SettlementError> {
        progress.stage("tables of events", None);
        self.indexer.index_available().await?;
        progress.stage("epochs", Some(records.len() as u64));
        // The treasury of each epoch is in its record; this one is never paid.
        if let Some(treasury) = records.last().map(|record| record.treasury) {
            Settlement::of_tables(self.stages.clone(), Settings::new(treasury)).complete_closed().await?;
        }
        for record in records {
            report.epochs.push(self.row_of(record).await?);
            progress.advance(1);
        }
        for table in Table::ALL {
            report.rows += self.stages.lake.snapshot(*table).await?.rows();
            report.tables += 1;
        }
        Ok(())
    }

    async fn row_of(&self, record: &EpochRecord) -> Result<EpochRow, SettlementError> {
        let session = self.stages.engine.session_unlimited(&record.cut).await?;
        let row = read_row(&session, record.number).await?;
        row.ok_or_else(|| SettlementError::Internal(format!("epoch {} was rebuilt without a row", record.number)))
    }
}

fn records_of(store: &Arc<dyn ObjectStore>) -> EpochRecords {
    EpochRecords::new(Arc::clone(store), Metrics::default())
}
