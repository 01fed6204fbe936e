//! What an operator can set.

use std::time::Duration;

/// The largest payload that the shipped points commit to: (2^15 − 1) · 31 bytes, so that with its header symbol it fills 2^15
/// symbols. One byte more would double the size that is paid for.
pub const PAYLOAD_BYTES_LIMIT: usize = ((1 << 15) - 1) * 31;
/// The largest payload that EigenDA takes: (2^19 − 1) · 31 bytes. Commitments to it need EigenDA's whole file of points.
pub const PAYLOAD_BYTES_MAX: usize = eigenda_client::payload::PAYLOAD_BYTES_MAX;
/// The most blobs that a publisher may be told to have under way at once.
pub const BLOBS_IN_FLIGHT_LIMIT: usize = 256;

/// How blobs are bundled and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A blob is closed before its payload would exceed this many bytes; at most what the backend takes
    /// ([`crate::DaClient::payload_bytes_max`]), which also holds where this is set higher. A single batch that exceeds it alone
    /// makes a blob of its own.
    pub blob_bytes_max: usize,
    /// A blob is closed when its first batch was sealed this long ago.
    pub blob_age_max: Duration,
    /// While set, nothing is planned, dispersed or certified, so nothing new becomes available.
    pub paused: bool,
    /// How many blobs are under way at once, over all partitions, at most [`BLOBS_IN_FLIGHT_LIMIT`]; one partition may use them all.
    /// Each holds its payload twice in memory at most: the batches it is made of, later what is read back, beside the payload itself.
    pub blobs_in_flight_max: usize,
    /// How often one operation of a store or backend is tried before the failure is reported.
    pub attempts_max: u32,
    /// The pause before the second try; it doubles up to [`Self::backoff_max`]. Each pause is jittered over its upper half.
    pub backoff_min: Duration,
    /// The longest pause between tries.
    pub backoff_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            blob_bytes_max: PAYLOAD_BYTES_LIMIT,
            blob_age_max: Duration::from_secs(2),
            paused: false,
            blobs_in_flight_max: 16,
            attempts_max: 8,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(5),
        }
    }
}
