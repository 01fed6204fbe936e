//! Commits: the next version of a table by put-if-absent, with the transactions that keep rows from landing twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::CommitData;
use deltalake_core::kernel::{Action, Add, CommitInfo, Metadata, Protocol, Remove, StructType, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::tables::Table;

use crate::data_file::DataFile;
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::log::{Put, TableLog};
use crate::metrics::label;
use crate::pause::jittered;
use crate::state::{LiveFile, READER_VERSION, Snapshot, TableState, WRITER_VERSION};

/// After this long without a look at the log, a reader makes sure that its place in the log was not cleaned away.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// One table of an open lake.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) log: TableLog,
    pub(crate) cached: Mutex<Cached>,
}

/// What this process knows of a table.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    pub(crate) state: Option<TableState>,
    snapshot: Option<Arc<Snapshot>>,
    looked_at: Option<Timestamp>,
    pub(crate) orphans_swept_at: Option<Timestamp>,
}

impl Cached {
    /// The snapshot of the loaded state; one before version 0 if none is loaded.
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        let empty = || Snapshot { version: -1, files: Vec::new(), txns: BTreeMap::new() };
        let state = self.state.as_ref();
        let make = || Arc::new(state.map_or_else(empty, TableState::snapshot));
        Arc::clone(self.snapshot.get_or_insert_with(make))
    }

    fn replace(&mut self, state: TableState) {
        self.state = Some(state);
        self.changed();
    }

    fn changed(&mut self) {
        self.snapshot = None;
    }
}

/// What a transaction must stand at for the commit to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Below the version it is brought to.
    Below,
    /// Exactly here: the rows handed in begin right behind it.
    At(Option<i64>),
}

/// One application's step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TxnStep {
    pub(crate) app: String,
    pub(crate) to: i64,
    pub(crate) expect: Expect,
}

impl TxnStep {
    pub(crate) fn allowed_after(&self, current: Option<i64>) -> bool {
        match self.expect {
            Expect::Below => current.is_none_or(|current| current < self.to),
            Expect::At(expected) => current == expected,
        }
    }
}

/// What a commit brings.
#[derive(Debug, Default)]
pub(crate) struct Change {
    operation: &'static str,
    adds: Vec<NewFile>,
    removes: Vec<LiveFile>,
    txns: Vec<TxnStep>,
}

#[derive(Debug)]
struct NewFile {
    name: String,
    size: usize,
    stats: String,
}

impl Change {
    /// New rows.
    pub(crate) fn append(files: &[DataFile], txns: Vec<TxnStep>) -> Self {
        Self { operation: "WRITE", adds: new_files(files), removes: Vec::new(), txns }
    }

    /// The same rows in other files.
    pub(crate) fn rewrite(files: &[DataFile], removes: Vec<LiveFile>) -> Self {
        Self { operation: "OPTIMIZE", adds: new_files(files), removes, txns: Vec::new() }
    }

    fn still_possible(&self, state: &TableState) -> bool {
        self.removes.iter().all(|file| state.is_live(&file.name))
            && self.txns.iter().all(|step| step.allowed_after(state.txns.get(&step.app).copied()))
    }

    fn actions(&self, now: Timestamp) -> Vec<Action> {
        let now = now.micros() / 1_000;
        let data_change = self.removes.is_empty();
        let mut actions = vec![commit_info(self.operation, now)];
        actions.extend(self.txns.iter().map(|t| Action::Txn(Transaction::new_with_last_update(&t.app, t.to, Some(now)))));
        actions.extend(self.adds.iter().map(|file| {
            Action::Add(Add {
                path: file.name.clone(),
                size: i64::try_from(file.size).expect("a file that fits in memory is smaller than 2^63"),
                modification_time: now,
                data_change,
                stats: Some(file.stats.clone()),
                ..Add::default()
            })
        }));
        actions.extend(self.removes.iter().map(|live| {
            Action::Remove(Remove {
                path: live.name.clone(),
                data_change,
                deletion_timestamp: Some(now),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::new()),
                size: i64::try_from(live.file.size).ok(),
                ..Remove::default()
            })
        }));
        actions
    }
}

fn new_files(files: &[DataFile]) -> Vec<NewFile> {
    files.iter().map(|f| NewFile { name: f.name.clone(), size: f.bytes.len(), stats: f.stats.clone() }).collect()
}

/// Every commit carries a number of its own, so that no two writers ever write the same bytes: after a lost answer, equal
/// bytes mean that the commit is ours.
fn commit_info(operation: &str, now_ms: i64) -> Action {
    let own = uuid::Uuid::new_v4().to_string();
    Action::CommitInfo(CommitInfo {
        timestamp: Some(now_ms),
        operation: Some(operation.to_owned()),
        engine_info: Some(concat!("Tributary/", env!("CARGO_PKG_VERSION")).to_owned()),
        info: HashMap::from([("txnId".to_owned(), Value::String(own))]),
        ..CommitInfo::default()
    })
}

fn to_bytes(log: &TableLog, actions: Vec<Action>) -> Result<Bytes> {
    let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
    CommitData::new(actions, operation, HashMap::new(), Vec::new())
        .get_bytes()
        .map_err(Error::format("writing a commit", log.table))
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is this version.
    Committed { version: i64 },
    /// A transaction or a file to be removed is no longer where the change needs it; nothing was committed.
    Overtaken,
}

impl Lake {
    /// Commits a change, or finds that it is overtaken. Other writers' commits are no conflict as such: rows are only ever
    /// appended, and a rewrite only needs its own files to be live still.
    pub(crate) async fn commit(&self, table: Table, change: &Change) -> Result<Outcome> {
        let cell = self.cell(table);
        let mut lost = 0;
        for _ in 0..self.settings.commit_attempts_max {
            // Free during the pause: readers of the table need not wait for it.
            let mut cached = cell.cached.lock().await;
            self.refresh(cell, &mut cached).await?;
            let Some(state) = cached.state.as_ref() else { continue };
            if !change.still_possible(state) {
                return Ok(Outcome::Overtaken);
            }
            if self.create_if_absent(cell, &mut cached).await? {
                continue;
            }
            let actions = change.actions(self.clock.now());
            match self.write_next(cell, &mut cached, actions).await? {
                Some(version) => return Ok(Outcome::Committed { version }),
                None => {
                    self.metrics.conflicts.get_or_create(&label(table)).inc();
                    lost += 1;
                }
            }
            drop(cached);
            tokio::time::sleep(jittered(self.settings.commit_pause_max, lost)).await;
        }
        Err(Error::Contended { table: table.name(), attempts: self.settings.commit_attempts_max })
    }

    /// Writes version 0 if there is none; whether there was none.
    pub(crate) async fn create_if_absent(&self, cell: &Cell, cached: &mut Cached) -> Result<bool> {
        if cached.state.as_ref().is_none_or(TableState::exists) {
            return Ok(false);
        }
        self.write_next(cell, cached, creation(cell.log.table, self.clock.now())?).await?;
        Ok(true)
    }

    /// Brings what this process knows of a table up to the store.
    pub(crate) async fn refresh(&self, cell: &Cell, cached: &mut Cached) -> Result<()> {
        let now = self.clock.now();
        let Some(mut state) = cached.state.take() else {
            let state = cell.log.load(&self.settings).await?;
            cached.replace(state);
            cached.looked_at = Some(now);
            return Ok(());
        };
        // On an error the state is dropped and loaded anew the next time: it may be half way through a commit.
        let before = state.version;
        cell.log.catch_up(&mut state).await?;
        let idle_us = cached.looked_at.map_or(0, |at| now.micros().saturating_sub(at.micros()).unsigned_abs());
        let stale = u128::from(idle_us) > STALE_AFTER.as_micros();
        if stale && state.exists() && !cell.log.head_still_there(&state).await? {
            state = cell.log.load(&self.settings).await?;
        }
        let moved = state.version != before;
        cached.state = Some(state);
        if moved {
            cached.changed();
        }
        cached.looked_at = Some(now);
        Ok(())
    }

    /// Writes the next version; `None` when another writer has it.
    async fn write_next(&self, cell: &Cell, cached: &mut Cached, actions: Vec<Action>) -> Result<Option<i64>> {
        let Some(mut state) = cached.state.take() else { return Ok(None) };
        let version = state.version + 1;
        let bytes = to_bytes(&cell.log, actions.clone())?;
        match cell.log.put_commit(version, &bytes).await {
            Ok(Put::Won) => {}
            Ok(Put::Lost) => {
                cached.state = Some(state);
                return Ok(None);
            }
            Err(error) => {
                cached.state = Some(state);
                return Err(error);
            }
        }
        state.apply(version, actions)?;
        let files = i64::try_from(state.live().count()).unwrap_or(i64::MAX);
        cached.replace(state);
        self.metrics.commits.get_or_create(&label(cell.log.table)).inc();
        self.metrics.files.get_or_create(&label(cell.log.table)).set(files);
        Ok(Some(version))
    }
}

/// The first commit of a table: its protocol, its columns, and the promise that rows are only appended.
fn creation(table: Table, now: Timestamp) -> Result<Vec<Action>> {
    let failed = |problem: String| Error::Format { what: "creating", table: table.name(), problem };
    let schema: StructType = table.schema().as_ref().try_into_kernel().map_err(|e| failed(format!("{e}")))?;
    let now = now.micros() / 1_000;
    let metadata: Metadata = serde_json::from_value(json!({
        "id": uuid::Uuid::new_v4().to_string(),
        "name": table.name(),
        "description": null,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": serde_json::to_string(&schema).map_err(|e| failed(e.to_string()))?,
        "partitionColumns": [],
        "configuration": { "delta.appendOnly": "true", "delta.deletedFileRetentionDuration": "interval 2 hours" },
        "createdTime": now,
    }))
    .map_err(|e| failed(e.to_string()))?;
    let protocol: Protocol =
        serde_json::from_value(json!({ "minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION }))
            .map_err(|e| failed(e.to_string()))?;
    Ok(vec![commit_info("CREATE TABLE", now), Action::Protocol(protocol), Action::Metadata(metadata)])
}
