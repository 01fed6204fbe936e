//! What can be set about journal and sealer; the defaults suit object storage.

use std::ops::RangeInclusive;
use std::time::Duration;

pub use tributary_eventlog::Jitter;

/// Limits and waits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A batch is sealed when its framed events reach this many bytes; at most [`crate::batch::BODY_BYTES_MAX`]. A single
    /// event larger than this makes a batch of its own.
    pub batch_bytes_max: u32,
    /// A batch is sealed when its first record was read this long ago.
    pub batch_age_max: Duration,
    /// A batch covers at most this many records, duplicates among them.
    pub batch_records_max: u32,
    /// How much the sealer asks of the log at once, in bytes.
    pub read_bytes_max: usize,
    /// How often one batch is offered to the store before the failure is reported.
    pub put_attempts_max: u32,
    /// How long to wait between attempts: a length chosen at random, the upper end doubling up to 16 times.
    pub put_backoff: RangeInclusive<Duration>,
    /// How long a partition rests at most after a failure that can be tried again; at random, but at least half of it.
    pub retry_pause: Duration,
    /// How often a waiting reader looks for batches that another process wrote.
    pub poll_interval: Duration,
    /// How far back duplicates are found, by the partition's `sealed_at`.
    pub seen_window: Duration,
    /// The chance in the lengths of waits.
    pub jitter: Jitter,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_bytes_max: crate::batch::BODY_BYTES_MAX,
            batch_age_max: Duration::from_secs(1),
            batch_records_max: 100_000,
            read_bytes_max: 1 << 20,
            put_attempts_max: 6,
            put_backoff: Duration::from_millis(20)..=Duration::from_millis(100),
            retry_pause: Duration::from_secs(1),
            poll_interval: Duration::from_millis(500),
            seen_window: Duration::from_secs(7 * 24 * 60 * 60),
            jitter: Jitter::default(),
        }
    }
}
