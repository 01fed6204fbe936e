//! The folders below the root of a store: made when an object needs them, and durable before it gets its name.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use object_store::Result;
use parking_lot::Mutex;
use tributary_eventlog::folder;

use super::failure;

/// Folders remembered at most. A store has a few for each partition and each table.
const KNOWN_MAX: usize = 10_000;

/// The root of a store, and the folders below it whose names this process has synced.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    known: Mutex<HashSet<PathBuf>>,
    /// Makes the names of objects durable.
    sync: fn(&Path) -> io::Result<()>,
}

impl Folders {
    /// Those of an open root.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, known: Mutex::default(), sync: folder::sync }
    }

    #[cfg(test)]
    pub(super) fn with_sync(root: PathBuf, sync: fn(&Path) -> io::Result<()>) -> Self {
        Self { sync, ..Self::new(root) }
    }

    /// The folder of the store.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes sure that the folder of an object is there, and durable together with every folder between it and the root.
    /// That a folder is there says nothing of that: whoever made it may have been stopped before syncing its name.
    pub(super) fn create_parent(&self, object: &Path) -> Result<()> {
        let folders: Vec<&Path> = object.ancestors().skip(1).take_while(|folder| *folder != self.root).collect();
        for folder in folders.into_iter().rev() {
            // One that was thrown away, such as a table to be rebuilt, is made anew.
            if self.known.lock().contains(folder) && folder.is_dir() {
                continue;
            }
            folder::create_one(folder).map_err(|e| failure("create the folder of", object, e))?;
            let mut known = self.known.lock();
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(folder.to_path_buf());
        }
        Ok(())
    }

    /// Makes the name of an object durable.
    pub(super) fn sync_parent(&self, object: &Path) -> Result<()> {
        let parent = object.parent().unwrap_or(&self.root);
        (self.sync)(parent).map_err(|e| failure("sync the folder of", object, e))
    }
}
