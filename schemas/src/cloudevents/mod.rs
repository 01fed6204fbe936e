//! One event as CloudEvents 1.0 JSON: what producers send and what readers are shown.
//!
//! The parser pulls: it looks at each byte once, keeps nothing but the values, and stops at the first mistake. Numbers are read
//! from their text, never through a float, so counts and scores are exact. A mistake in JSON itself wins over every other.

mod data;
mod envelope;
mod fields;
mod write;

#[cfg(test)]
mod tests;

use crate::event::Draft;
use crate::ids::Timestamp;
use crate::limits::{LIVE_FUTURE_MICROS, LIVE_PAST_MICROS};
use crate::refusal::{Code, Refusal};

pub use envelope::{id_of, parse};
pub use write::{data_json, to_json};

/// Checks that a live event's time lies within [now − 7 days, now + 5 minutes], both ends included.
pub fn check_window(draft: &Draft, now: Timestamp) -> Result<(), Refusal> {
    let ahead = draft.time.micros() - now.micros();
    let problem = if ahead < -LIVE_PAST_MICROS {
        format!("is more than 7 days before now ({now}): send old events with a backfill grant")
    } else if ahead > LIVE_FUTURE_MICROS {
        format!("is more than 5 minutes after now ({now}): set the producer's clock")
    } else {
        return Ok(());
    };
    Err(Refusal::at(Code::TimeOutOfWindow, "time", problem))
}
