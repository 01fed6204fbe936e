//! Who works on a data directory: advisory locks, released by the kernel however the process ends.
//!
//! `DIR/lock` is held by the one process that writes: `dev` or `seal` for as long as it runs, a job while it finishes what the log
//! holds. `DIR/job.lock` is a turnstile before it, passed one at a time: whoever holds it and finds `lock` held knows that
//! the holder is no job, for a job holds both.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::Instant;

/// How often a lock that is waited for is tried.
const POLL: Duration = Duration::from_millis(25);

/// The right to write to a data directory; dropping it releases it.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// The turnstile before [`DirectoryLock`]; dropping it lets the next one pass.
#[derive(Debug)]
pub struct JobLock {
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
    /// A job held the turnstile for longer than the caller waits.
    #[error(
        "the job of process {holder} still finishes what the log in {directory} holds, after a wait of {waited:?}: nothing was \
         done here; run this again when that job has ended"
    )]
    JobHeld {
        /// The directory.
        directory: String,
        /// The process id found in the lock file.
        holder: String,
        /// How long it was waited for.
        waited: Duration,
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

impl LockError {
    /// Every code, in the order of docs/errors.md.
    #[cfg(test)]
    pub const CODES: [&'static str; 3] = ["directory_in_use", "job_in_progress", "directory_failed"];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "directory_in_use",
            Self::JobHeld { .. } => "job_in_progress",
            Self::Io { .. } => "directory_failed",
        }
    }
}

/// What trying a lock gave.
enum Tried {
    Taken(File),
    /// With the process id in the file, which may be missing.
    Held(String),
}

impl DirectoryLock {
    /// Takes the lock, without waiting.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        match attempt(directory, "lock")? {
            Tried::Taken(file) => Ok(Self { _file: file }),
            Tried::Held(holder) => Err(LockError::Held { directory: directory.display().to_string(), holder }),
        }
    }
}

impl JobLock {
    /// Takes the turnstile, waiting for at most `wait_max`. `waiting` is called once, with the holder's process id, if there
    /// is something to wait for.
    pub async fn take(directory: &Path, wait_max: Duration, waiting: impl FnOnce(&str)) -> Result<Self, LockError> {
        let deadline = Instant::now() + wait_max;
        let mut waiting = Some(waiting);
        loop {
            let holder = match attempt(directory, "job.lock")? {
                Tried::Taken(file) => return Ok(Self { _file: file }),
                Tried::Held(holder) => holder,
            };
            if Instant::now() >= deadline {
                return Err(LockError::JobHeld { directory: directory.display().to_string(), holder, waited: wait_max });
            }
            if let Some(waiting) = waiting.take() {
                waiting(&holder);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Tries a lock file of the directory once.
fn attempt(directory: &Path, name: &str) -> Result<Tried, LockError> {
    let io = |source| LockError::Io { directory: directory.display().to_string(), source };
    let path = directory.join(name);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // The holder's id only makes the message better; a lock without a readable one is held all the same.
            let _ = file.read_to_string(&mut holder);
            return Ok(Tried::Held(holder.trim().to_owned()));
        }
        Err(errno) => return Err(io(errno.into())),
    }
    // On a full disk the id cannot be written; the lock holds without it.
    let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| write!(file, "{}", std::process::id()));
    Ok(Tried::Taken(file))
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

    #[tokio::test]
    async fn the_turnstile_is_waited_for_and_the_wait_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let take = |wait_max| JobLock::take(directory.path(), wait_max, |_| {});
        let held = take(Duration::ZERO).await.unwrap();
        let refused = take(Duration::from_millis(60)).await.unwrap_err();
        assert!(matches!(&refused, LockError::JobHeld { holder, .. } if *holder == std::process::id().to_string()), "{refused}");
        let mut told = String::new();
        let release = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(held);
        };
        let waiting = JobLock::take(directory.path(), Duration::from_secs(60), |holder| told = holder.to_owned());
        let (taken, ()) = tokio::join!(waiting, release);
        drop(taken.unwrap());
        assert_eq!(told, std::process::id().to_string());
        assert!(DirectoryLock::take(directory.path()).is_ok(), "the turnstile is not the lock behind it");
    }
}
