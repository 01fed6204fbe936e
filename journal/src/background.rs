//! Work that computes or waits for the disk, off the threads that serve requests.

use crate::error::JournalError;

/// Runs the work on a thread where waiting is allowed. A panic goes on in the caller: it is a bug, not a passing failure.
///
/// # Errors
/// The work's own, or `Closed` while the runtime shuts down.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(JournalError::Closed),
    }
}
