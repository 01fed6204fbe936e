//! Bounded, jittered retries.

use std::time::Duration;

use crate::error::DaError;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// How often and how patiently one operation is tried.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    attempts_max: u32,
    backoff_min: Duration,
    backoff_max: Duration,
    metrics: Metrics,
}

impl Patience {
    pub(crate) fn new(settings: &Settings, metrics: Metrics) -> Self {
        let (backoff_min, backoff_max) = (settings.backoff_min, settings.backoff_max);
        Self { attempts_max: settings.attempts_max.max(1), backoff_min, backoff_max, metrics }
    }

    /// Calls `operation` until it answers with anything but [`DaError::Retry`], at most `attempts_max` times.
    pub(crate) async fn run<T, F>(&self, mut operation: impl FnMut() -> F) -> Result<T, DaError>
    where
        F: Future<Output = Result<T, DaError>>,
    {
        let mut attempt = 1;
        loop {
            match operation().await {
                Err(DaError::Retry { .. }) if attempt < self.attempts_max => {
                    self.metrics.retries.inc();
                    self.pause(attempt).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    /// The pause after the given number of failed tries.
    pub(crate) async fn pause(&self, attempt: u32) {
        let doubled = self.backoff_min.saturating_mul(1 << (attempt.clamp(1, 16) - 1));
        let longest = doubled.min(self.backoff_max);
        tokio::time::sleep(longest.mul_f64(rand::random_range(0.5..=1.0))).await;
    }
}
