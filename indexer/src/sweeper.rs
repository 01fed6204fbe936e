//! Upkeep: checkpoints, and the deletion of what no reader needs any more. Every run is bounded.

use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tributary_schemas::ids::Timestamp;
use tributary_schemas::tables::Table;

use crate::checkpoint;
use crate::commit::Cell;
use crate::data_file::digest_in_name;
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::log::TableLog;
use crate::metrics::label;
use crate::settings::LakeSettings;

/// How long a table's folder is left alone between two searches for orphans, which list it whole.
const ORPHAN_PERIOD: Duration = Duration::from_secs(3_600);

impl Lake {
    /// One turn of upkeep of a table: a checkpoint if it is due, one merge of small files, and the sweep of replaced files,
    /// of orphans and of commits behind the checkpoint, each after its retention.
    ///
    /// Errors: the store does not answer (retry), or an object is damaged. What was done before stays.
    pub async fn keep_up(&self, table: Table) -> Result<()> {
        if self.snapshot(table).await?.version < 0 {
            return Ok(());
        }
        self.compact(table).await?;
        if self.checkpoint_if_due(table).await? {
            self.sweep_log(table).await?;
        }
        self.sweep_removed(table).await?;
        self.sweep_orphans(table).await
    }

    /// Writes a checkpoint when enough commits lie behind the last one. Whether it did.
    pub(crate) async fn checkpoint_if_due(&self, table: Table) -> Result<bool> {
        let cell = self.cell(table);
        let version = {
            let mut cached = cell.cached.lock().await;
            self.refresh(cell, &mut cached).await?;
            let Some(state) = cached.state.as_mut() else { return Ok(false) };
            let since = state.version.saturating_sub(state.checkpoint);
            if since.unsigned_abs() < self.settings.checkpoint_commits {
                return Ok(false);
            }
            // Taken note of even if it fails or another process is at it: the next try is due as many commits later.
            state.checkpoint = state.version;
            state.version
        };
        let written = checkpoint::write(&cell.log, version).await?;
        if written {
            self.metrics.checkpoints.get_or_create(&label(table)).inc();
        }
        Ok(written)
    }

    /// Deletes commits and checkpoints behind the latest checkpoint, with their digests, once they are old enough; commits in
    /// ascending order, on which readers rely.
    pub(crate) async fn sweep_log(&self, table: Table) -> Result<usize> {
        let log = &self.cell(table).log;
        let listing = log.list().await?;
        let Some(kept) = listing.checkpoints.keys().next_back().copied() else { return Ok(0) };
        let oldest = self.now_less(self.settings.log_retention);
        let old = |written_us: i64| written_us < oldest;
        let commits = listing.commits.range(..kept).take_while(|(_, o)| old(o.last_modified.timestamp_micros()));
        let mut swept = 0;
        for (_, commit) in commits.take(self.settings.sweep_objects_max / 2) {
            self.delete(&commit.location).await?;
            swept += 1;
        }
        // What vouches for commits that are gone, now or since a sweep that was interrupted, and for those never made.
        let first_left = listing.commits.keys().copied().nth(swept).map_or(kept, |version| version.min(kept));
        for digest in log.digests_before(first_left).await?.iter().take(self.settings.sweep_objects_max / 2) {
            self.delete(digest).await?;
            swept += 1;
        }
        let checkpoints = listing.checkpoints.range(..kept).filter(|(_, o)| old(o.last_modified.timestamp_micros()));
        for (version, checkpoint) in checkpoints {
            self.delete(&checkpoint.location).await?;
            self.delete(&log.checkpoint_digest_path(*version)).await?;
            swept += 2;
        }
        self.count_swept(table, swept);
        Ok(swept)
    }

    /// Deletes files that compaction replaced, once no reader can hold a snapshot with them.
    pub(crate) async fn sweep_removed(&self, table: Table) -> Result<usize> {
        let cell = self.cell(table);
        let retention = self.settings.removed_retention.max(LakeSettings::REMOVED_RETENTION_MIN);
        let oldest_ms = self.now_less(retention) / 1_000;
        let due: Vec<String> = {
            let cached = cell.cached.lock().await;
            let removed = cached.state.iter().flat_map(|state| &state.removed);
            let due = removed.filter(|(_, removed_ms)| **removed_ms < oldest_ms).map(|(name, _)| name.clone());
            due.take(self.settings.sweep_objects_max).collect()
        };
        for name in &due {
            self.delete(&cell.log.data_path(name)).await?;
        }
        if let Some(state) = cell.cached.lock().await.state.as_mut() {
            for name in &due {
                state.removed.remove(name);
            }
        }
        self.count_swept(table, due.len());
        Ok(due.len())
    }

    /// Deletes data files that no commit names, long after any writer would have committed them.
    async fn sweep_orphans(&self, table: Table) -> Result<()> {
        let cell = self.cell(table);
        let now = self.clock.now();
        {
            let mut cached = cell.cached.lock().await;
            let rested = |at: Timestamp| now.micros().saturating_sub(at.micros()) < micros(ORPHAN_PERIOD);
            if cached.orphans_swept_at.is_some_and(rested) {
                return Ok(());
            }
            cached.orphans_swept_at = Some(now);
        }
        let swept = self.sweep_orphans_now(table).await?;
        if swept > 0 {
            tracing::info!(table = table.name(), swept, "data files that no commit named were deleted");
        }
        Ok(())
    }

    pub(crate) async fn sweep_orphans_now(&self, table: Table) -> Result<usize> {
        let cell = self.cell(table);
        // Listed before the state is read: a file that is committed in between is in the state.
        let old = self.old_data_files(&cell.log).await?;
        let orphans: Vec<Path> = {
            let mut cached = cell.cached.lock().await;
            self.refresh(cell, &mut cached).await?;
            let Some(state) = cached.state.as_ref() else { return Ok(0) };
            let known = |name: &str| state.is_live(name) || state.removed.contains_key(name);
            old.into_iter().filter(|path| path.filename().is_some_and(|name| !known(name))).collect()
        };
        for orphan in &orphans {
            self.delete(orphan).await?;
        }
        self.count_swept(table, orphans.len());
        Ok(orphans.len())
    }

    async fn old_data_files(&self, log: &TableLog) -> Result<Vec<Path>> {
        let oldest = self.now_less(self.settings.orphan_retention);
        let mut old = Vec::new();
        let mut objects = log.store.list_with_offset(Some(&log.root), &log.data_path("part-"));
        while let Some(object) = objects.next().await {
            let object = object.map_err(Error::store("listing", &log.root))?;
            let is_data = object.location.filename().is_some_and(|name| digest_in_name(name).is_some());
            if is_data && object.last_modified.timestamp_micros() < oldest {
                old.push(object.location);
            }
            if old.len() >= self.settings.sweep_objects_max {
                break;
            }
        }
        Ok(old)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.object_store().delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::store("deleting", path)(error)),
        }
    }

    /// Microseconds since 1970 of the instant that lies this far back.
    fn now_less(&self, retention: Duration) -> i64 {
        self.clock.now().micros().saturating_sub(micros(retention))
    }

    fn count_swept(&self, table: Table, objects: usize) {
        self.metrics.swept.get_or_create(&label(table)).inc_by(objects as u64);
    }

    /// Creates the table if it does not exist.
    pub(crate) async fn create(&self, table: Table) -> Result<()> {
        let cell: &Cell = self.cell(table);
        let mut cached = cell.cached.lock().await;
        for _ in 0..self.settings.commit_attempts_max {
            if cached.state.as_ref().is_some_and(|state| state.exists()) {
                return Ok(());
            }
            self.refresh(cell, &mut cached).await?;
            self.create_if_absent(cell, &mut cached).await?;
        }
        Err(Error::Contended { table: table.name(), attempts: self.settings.commit_attempts_max })
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
