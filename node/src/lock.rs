//! One process at a time works on a data directory: an advisory lock on `DIR/lock`, released by the kernel however the
//! process ends.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "the data directory {directory} is in use by process {holder}: stop that process, or name another directory with \
         --data-dir"
    )]
    Held {
        /// The directory.
        directory: String,
        /// The process id found in the lock file.
        holder: String,
    },
    /// The lock file cannot be made or read.
    #[error("the lock file in {directory} cannot be used: {source}")]
    Io {
        /// The directory.
        directory: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl DirectoryLock {
    /// Takes the lock, without waiting.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let name = || directory.display().to_string();
        let io = |source| LockError::Io { directory: name(), source };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(directory.join("lock")).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // The holder's id only makes the message better; a lock without a readable one is held all the same.
                let _ = file.read_to_string(&mut holder);
                return Err(LockError::Held { directory: name(), holder: holder.trim().to_owned() });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        // On a full disk the id cannot be written; the lock holds without it.
        let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_and_free_again_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::take(directory.path()).unwrap();
        let refused = DirectoryLock::take(directory.path()).unwrap_err();
        assert!(matches!(&refused, LockError::Held { holder, .. } if *holder == std::process::id().to_string()), "{refused}");
        drop(held);
        assert!(DirectoryLock::take(directory.path()).is_ok());
    }
}
