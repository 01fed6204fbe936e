//! The limits of the door.

use std::time::Duration;

use tributary_schemas::limits::{REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX};
use tributary_schemas::units::Name;

/// What one request may be, how many there may be at once, and how long they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who sends, as the record names it while nobody is authenticated.
    pub producer: Name,
    /// Whether the time of an event must lie within seven days before and five minutes after now.
    pub time_window: bool,
    /// The largest request after decompression, and the largest before it.
    pub request_bytes_max: usize,
    /// The most events in a request.
    pub request_events_max: usize,
    /// The bytes of all requests under way together; a request that would exceed it is refused with 503.
    pub in_flight_bytes_max: usize,
    /// Requests under way at once; more are refused with 503.
    pub in_flight_requests_max: usize,
    /// Blocks of events parsed at once, over all requests: as many as there are cores.
    pub parsers_max: usize,
    /// How long a sender may be silent in the middle of a request.
    pub body_idle_timeout: Duration,
    /// How long a request may take to arrive.
    pub body_timeout: Duration,
    /// How long the log may take to make a request durable.
    pub append_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            producer: Name::parse("dev").expect("`dev` is a name"),
            time_window: false,
            request_bytes_max: REQUEST_BYTES_MAX,
            request_events_max: REQUEST_EVENTS_MAX,
            in_flight_bytes_max: 128 << 20,
            in_flight_requests_max: 64,
            parsers_max: std::thread::available_parallelism().map_or(2, usize::from),
            body_idle_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            append_timeout: Duration::from_secs(30),
        }
    }
}
