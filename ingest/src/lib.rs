//! The door: where events enter over HTTP.
//!
//! **Takes** requests with one event, an array of events, or one event per line, plain or compressed.
//! **Gives** the event log one record per valid event, and the sender an answer that names every event that was refused.
//! **Promise**: an event that the answer counts as accepted is durable. Memory is bounded by the settings, whatever is sent:
//! an event leaves its JSON behind as soon as it has been parsed, and a request that finds no room is refused at once.
//! **On failure**: a [`DoorError`], as `application/problem+json` with a stable code; what cannot be framed is refused
//! whole, and nothing of it is recorded. Sending the same request again is always safe.

pub mod admission;
mod body;
pub mod door;
pub mod error;
mod framing;
pub mod guard;
pub mod http;
pub mod media;
pub mod metrics;
mod parse;
pub mod settings;

pub use door::{Answer, Door, Rejected};
pub use error::DoorError;
pub use metrics::Metrics;
pub use settings::Settings;
