//! Clocks that a test owns.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;
use tributary_schemas::ids::{Clock, Timestamp};

/// When every world begins, in microseconds since the Unix epoch.
pub(super) const BEGINNING: i64 = 1_790_000_000_000_000;

/// A clock that stands still until it is moved.
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(BEGINNING)))
    }

    pub(crate) fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// The clock of one process: the runtime's time, and an error that can jump.
pub(super) struct SkewedClock {
    born: Instant,
    error: AtomicI64,
}

impl SkewedClock {
    /// A clock that is wrong by this many microseconds, for a world that was born then.
    pub(super) fn new(born: Instant, error: i64) -> Arc<Self> {
        Arc::new(Self { born, error: AtomicI64::new(error) })
    }

    pub(super) fn jump(&self, micros: i64) {
        self.error.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.born.elapsed().as_micros()).unwrap();
        Timestamp::from_micros(BEGINNING + passed + self.error.load(Ordering::SeqCst)).unwrap()
    }
}
