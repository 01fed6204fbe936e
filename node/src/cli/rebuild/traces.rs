//! What a rebuild makes in its target before there is anything worth keeping.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folders and the lock that were there before a rebuild began. One that fails before it has written an object leaves nothing
/// else behind; what it has written is gone on with by the next.
pub(super) struct Traces {
    into: PathBuf,
    /// Folders, the target's own and those above it too; `None` if its store had objects.
    before: Option<BTreeSet<PathBuf>>,
    was_locked: bool,
}

impl Traces {
    /// Looks at the target as it is.
    pub fn before(into: &Path) -> Self {
        let mut before = BTreeSet::new();
        let empty = matches!(folders(&into.join("store"), &mut before), Ok(true));
        before.extend(into.ancestors().filter(|folder| folder.exists()).map(Path::to_owned));
        Self { into: into.to_owned(), before: empty.then_some(before), was_locked: into.join("lock").exists() }
    }

    /// Takes away what has been made since, unless there are objects. The lock must be held, so that it is nobody else's; what cannot be
    /// taken away stays, for the failure that led here is what is to be told.
    pub fn remove(self) {
        let (Some(before), mut now) = (self.before, BTreeSet::new()) else { return };
        if !matches!(folders(&self.into.join("store"), &mut now), Ok(true)) {
            return;
        }
        if !self.was_locked {
            let _ = fs::remove_file(self.into.join("lock"));
        }
        now.extend(self.into.ancestors().map(Path::to_owned));
        // A folder comes before those in it. None is removed that holds anything.
        for folder in now.iter().rev().filter(|folder| !before.contains(*folder) && !folder.as_os_str().is_empty()) {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Adds a folder and those under it; false if there is anything else, which is not looked beyond.
fn folders(folder: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    found.insert(folder.to_owned());
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || !folders(&entry.path(), found)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As a rebuild does before it reads anything.
    fn begin(into: &Path) {
        fs::create_dir_all(into.join("store/.staging")).unwrap();
        fs::write(into.join("lock"), "1").unwrap();
    }

    #[test]
    fn nothing_is_left_that_was_not_there_before() {
        let place = tempfile::tempdir().unwrap();
        let into = place.path().join("a/b");
        let traces = Traces::before(&into);
        begin(&into);
        traces.remove();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);

        fs::create_dir_all(into.join("store/mine")).unwrap();
        fs::write(into.join("notes"), "mine").unwrap();
        let traces = Traces::before(&into);
        begin(&into);
        traces.remove();
        let mut left = BTreeSet::new();
        assert!(!folders(&into, &mut left).unwrap(), "a file of others stays");
        assert!(into.join("store/mine").is_dir() && !into.join("store/.staging").exists() && !into.join("lock").exists());
    }

    #[test]
    fn what_the_next_attempt_goes_on_with_stays() {
        let place = tempfile::tempdir().unwrap();
        for into in ["new", "begun"].map(|name| place.path().join(name)) {
            let object = into.join("store/journal/genesis.json");
            let write = || {
                fs::create_dir_all(object.parent().unwrap()).unwrap();
                fs::write(&object, "{}").unwrap();
            };
            if into.ends_with("begun") {
                write();
            }
            let traces = Traces::before(&into);
            begin(&into);
            write();
            traces.remove();
            assert!(object.exists() && into.join("lock").exists() && into.join("store/.staging").exists());
        }
    }
}
