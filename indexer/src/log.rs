//! The Delta log of one table on the store: names, commits by put-if-absent, replay.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::kernel::Action;
use deltalake_core::logstore::get_actions;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use tributary_journal::placement::{self, Placed, place};
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Hash, keccak256};

use crate::checkpoint;
use crate::digests;
use crate::error::{Error, Result};
use crate::settings::LakeSettings;
use crate::state::TableState;

/// How an attempt to write a version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The version is ours.
    Won,
    /// Another writer has it.
    Lost,
}

/// What an object under a table's folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogName {
    /// `<version>.json`
    Commit(i64),
    /// `<version>.checkpoint.parquet`
    Checkpoint(i64),
}

impl LogName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (digits, kind) = name.split_once('.')?;
        let version = (digits.len() == 20).then(|| digits.parse::<i64>().ok()).flatten()?;
        match kind {
            "json" => Some(Self::Commit(version)),
            "checkpoint.parquet" => Some(Self::Checkpoint(version)),
            _ => None,
        }
    }
}

/// What a listing of the log found.
#[derive(Debug, Default)]
pub(crate) struct LogListing {
    pub(crate) commits: BTreeMap<i64, ObjectMeta>,
    pub(crate) checkpoints: BTreeMap<i64, ObjectMeta>,
}

/// The log of one table.
#[derive(Clone, Debug)]
pub(crate) struct TableLog {
    pub(crate) table: Table,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// `lake/<table>`
    pub(crate) root: Path,
}

impl TableLog {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, table: Table) -> Self {
        Self { table, store, root: Path::from_iter(["lake", table.name()]) }
    }

    pub(crate) fn data_path(&self, name: &str) -> Path {
        self.root.clone().join(name)
    }

    pub(crate) fn log_folder(&self) -> Path {
        self.root.clone().join("_delta_log")
    }

    pub(crate) fn commit_path(&self, version: i64) -> Path {
        self.log_folder().join(format!("{version:020}.json"))
    }

    pub(crate) fn checkpoint_path(&self, version: i64) -> Path {
        self.log_folder().join(format!("{version:020}.checkpoint.parquet"))
    }

    pub(crate) fn last_checkpoint_path(&self) -> Path {
        self.log_folder().join("_last_checkpoint")
    }

    /// The object's bytes; `None` when there is none.
    pub(crate) async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        placement::read(&*self.store, path).await.map_err(Error::store("reading", path))
    }

    pub(crate) async fn put(&self, path: &Path, bytes: Bytes) -> Result<()> {
        self.store.put(path, PutPayload::from(bytes)).await.map_err(Error::store("writing", path))?;
        Ok(())
    }

    /// Writes the commit of a version if there is none, by the rule of [`place`].
    ///
    /// Its digest is recorded first, so that at no crash a commit lies there whose bytes nothing vouches for. A digest whose
    /// commit was then not made, or lost its version to another's, raises no alarm: it is named by the version and by the
    /// digest itself, so it neither stands for nor hides that of any other commit. It is swept with its version.
    pub(crate) async fn put_commit(&self, version: i64, bytes: &Bytes) -> Result<Put> {
        self.record_digest(version, bytes).await?;
        let path = self.commit_path(version);
        self.put_if_absent(&path, bytes).await
    }

    pub(crate) async fn put_if_absent(&self, path: &Path, bytes: &Bytes) -> Result<Put> {
        match place(&*self.store, path, bytes).await.map_err(Error::store("writing", path))? {
            Placed::Ours => Ok(Put::Won),
            Placed::Theirs(_) => Ok(Put::Lost),
        }
    }

    /// The actions of a commit.
    pub(crate) fn actions(&self, version: i64, bytes: &Bytes) -> Result<Vec<Action>> {
        get_actions(version.unsigned_abs(), bytes).map_err(|e| Error::corrupt(&self.commit_path(version), e))
    }

    /// All commits and checkpoints that lie on the store.
    pub(crate) async fn list(&self) -> Result<LogListing> {
        let folder = self.log_folder();
        let mut listing = LogListing::default();
        let mut objects = self.store.list(Some(&folder));
        while let Some(object) = objects.next().await {
            let object = match object {
                Ok(object) => object,
                Err(object_store::Error::NotFound { .. }) => break,
                Err(error) => return Err(Error::store("listing", &folder)(error)),
            };
            match object.location.filename().and_then(LogName::parse) {
                Some(LogName::Commit(version)) => listing.commits.insert(version, object),
                Some(LogName::Checkpoint(version)) => listing.checkpoints.insert(version, object),
                None => None,
            };
        }
        Ok(listing)
    }

    /// Replays the log from its latest checkpoint. A table that does not exist has version −1.
    pub(crate) async fn load(&self, settings: &LakeSettings) -> Result<TableState> {
        let listing = self.list().await?;
        let mut state = TableState::new(self.root.clone(), self.table.name());
        if let Some(version) = listing.checkpoints.keys().next_back().copied() {
            let path = self.checkpoint_path(version);
            let bytes = self.get(&path).await?.ok_or_else(|| Error::corrupt(&path, "it vanished while it was read"))?;
            checkpoint::read(&mut state, version, &path, bytes)?;
        }
        let versions: Vec<i64> = listing.commits.keys().copied().filter(|v| *v > state.version).collect();
        for (expected, found) in (state.version + 1..).zip(&versions) {
            if expected != *found {
                return Err(Error::corrupt(&self.commit_path(expected), "it is missing, but later commits are there"));
            }
        }
        let mut commits = futures::stream::iter(versions)
            .map(|version| async move { self.read_commit(version).await.map(|bytes| (version, bytes)) })
            .buffered(settings.reads_in_flight_max);
        while let Some((version, bytes)) = commits.try_next().await? {
            let bytes = bytes.ok_or_else(|| Error::corrupt(&self.commit_path(version), "it vanished while it was read"))?;
            state.apply(version, self.actions(version, &bytes)?)?;
        }
        Ok(state)
    }

    pub(crate) async fn read_commit(&self, version: i64) -> Result<Option<Bytes>> {
        self.get(&self.commit_path(version)).await
    }

    /// Applies the commits that other writers added since. Returns the bytes of the last one.
    pub(crate) async fn catch_up(&self, state: &mut TableState) -> Result<Option<Bytes>> {
        let mut last = None;
        while let Some(bytes) = self.read_commit(state.version + 1).await? {
            let version = state.version + 1;
            let actions = self.actions(version, &bytes)?;
            state.apply(version, actions)?;
            last = Some(bytes);
        }
        Ok(last)
    }

    /// Whether the commit that the state ends with still lies on the store. Commits are deleted in ascending order, so if
    /// it does, a following one that was not found a moment before did not exist.
    pub(crate) async fn head_still_there(&self, state: &TableState) -> Result<bool> {
        let path = self.commit_path(state.version);
        match self.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::store("reading", &path)(error)),
        }
    }

    pub(crate) async fn record_digest(&self, version: i64, bytes: &Bytes) -> Result<()> {
        let digest = keccak256(bytes);
        let sidecar = digests::render(&[(format!("_delta_log/{version:020}.json"), digest)]);
        self.put(&self.digest_path(version, digest), sidecar).await
    }

    pub(crate) fn digest_folder(&self) -> Path {
        self.root.clone().join("_digests")
    }

    /// Where the digest of a commit is recorded: there is one object for each commit that was ever tried.
    pub(crate) fn digest_path(&self, version: i64, digest: Hash) -> Path {
        self.digest_folder().join(format!("{version:020}.{digest:x}.json"))
    }

    pub(crate) fn checkpoint_digest_path(&self, version: i64) -> Path {
        self.digest_folder().join(format!("{version:020}.checkpoint.json"))
    }

    /// The recorded digests of commits before this version, in the order of their versions.
    pub(crate) async fn digests_before(&self, version: i64) -> Result<Vec<Path>> {
        let folder = self.digest_folder();
        let mut found = Vec::new();
        let mut objects = self.store.list(Some(&folder));
        while let Some(object) = objects.next().await {
            match object {
                Ok(object) => found.push(object.location),
                Err(object_store::Error::NotFound { .. }) => break,
                Err(error) => return Err(Error::store("listing", &folder)(error)),
            }
        }
        found.retain(|path| path.filename().and_then(digests::version_in_name).is_some_and(|of| of < version));
        found.sort_unstable();
        Ok(found)
    }
}
