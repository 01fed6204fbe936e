//! Objects, looked at again and again: what was seen once must stay as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, keccak256};

/// What is remembered of an object.
struct Glimpse {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    hash: B256,
}

/// The objects of a journal as they were first seen.
pub(super) struct Watch {
    journal: PathBuf,
    seen: BTreeMap<PathBuf, Glimpse>,
    scans: u64,
    violations: Vec<String>,
}

impl Watch {
    pub fn of(journal: PathBuf) -> Self {
        Self { journal, seen: BTreeMap::new(), scans: 0, violations: Vec::new() }
    }

    /// Looks at every object; with `thorough` reads those again whose file looks as before.
    pub fn scan(&mut self, thorough: bool) -> io::Result<()> {
        let there = objects(&self.journal)?;
        let missing: Vec<PathBuf> = self.seen.keys().filter(|path| !there.contains(*path)).cloned().collect();
        for path in missing {
            self.seen.remove(&path);
            self.violations.push(format!("{} was there and is gone", path.display()));
        }
        for path in there {
            self.look_at(path, thorough)?;
        }
        self.scans += 1;
        Ok(())
    }

    fn look_at(&mut self, path: PathBuf, thorough: bool) -> io::Result<()> {
        let file = fs::metadata(&path)?;
        let (inode, bytes, modified) = (file.ino(), file.len(), (file.mtime(), file.mtime_nsec()));
        let before = self.seen.get(&path);
        if !thorough && before.is_some_and(|b| (b.inode, b.bytes, b.modified) == (inode, bytes, modified)) {
            return Ok(());
        }
        let hash = keccak256(fs::read(&path)?);
        if let Some(before) = before {
            if before.hash != hash {
                self.violations.push(format!("{} was changed: {} became {hash}", path.display(), before.hash));
            } else if before.inode != inode {
                self.violations.push(format!("{} was written again with the same bytes", path.display()));
            }
        }
        self.seen.insert(path, Glimpse { inode, bytes, modified, hash });
        Ok(())
    }

    /// How many objects there are, and how often they were looked at.
    pub fn counts(&self) -> (usize, u64) {
        (self.seen.len(), self.scans)
    }

    /// What was seen to change.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

/// The genesis record and the batches of every folder, wherever a partition belongs.
fn objects(journal: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut objects = BTreeSet::new();
    for entry in entries(journal)? {
        if entry.is_dir() {
            objects.extend(entries(&entry)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "batch")));
        } else if entry.ends_with("genesis.json") {
            objects.insert(entry);
        }
    }
    Ok(objects)
}

/// What a folder holds; nothing if it is not there yet.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
