//! The limits of the embedded log.

use std::time::Duration;

/// How much the embedded log may use, and when it gives space back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Appends that wait for the writer; more wait outside.
    pub appends_queued_max: usize,
    /// Bytes of keys and values that wait for the writer; more wait outside. Also the largest single append.
    pub append_bytes_max: usize,
    /// The writer stops adding appends to a commit at this many bytes.
    pub commit_bytes_max: usize,
    /// One write buffer; three of them are the most memory that unflushed records take.
    pub write_buffer_bytes: usize,
    /// Reads at once; more wait.
    pub reads_max: usize,
    /// Released records of a partition are deleted once they come to about this many bytes.
    pub reclaim_bytes: u64,
    /// Appends are refused when less than this is free on the disk, so that sealing and releasing can still go on; on a
    /// small disk an eighth of its size counts instead.
    pub disk_reserve_bytes: u64,
    /// The shortest time between two attempts to reopen the log after its storage failed.
    pub reopen_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            appends_queued_max: 1024,
            append_bytes_max: 64 << 20,
            commit_bytes_max: 4 << 20,
            write_buffer_bytes: 32 << 20,
            reads_max: 4,
            reclaim_bytes: 4 << 20,
            disk_reserve_bytes: 64 << 20,
            reopen_interval: Duration::from_millis(250),
        }
    }
}

impl Settings {
    /// Write buffers in memory at most: one being filled, two being flushed.
    pub(crate) const WRITE_BUFFERS_MAX: i32 = 3;
}
