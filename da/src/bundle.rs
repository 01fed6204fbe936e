//! Which of the batches that wait make the next blob.
//!
//! A blob is billed by the power of two of symbols that it fills, and for 4,096 of them at least. So payloads of (2^k − 1) · 31 bytes
//! cost the least for a byte, and one byte more costs twice as much. A pure function decides; what it decides becomes a plan.

use std::time::Duration;

use eigenda_client::Domain;

use crate::blob;

/// A sealed batch without a blob yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its encoded length in bytes.
    pub bytes: usize,
    /// How long ago it was sealed.
    pub age: Duration,
}

/// When a blob is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// No payload is larger, but for that of a single batch which exceeds it alone.
    pub payload_bytes_max: usize,
    /// No batch waits longer.
    pub age_max: Duration,
}

/// What is to be done with the batches that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// So many of them make a blob now, the first ones, at least one.
    Close(usize),
    /// None yet; the first has reached its age after this time.
    Wait(Duration),
}

/// Decides over the batches that wait, which are in their order and at least one. The **run** is what of them fits one blob: the longest
/// beginning that `limits` allow.
///
/// A blob is closed if the next batch does not fit, if one of the run is too old, or if it is `ripe` for another reason. It takes those
/// of the run up to the last that is too old, at least one; and beyond them as many as give the fewest billed symbols for a byte of
/// batches. Of several such ends the last counts.
pub fn bundle(waiting: &[Waiting], limits: &Limits, ripe: bool) -> Bundle {
    let run = run(waiting, limits.payload_bytes_max);
    let too_old = waiting[..run].iter().rposition(|batch| batch.age >= limits.age_max).map(|last| last + 1);
    let is_full = run < waiting.len() || payload_bytes(&waiting[..run]) >= limits.payload_bytes_max;
    if too_old.is_none() && !is_full && !ripe {
        let oldest = waiting[..run].iter().map(|batch| batch.age).max().unwrap_or_default();
        return Bundle::Wait(limits.age_max.saturating_sub(oldest));
    }
    let mut best = (too_old.unwrap_or(1), Cost::of(&waiting[..too_old.unwrap_or(1)]));
    for end in best.0 + 1..=run {
        let cost = Cost::of(&waiting[..end]);
        if !best.1.is_less_than(&cost) {
            best = (end, cost);
        }
    }
    Bundle::Close(best.0)
}

/// For how many symbols a payload of this size is billed.
pub fn symbols_billed(payload_bytes: usize) -> u64 {
    // What no blob holds is never sent; so it costs more than anything.
    Domain::of_payload(payload_bytes).map_or(u64::from(u32::MAX), |domain| u64::from(domain.symbols_billed()))
}

/// How many of the batches fit one blob: at least one.
fn run(waiting: &[Waiting], payload_bytes_max: usize) -> usize {
    assert!(!waiting.is_empty(), "somebody waits: the publisher never bundles nothing");
    let mut bytes = payload_bytes(&[]);
    let fit = waiting.iter().take_while(|batch| {
        bytes = bytes.saturating_add(batch.bytes);
        bytes <= payload_bytes_max
    });
    fit.count().max(1)
}

fn payload_bytes(batches: &[Waiting]) -> usize {
    blob::payload_bytes(batches.iter().map(|batch| batch.bytes))
}

/// What a blob costs, and for how much.
#[derive(Clone, Copy)]
struct Cost {
    symbols: u64,
    bytes: u64,
}

impl Cost {
    fn of(batches: &[Waiting]) -> Self {
        let bytes = batches.iter().fold(0, |sum: u64, batch| sum.saturating_add(batch.bytes as u64));
        Self { symbols: symbols_billed(payload_bytes(batches)), bytes }
    }

    /// Whether a byte is cheaper.
    fn is_less_than(&self, other: &Self) -> bool {
        u128::from(self.symbols) * u128::from(other.bytes) < u128::from(other.symbols) * u128::from(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGE_MAX: Duration = Duration::from_secs(2);
    /// The largest payload of 4,096 symbols, and of 32,768.
    const FULL_12: usize = 4095 * 31;
    const FULL_15: usize = 32_767 * 31;

    fn limits(payload_bytes_max: usize) -> Limits {
        Limits { payload_bytes_max, age_max: AGE_MAX }
    }

    /// Batches of these sizes, of which the first so many are too old.
    fn batches(bytes: &[usize], old: usize) -> Vec<Waiting> {
        let age = |at: usize| if at < old { AGE_MAX } else { AGE_MAX / 2 };
        bytes.iter().enumerate().map(|(at, bytes)| Waiting { bytes: *bytes, age: age(at) }).collect()
    }

    fn closes(bytes: &[usize], old: usize) -> Bundle {
        bundle(&batches(bytes, old), &limits(FULL_15), false)
    }

    #[test]
    fn young_batches_wait_for_company_as_long_as_there_is_room() {
        assert_eq!(closes(&[1000, 1000], 0), Bundle::Wait(AGE_MAX / 2));
        assert_eq!(closes(&[1000, 1000], 1), Bundle::Close(2), "who is young goes with the old for nothing");
        assert_eq!(closes(&[FULL_15 - 31], 0), Bundle::Close(1), "it is full to the byte");
        assert_eq!(closes(&[FULL_15 - 32], 0), Bundle::Wait(AGE_MAX / 2));
        assert_eq!(closes(&[600_000, 600_000], 0), Bundle::Close(1), "the second does not fit");
        let ripe = bundle(&batches(&[1000, 1000], 0), &limits(FULL_15), true);
        assert_eq!(ripe, Bundle::Close(2));
    }

    #[test]
    fn a_blob_ends_where_a_byte_costs_the_least() {
        let small = FULL_12 - 31 - 100_000;
        assert_eq!(symbols_billed(FULL_12), 4096);
        assert_eq!(symbols_billed(FULL_12 + 1), 8192);
        assert_eq!(closes(&[100_000, small, 300], 1), Bundle::Close(2), "one byte more would double the bill");
        assert_eq!(closes(&[100_000, small, 300], 3), Bundle::Close(3), "but nobody waits longer than that");
        assert_eq!(closes(&[100_000, small, 300, FULL_12 - 1000], 1), Bundle::Close(2));
        assert_eq!(closes(&[100_000, 40_000, 100_000], 1), Bundle::Close(3), "the second size is better filled");
    }

    #[test]
    fn of_ends_that_cost_the_same_the_last_counts() {
        // 4,096 symbols for 100,000 bytes, and 8,192 for twice as many.
        assert_eq!(closes(&[100_000, 100_000], 1), Bundle::Close(2));
    }

    #[test]
    fn a_batch_that_fits_no_blob_makes_one_of_its_own() {
        let all = batches(&[5000, 10, 10], 0);
        assert_eq!(bundle(&all, &limits(4096), false), Bundle::Close(1));
        assert_eq!(bundle(&batches(&[usize::MAX, usize::MAX], 0), &limits(4096), false), Bundle::Close(1));
    }

    fn some_batches() -> impl Strategy<Value = Vec<Waiting>> {
        let bytes = prop_oneof![248_usize..2000, 248_usize..200_000, Just(FULL_12 - 31), Just(FULL_12 - 30)];
        let batch = (bytes, 0_u64..3000).prop_map(|(bytes, age)| Waiting { bytes, age: Duration::from_millis(age) });
        prop::collection::vec(batch, 1..60)
    }

    proptest! {
        #[test]
        fn blob_after_blob_takes_every_batch_in_its_order(all in some_batches(), max in 1000_usize..FULL_15) {
            let (mut rest, mut blobs) = (&all[..], Vec::new());
            while !rest.is_empty() {
                let Bundle::Close(count) = bundle(rest, &limits(max), true) else { panic!("it is ripe") };
                prop_assert!(count >= 1);
                let (blob, after) = rest.split_at(count);
                blobs.extend_from_slice(blob);
                rest = after;
            }
            prop_assert_eq!(blobs, all);
        }

        #[test]
        fn no_payload_is_too_large_but_that_of_a_single_batch(all in some_batches(), max in 1000_usize..FULL_15, ripe: bool) {
            if let Bundle::Close(count) = bundle(&all, &limits(max), ripe) {
                prop_assert!(count == 1 || payload_bytes(&all[..count]) <= max);
            }
        }

        #[test]
        fn whoever_is_too_old_is_taken_unless_there_is_no_room(all in some_batches(), max in 1000_usize..FULL_15, ripe: bool) {
            let old = |batches: &[Waiting]| batches.iter().rposition(|batch| batch.age >= AGE_MAX);
            match bundle(&all, &limits(max), ripe) {
                Bundle::Close(count) => {
                    let fits = |end: &usize| payload_bytes(&all[..=*end]) <= max;
                    let left = (count..all.len()).filter(fits).any(|end| all[end].age >= AGE_MAX);
                    prop_assert!(!left, "there was room for another that is too old: {count}");
                }
                Bundle::Wait(remaining) => {
                    prop_assert_eq!(old(&all), None);
                    prop_assert!(!remaining.is_zero());
                }
            }
        }

        #[test]
        fn a_byte_costs_no_more_than_at_any_other_end_that_is_allowed(all in some_batches(), max in 1000_usize..FULL_15) {
            let Bundle::Close(count) = bundle(&all, &limits(max), true) else { panic!("it is ripe") };
            let fits = (1..=all.len()).take_while(|end| *end == 1 || payload_bytes(&all[..*end]) <= max).count();
            let least = all[..fits].iter().rposition(|batch| batch.age >= AGE_MAX).map_or(1, |last| last + 1);
            let bytes = |end: usize| all[..end].iter().map(|batch| batch.bytes as u128).sum::<u128>();
            let symbols = |end: usize| u128::from(symbols_billed(payload_bytes(&all[..end])));
            for end in least..=fits {
                prop_assert!(symbols(count) * bytes(end) <= symbols(end) * bytes(count), "{end} is cheaper than {count}");
            }
        }
    }
}
