//! What a day costs: the publisher's own bundling over batches that come evenly.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tributary_da::blob;
use tributary_da::bundle::{Bundle, Waiting, bundle, symbols_billed};
use tributary_journal::header::Header;

use crate::config::Seal;

pub use tributary_da::bundle::Limits;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// So many blobs of a partition stand for all of its day.
const BLOBS_MAX: u64 = 200;
/// And they are made of so many batches at most.
const BATCHES_MAX: u64 = 50_000;

/// The batches of one partition, all alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    /// The length of each, with its header.
    pub batch_bytes: usize,
    /// From one to the next.
    pub interval: Duration,
}

/// What is published on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Day {
    /// Blobs.
    pub blobs: u64,
    /// The bytes of their payloads.
    pub payload_bytes: u64,
    /// The symbols that they are billed for.
    pub symbols_billed: u64,
}

impl Stream {
    /// As the sealer makes them from so many events a second: a batch begins with an event, and ends at its age, or when it is full.
    pub fn of_rate(events_per_second: f64, event_bytes: u32, seal: &Seal) -> Self {
        let between = 1.0 / events_per_second;
        let open = Duration::from_millis(seal.batch_age_ms).as_secs_f64();
        let full = (f64::from(u32::try_from(seal.batch_bytes_max).unwrap_or(u32::MAX)) / f64::from(event_bytes)).floor().max(1.0);
        let events = (1.0 + open * events_per_second).floor().min(full);
        // A full batch is closed by the event that finds no room in it.
        let interval = if events < full { open + between } else { events * between };
        let body = events * f64::from(event_bytes);
        Self {
            batch_bytes: Header::BYTES + whole(body),
            interval: Duration::from_secs_f64(interval).max(Duration::from_micros(1)),
        }
    }
}

/// What so many partitions publish on a day, each with its stream; `None` if there are none.
pub fn day(streams: &[(Stream, u32)], limits: &Limits) -> Option<Day> {
    let days = streams.iter().map(|(stream, partitions)| of_one(stream, limits).times(u64::from(*partitions)));
    days.reduce(|a, b| Day {
        blobs: a.blobs + b.blobs,
        payload_bytes: a.payload_bytes + b.payload_bytes,
        symbols_billed: a.symbols_billed + b.symbols_billed,
    })
}

/// One partition's day, from the first of its blobs.
fn of_one(stream: &Stream, limits: &Limits) -> Day {
    let mut seen = Day::default();
    let (mut now, mut next, mut batches) = (Duration::ZERO, Duration::ZERO, 0);
    let mut sealed: VecDeque<Duration> = VecDeque::new();
    while seen.blobs < BLOBS_MAX && batches < BATCHES_MAX && now < DAY {
        let waiting: Vec<Waiting> =
            sealed.iter().map(|at| Waiting { bytes: stream.batch_bytes, age: now.saturating_sub(*at) }).collect();
        let decided = if waiting.is_empty() { None } else { Some(bundle(&waiting, limits, false)) };
        match decided {
            Some(Bundle::Close(count)) => {
                let payload_bytes = blob::payload_bytes((0..count).map(|_| stream.batch_bytes));
                seen.blobs += 1;
                seen.payload_bytes += payload_bytes as u64;
                seen.symbols_billed += symbols_billed(payload_bytes);
                sealed.drain(..count);
            }
            Some(Bundle::Wait(remaining)) if now + remaining < next => now += remaining,
            _ => {
                now = next;
                next += stream.interval;
                batches += 1;
                sealed.push_back(now);
            }
        }
    }
    // What is begun counts neither with its batches nor with its time.
    let took = sealed.front().copied().unwrap_or(next);
    seen.scaled(DAY, took)
}

impl Day {
    fn times(self, times: u64) -> Self {
        Self { blobs: self.blobs * times, payload_bytes: self.payload_bytes * times, symbols_billed: self.symbols_billed * times }
    }

    /// What took `took`, for as long as `whole`.
    fn scaled(self, whole: Duration, took: Duration) -> Self {
        let (whole, took) = (whole.as_micros(), took.as_micros().max(1));
        let scale = |number: u64| u64::try_from(u128::from(number) * whole / took).unwrap_or(u64::MAX);
        Self { blobs: scale(self.blobs), payload_bytes: scale(self.payload_bytes), symbols_billed: scale(self.symbols_billed) }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes below that of a batch")]
fn whole(bytes: f64) -> usize {
    bytes as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits(age_ms: u64) -> Limits {
        Limits { payload_bytes_max: tributary_da::settings::PAYLOAD_BYTES_LIMIT, age_max: Duration::from_millis(age_ms) }
    }

    fn stream(batch_bytes: usize, interval_ms: u64) -> Stream {
        Stream { batch_bytes, interval: Duration::from_millis(interval_ms) }
    }

    #[test]
    fn a_batch_each_second_and_blobs_after_two_make_a_blob_of_three_batches_every_three_seconds() {
        let day = day(&[(stream(1000, 1000), 1)], &limits(2000)).unwrap();
        assert_eq!(day, Day { blobs: 28_800, payload_bytes: 28_800 * 3031, symbols_billed: 28_800 * 4096 });
    }

    #[test]
    fn many_large_batches_fill_their_blobs_and_partitions_add_up() {
        let one = day(&[(stream(30_000, 100), 1)], &limits(60_000)).unwrap();
        let full = one.payload_bytes * 100 / (one.symbols_billed * 31);
        assert!(full > 85, "{one:?}");
        let four = day(&[(stream(30_000, 100), 3), (stream(30_000, 100), 1)], &limits(60_000)).unwrap();
        assert_eq!(four, one.times(4));
        assert_eq!(day(&[], &limits(2000)), None);
    }

    #[test]
    fn a_batch_that_comes_once_a_day_is_billed_once_a_day() {
        let rare = day(&[(stream(1000, 24 * 60 * 60 * 1000), 1)], &limits(2000)).unwrap();
        assert_eq!((rare.blobs, rare.symbols_billed), (1, 4096));
    }

    #[test]
    fn the_sealer_closes_batches_by_age_or_when_they_are_full() {
        let seal = Seal::default();
        let slow = Stream::of_rate(0.1, 300, &seal);
        assert_eq!((slow.batch_bytes, slow.interval), (548, Duration::from_secs(11)));
        let usual = Stream::of_rate(100.0, 300, &seal);
        assert_eq!((usual.batch_bytes, usual.interval.as_millis()), (248 + 101 * 300, 1010));
        let fast = Stream::of_rate(10_000.0, 300, &seal);
        assert_eq!((fast.batch_bytes, fast.interval.as_millis()), (248 + 900_000, 300));
    }
}
