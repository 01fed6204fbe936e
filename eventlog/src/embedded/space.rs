//! Room on the disk, measured before it runs out.

use std::path::Path;

use crate::error::LogError;

/// Refuses when less than the reserve is free. The reserve leaves room for sealing and releasing, which give space back; a
/// log that filled the disk to the last byte could not even record that its records may go.
///
/// # Errors
/// [`LogError::Retry`], saying how much is free and how much is needed.
pub fn check(dir: &Path, reserve_bytes: u64) -> Result<(), LogError> {
    // A file system that does not tell is left to fail by itself.
    let Ok(disk) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let reserve = reserve_bytes.min(disk.f_blocks.saturating_mul(disk.f_frsize) / 8);
    if free >= reserve {
        return Ok(());
    }
    Err(LogError::Retry {
        reason: format!(
            "the disk of {} is full: {free} bytes are free, and appends need {reserve}; free some space and they go on",
            dir.display()
        ),
    })
}
