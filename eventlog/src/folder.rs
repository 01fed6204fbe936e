//! Folders that survive a loss of power. The name of a folder lies in its parent, and is durable once that is synced.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Creates the folder and its missing parents. When it returns `Ok`, the names of all of them are durable, whoever made
/// them: a thread or a process that made one may have been stopped before it could sync.
///
/// # Errors
/// When a folder cannot be made or synced. That the parent of a folder which was there already cannot be synced by this
/// user, or on this file system, is none.
pub fn create(folder: &Path) -> io::Result<()> {
    create_with(&std::path::absolute(folder)?, &mut sync)
}

/// [`create`] for one folder whose parent is there, and durable.
///
/// # Errors
/// As [`create`].
pub fn create_one(folder: &Path) -> io::Result<()> {
    create_one_with(folder, &mut sync)
}

/// Makes the names in the folder durable.
///
/// # Errors
/// When the folder cannot be opened, or the disk fails.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn create_with(folder: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let from_folder_to_root: Vec<&Path> = folder.ancestors().collect();
    from_folder_to_root.into_iter().rev().try_for_each(|folder| create_one_with(folder, sync))
}

fn create_one_with(folder: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let there = folder.is_dir();
    if !there {
        match fs::create_dir(folder) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made?,
        }
    }
    let parent = match folder.parent() {
        // The root has no name.
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    match sync(parent) {
        Err(e) if there && cannot_be_synced(&e) => Ok(()),
        synced => synced,
    }
}

/// Whether the folder is one that no process of this user makes folders in, such as `/home`, or a file system has no sync
/// of folders. A disk that fails is another matter.
fn cannot_be_synced(error: &io::Error) -> bool {
    use ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | Unsupported | InvalidInput)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::*;

    /// Creates the folder and gives the parents that were synced, in their order.
    fn synced_by(folder: &Path) -> Vec<PathBuf> {
        let mut synced = Vec::new();
        let mut note = |folder: &Path| {
            synced.push(folder.to_path_buf());
            sync(folder)
        };
        create_with(folder, &mut note).unwrap();
        synced
    }

    #[test]
    fn every_parent_is_synced_whether_the_folder_in_it_is_new_or_was_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b/c");
        let parents: Vec<PathBuf> = folder.ancestors().skip(1).map(Path::to_path_buf).collect();
        for _ in 0..2 {
            let mut synced = synced_by(&folder);
            synced.reverse();
            assert_eq!(synced, parents);
            assert!(folder.is_dir());
        }
    }

    #[test]
    fn a_folder_whose_name_may_be_lost_is_no_success() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a");
        for kind in [ErrorKind::Other, ErrorKind::PermissionDenied] {
            let _ = fs::remove_dir(&folder);
            let error = create_one_with(&folder, &mut |_| Err(kind.into())).unwrap_err();
            assert_eq!(error.kind(), kind);
        }
        // It is there now: a disk that fails is still told, a parent that belongs to another is not.
        assert!(create_one_with(&folder, &mut |_| Err(ErrorKind::Other.into())).is_err());
        create_one_with(&folder, &mut |_| Err(ErrorKind::PermissionDenied.into())).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_told() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(create(&file).is_err());
        assert!(create(&file.join("below")).is_err());
    }

    #[test]
    fn threads_that_create_the_same_folders_at_once_all_succeed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b/c/d");
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&folder))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        assert!(folder.is_dir());
    }
}
