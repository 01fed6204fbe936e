//! The lake: Delta tables on an object store, shared by the indexer, settlement and queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Mutex;
use tributary_schemas::ids::{Clock, SystemClock};
use tributary_schemas::tables::Table;

use crate::commit::{Cell, Change, Expect, Outcome, TxnStep};
use crate::data_file::{self, DataFile};
use crate::digests;
use crate::error::{Error, Result};
use crate::log::TableLog;
use crate::metrics::Metrics;
use crate::settings::LakeSettings;

pub use crate::compactor::Compacted;
pub use crate::digests::Difference;
pub use crate::state::{LakeFile, Snapshot};
pub use crate::stats::RowRange;

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The rows and the transactions are in this version of the table.
    Committed {
        /// The version.
        version: i64,
    },
    /// A transaction named is already as far or further: nothing was written.
    AlreadyThere,
}

/// The Delta tables below `lake/` of a store. Tables come to be at their first append.
///
/// A commit is one put-if-absent under the next version; rows and transactions are in the same commit. Any number of
/// processes may append to and read the same tables.
pub struct Lake {
    store: Arc<dyn ObjectStore>,
    pub(crate) settings: LakeSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    tables: BTreeMap<Table, Cell>,
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("store", &self.store).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Lake {
    /// The lake of a store, with default settings, the machine's clock and metrics that nobody collects. Nothing is read
    /// before a table is used.
    pub fn open(store: Arc<dyn ObjectStore>) -> Arc<Self> {
        Self::open_with(store, LakeSettings::default(), Arc::new(SystemClock), Metrics::default())
    }

    /// The lake of a store.
    pub fn open_with(store: Arc<dyn ObjectStore>, settings: LakeSettings, clock: Arc<dyn Clock>, metrics: Metrics) -> Arc<Self> {
        let cell = |table| Cell { log: TableLog::new(Arc::clone(&store), table), cached: Mutex::default() };
        let tables = Table::ALL.iter().map(|table| (*table, cell(*table))).collect();
        Arc::new(Self { store, settings, clock, metrics, tables })
    }

    /// What is counted; clones count together.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store that the paths of files are relative to.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The table as it is now: every commit that was acknowledged before this call is in it, from whatever process.
    ///
    /// Errors: the store does not answer (retry), or the log is damaged.
    pub async fn snapshot(&self, table: Table) -> Result<Arc<Snapshot>> {
        let cell = self.cell(table);
        let mut cached = cell.cached.lock().await;
        self.refresh(cell, &mut cached).await?;
        Ok(cached.snapshot())
    }

    /// Appends rows and transactions `(application id, version)` in one commit, the rows in one Parquet file. If any of the
    /// transactions is already at its version or further, nothing is written. Without rows, only the transactions are.
    ///
    /// Errors: rows that do not have the table's columns (reject); the store does not answer or too many other writers were
    /// first (retry: the transactions keep a second attempt from doubling rows).
    pub async fn append(&self, table: Table, batches: Vec<RecordBatch>, txns: &[(String, i64)]) -> Result<Appended> {
        let txns: Vec<TxnStep> =
            txns.iter().map(|(app, to)| TxnStep { app: app.clone(), to: *to, expect: Expect::Below }).collect();
        if !self.snapshot_allows(table, &txns).await? {
            return Ok(Appended::AlreadyThere);
        }
        let settings = self.settings.clone();
        let file = tokio::task::spawn_blocking(move || data_file::encode(table, &batches, &settings))
            .await
            .map_err(|_| Error::Closed)??;
        let files: Vec<DataFile> = file.into_iter().collect();
        self.append_files(table, files, txns).await
    }

    /// Uploads finished files and commits them with their transactions.
    pub(crate) async fn append_files(&self, table: Table, files: Vec<DataFile>, txns: Vec<TxnStep>) -> Result<Appended> {
        self.upload(table, &files).await?;
        self.append_uploaded(table, &files, txns).await
    }

    /// Writes data files. They are not part of the table before a commit names them.
    pub(crate) async fn upload(&self, table: Table, files: &[DataFile]) -> Result<()> {
        let log = &self.cell(table).log;
        let puts = files.iter().map(|file| async { log.put(&log.data_path(&file.name), file.bytes.clone()).await });
        futures::future::try_join_all(puts).await?;
        Ok(())
    }

    /// Commits files that were uploaded, with their transactions. If the transactions forbid it, the files are taken back.
    pub(crate) async fn append_uploaded(&self, table: Table, files: &[DataFile], txns: Vec<TxnStep>) -> Result<Appended> {
        let (rows, bytes) = (files.iter().map(|f| f.rows).sum(), files.iter().map(|f| f.bytes.len() as u64).sum());
        match self.commit(table, &Change::append(files, txns)).await? {
            Outcome::Committed { version } => {
                let label = crate::metrics::label(table);
                self.metrics.rows.get_or_create(&label).inc_by(rows);
                self.metrics.bytes.get_or_create(&label).inc_by(bytes);
                Ok(Appended::Committed { version })
            }
            Outcome::Overtaken => {
                self.take_back(table, files).await;
                Ok(Appended::AlreadyThere)
            }
        }
    }

    /// Deletes files that no commit names. What cannot be deleted now is swept later.
    pub(crate) async fn take_back(&self, table: Table, files: &[DataFile]) {
        let log = &self.cell(table).log;
        for file in files {
            if let Err(error) = self.store.delete(&log.data_path(&file.name)).await {
                tracing::debug!(table = table.name(), file = file.name, %error, "an unused data file stays until it is swept");
            }
        }
    }

    /// Compares every object of the table with the keccak-256 recorded of it, and the log with the files it names. Any
    /// flipped byte is found, and the object named.
    ///
    /// Errors: the store does not answer. A damaged log is not an error but a difference.
    pub async fn check_digests(&self, table: Table) -> Result<Vec<Difference>> {
        self.check_digests_of(table, &|_| true).await
    }

    /// [`Self::check_digests`] of the table's log, and of those data files alone that are wanted, by their paths.
    pub async fn check_digests_of(&self, table: Table, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<Difference>> {
        digests::check(&self.cell(table).log, &self.settings, wanted).await
    }

    pub(crate) fn cell(&self, table: Table) -> &Cell {
        self.tables.get(&table).expect("open_with makes a cell for every table")
    }

    async fn snapshot_allows(&self, table: Table, txns: &[TxnStep]) -> Result<bool> {
        let snapshot = self.snapshot(table).await?;
        Ok(txns.iter().all(|step| step.allowed_after(snapshot.txns.get(&step.app).copied())))
    }
}
