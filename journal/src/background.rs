//! Work that computes or waits for the disk, off the threads that serve requests.

#[cfg(test)]
use in_order::start;
#[cfg(not(test))]
use tokio::task::spawn_blocking as start;

use crate::error::JournalError;

/// Runs the work on a thread where waiting is allowed. A panic goes on in the caller: it is a bug, not a passing failure.
///
/// # Errors
/// The work's own, or `Closed` while the runtime shuts down.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    match start(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(JournalError::Closed),
    }
}

/// The same work for a simulation, which must not depend on when a thread of its own comes to an end.
#[cfg(test)]
pub(crate) mod in_order {
    use std::cell::Cell;

    use tokio::task::JoinHandle;

    thread_local! {
        static ON: Cell<bool> = const { Cell::new(false) };
    }

    /// While it lives, work that this thread asks for is done by tasks of its runtime, one after the other. As with threads,
    /// work whose asker has gone is done all the same.
    pub(crate) struct InOrder(());

    impl InOrder {
        pub(crate) fn begin() -> Self {
            ON.set(true);
            Self(())
        }
    }

    impl Drop for InOrder {
        fn drop(&mut self) {
            ON.set(false);
        }
    }

    pub(super) fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        if ON.get() { tokio::spawn(async move { work() }) } else { tokio::task::spawn_blocking(work) }
    }
}
