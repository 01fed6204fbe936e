//! Waiting for a condition, with a deadline that fails the test.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Outcome, ensure};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How long a condition is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    deadline: Instant,
    within: Duration,
}

impl Patience {
    /// Begins now.
    pub fn of(within: Duration) -> Self {
        Self { deadline: Instant::now() + within, within }
    }

    /// Waits a moment before the condition is looked at again. At the end fails with what was seen last.
    pub async fn pause(&self, seen: impl FnOnce() -> String) -> Outcome {
        ensure(!self.is_over(), || format!("after {:?}: {}", self.within, seen()))?;
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    /// Whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}
