//! What is sent: the flywheel again and again, each time with other ids, in requests that know what they hold.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::input::Recording;

/// Events of one request.
pub const REQUEST_EVENTS: usize = 500;
/// Events that are made ready at once while others are sent.
const AHEAD_EVENTS: usize = 50_000;
/// How often that is done ahead.
const AHEAD_MAX: usize = 1;

/// A request ready to be sent.
pub struct Request {
    /// NDJSON.
    pub body: Bytes,
    /// Its lines.
    pub events: u64,
    /// Of them those whose event is in no line before.
    pub distinct: u64,
}

/// Gives requests, never the same event in two turns.
pub struct Supply {
    recording: Arc<Recording>,
    next_round: u32,
}

impl Supply {
    /// Gives what was recorded.
    pub fn new(recording: Recording) -> Self {
        Self { recording: Arc::new(recording), next_round: 0 }
    }

    /// The next requests, with so many events together.
    pub fn take(&mut self, events: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut left = events;
        while left > 0 {
            let lines: Vec<_> = self.recording.round(self.next_round).take(left).collect();
            self.next_round += 1;
            left -= lines.len();
            requests.extend(lines.chunks(REQUEST_EVENTS).map(Request::of));
        }
        requests
    }

    /// Gives requests for as long as they are wanted, made ready on another thread.
    pub fn ahead(mut self) -> mpsc::Receiver<Vec<Request>> {
        let (ahead, requests) = mpsc::channel(AHEAD_MAX);
        tokio::task::spawn_blocking(move || while ahead.blocking_send(self.take(AHEAD_EVENTS)).is_ok() {});
        requests
    }
}

impl Request {
    fn of(lines: &[(Vec<u8>, bool)]) -> Self {
        let body = lines.iter().map(|(line, _)| line.as_slice()).collect::<Vec<_>>().concat();
        let distinct = lines.iter().filter(|(_, is_first)| *is_first).count() as u64;
        Self { body: body.into(), events: lines.len() as u64, distinct }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn supply() -> Supply {
        let line = |id: u8| format!("{{\"source\":\"urn:a\",\"id\":\"{id:08x}-0000-4000-8000-000000000000\"}}\n");
        let text = [line(1), line(2), line(1), line(3)].concat();
        Supply::new(Recording::of(text.into_bytes()).unwrap())
    }

    #[test]
    fn a_turn_gives_as_many_events_as_asked_for_and_knows_the_distinct_ones() {
        let mut supply = supply();
        let sums = |requests: Vec<Request>| {
            requests.iter().fold((0, 0), |(events, distinct), r| (events + r.events, distinct + r.distinct))
        };
        assert_eq!(sums(supply.take(3)), (3, 2));
        assert_eq!(sums(supply.take(7)), (7, 5));
    }

    #[test]
    fn no_two_turns_give_the_same_event() {
        let mut supply = supply();
        let (first, second) = (supply.take(1), supply.take(1));
        assert_ne!(first[0].body, second[0].body);
    }
}
