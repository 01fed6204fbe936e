//! What a day costs: the publisher's own bundling over batches that come evenly. All of it is checked: what is more than can be counted is
//! refused.

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

/// Batches come faster than this is never computed with.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

/// Why nothing can be said of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// The clock of the projection cannot tell the batches of a partition apart.
    #[error("each partition would seal more than a batch a microsecond")]
    Fast,
    /// Nothing closes a blob.
    #[error("{BATCHES_MAX} batches of a partition do not close a blob")]
    Unclosed,
    /// It does not fit 64 bits.
    #[error("a day has more bytes or symbols than 64 bits count")]
    Overflow,
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
    ///
    /// # Errors
    /// [`Beyond::Fast`] for batches that come one upon another.
    pub fn of_rate(events_per_second: f64, event_bytes: u32, seal: &Seal) -> Result<Self, Beyond> {
        let between = 1.0 / events_per_second;
        let open = Duration::from_millis(seal.batch_age_ms).as_secs_f64();
        let full = (f64::from(u32::try_from(seal.batch_bytes_max).unwrap_or(u32::MAX)) / f64::from(event_bytes)).floor().max(1.0);
        let events = (1.0 + open * events_per_second).floor().min(full);
        // A full batch is closed by the event that finds no room in it.
        let interval = if events < full { open + between } else { events * between };
        let body = events * f64::from(event_bytes);
        let interval = Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX);
        match interval >= INTERVAL_MIN {
            true => Ok(Self { batch_bytes: Header::BYTES.saturating_add(whole(body)), interval }),
            false => Err(Beyond::Fast),
        }
    }
}

/// What so many partitions publish on a day, each with its stream; `None` if there are none.
///
/// # Errors
/// That there is nothing to be said: [`Beyond`].
pub fn day(streams: &[(Stream, u32)], limits: &Limits) -> Result<Option<Day>, Beyond> {
    let mut sum = None;
    for (stream, partitions) in streams {
        let of_all = of_one(stream, limits)?.each(|number| number.checked_mul(u64::from(*partitions)))?;
        sum = Some(sum.unwrap_or_else(Day::default).plus(&of_all)?);
    }
    Ok(sum)
}

/// One partition's day, from the first of its blobs.
fn of_one(stream: &Stream, limits: &Limits) -> Result<Day, Beyond> {
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
                let symbols_billed = symbols_billed(payload_bytes);
                seen = seen.plus(&Day { blobs: 1, payload_bytes: payload_bytes as u64, symbols_billed })?;
                sealed.drain(..count);
            }
            Some(Bundle::Wait(remaining)) if now.saturating_add(remaining) < next => now += remaining,
            _ => {
                now = next;
                next = next.saturating_add(stream.interval);
                batches += 1;
                sealed.push_back(now);
            }
        }
    }
    if seen.blobs == 0 && batches == BATCHES_MAX {
        return Err(Beyond::Unclosed);
    }
    // What is begun counts neither with its batches nor with its time.
    let took = sealed.front().copied().unwrap_or(next);
    seen.scaled(DAY, took)
}

impl Day {
    fn plus(self, other: &Self) -> Result<Self, Beyond> {
        let plus = |a: u64, b: u64| a.checked_add(b).ok_or(Beyond::Overflow);
        Ok(Self {
            blobs: plus(self.blobs, other.blobs)?,
            payload_bytes: plus(self.payload_bytes, other.payload_bytes)?,
            symbols_billed: plus(self.symbols_billed, other.symbols_billed)?,
        })
    }

    /// What took `took`, for as long as `whole`.
    fn scaled(self, whole: Duration, took: Duration) -> Result<Self, Beyond> {
        let (whole, took) = (whole.as_micros(), took.as_micros().max(1));
        // A day has fewer microseconds than 37 bits.
        self.each(|number| u64::try_from(u128::from(number) * whole / took).ok())
    }

    fn each(self, number: impl Fn(u64) -> Option<u64>) -> Result<Self, Beyond> {
        let number = |of: u64| number(of).ok_or(Beyond::Overflow);
        Ok(Self {
            blobs: number(self.blobs)?,
            payload_bytes: number(self.payload_bytes)?,
            symbols_billed: number(self.symbols_billed)?,
        })
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
        let day = day(&[(stream(1000, 1000), 1)], &limits(2000)).unwrap().unwrap();
        assert_eq!(day, Day { blobs: 28_800, payload_bytes: 28_800 * 3031, symbols_billed: 28_800 * 4096 });
    }

    #[test]
    fn many_large_batches_fill_their_blobs_and_partitions_add_up() {
        let one = day(&[(stream(30_000, 100), 1)], &limits(60_000)).unwrap().unwrap();
        let full = one.payload_bytes * 100 / (one.symbols_billed * 31);
        assert!(full > 85, "{one:?}");
        let four = day(&[(stream(30_000, 100), 3), (stream(30_000, 100), 1)], &limits(60_000)).unwrap().unwrap();
        assert_eq!(four, one.each(|number| Some(4 * number)).unwrap());
        assert_eq!(day(&[], &limits(2000)), Ok(None));
    }

    #[test]
    fn a_batch_that_comes_once_a_day_is_billed_once_a_day() {
        let rare = day(&[(stream(1000, 24 * 60 * 60 * 1000), 1)], &limits(2000)).unwrap().unwrap();
        assert_eq!((rare.blobs, rare.symbols_billed), (1, 4096));
    }

    #[test]
    fn the_sealer_closes_batches_by_age_or_when_they_are_full() {
        let seal = Seal::default();
        let slow = Stream::of_rate(0.1, 300, &seal).unwrap();
        assert_eq!((slow.batch_bytes, slow.interval), (548, Duration::from_secs(11)));
        let usual = Stream::of_rate(100.0, 300, &seal).unwrap();
        assert_eq!((usual.batch_bytes, usual.interval.as_millis()), (248 + 101 * 300, 1010));
        let fast = Stream::of_rate(10_000.0, 300, &seal).unwrap();
        assert_eq!((fast.batch_bytes, fast.interval.as_millis()), (248 + 900_000, 300));
    }

    #[test]
    fn what_is_more_than_can_be_computed_is_refused_for_what_it_is() {
        let seal = Seal::default();
        for (rate, bytes, refused) in [(1e9, u32::MAX, true), (1e9, 300, false), (4e5, 900_000, false), (2e6, 900_000, true)] {
            let seen = Stream::of_rate(rate, bytes, &seal);
            assert_eq!(seen.err(), refused.then_some(Beyond::Fast), "{rate} events of {bytes} bytes");
        }
        let fast = Stream { batch_bytes: u32::MAX as usize, interval: INTERVAL_MIN };
        assert_eq!(day(&[(fast, 4)], &limits(2000)), Err(Beyond::Overflow));
        assert_eq!(day(&[(fast, u32::MAX)], &limits(u64::MAX)), Err(Beyond::Overflow));
    }

    #[test]
    fn the_rarest_and_the_most_patient_arguments_overflow_nothing() {
        let slow = Seal { batch_age_ms: u64::MAX, ..Seal::default() };
        let one = Stream::of_rate(0.000_1 / 4096.0, 1, &slow).unwrap();
        assert!(one.interval > Duration::from_secs(1_000_000), "{one:?}");
        let day = day(&[(one, 4096)], &limits(u64::MAX)).unwrap().unwrap();
        assert_eq!(day.blobs, 0, "nothing is closed within a day");
    }
}
