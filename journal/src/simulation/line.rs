//! The way between one process and what it talks to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::script::Script;

/// Every call and every answer of one process takes its time on it, waits while the process is held, and never arrives once the
/// process is dead: a task that waits for ever is as good as one that was stopped right there.
#[derive(Debug)]
pub(super) struct Line {
    name: String,
    script: Arc<Script>,
    held_until: Mutex<Instant>,
    dead: AtomicBool,
}

impl Line {
    pub(super) fn new(name: String, script: Arc<Script>) -> Arc<Self> {
        let held_until = Mutex::new(script.born());
        Arc::new(Self { name, script, held_until, dead: AtomicBool::new(false) })
    }

    /// Whose line it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn script(&self) -> &Arc<Script> {
        &self.script
    }

    /// Lets nothing through for this long, as if the process had been stopped and woke up again.
    pub(super) fn hold(&self, length: Duration) {
        *self.held_until.lock() = Instant::now() + length;
    }

    pub(super) fn held_until(&self) -> Instant {
        *self.held_until.lock()
    }

    /// Lets nothing through any more.
    pub(super) fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// One way: a call, or its answer.
    pub(super) async fn pass(&self) {
        let travel = self.script.travel();
        if !travel.is_zero() {
            tokio::time::sleep(travel).await;
        }
        // Ends when the last hold has ended.
        while self.held_until() > Instant::now() {
            tokio::time::sleep_until(self.held_until()).await;
        }
        if self.dead.load(Ordering::SeqCst) || self.script.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// Notes a call with its outcome.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        self.script.note(&self.name, what);
    }
}
