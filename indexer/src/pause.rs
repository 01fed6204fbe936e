//! How long to wait before something is tried again.

use std::time::Duration;

/// A pause that doubles with every failure from a hundredth of the longest, at random between half and the whole of that:
/// writers that failed together do not meet again.
pub(crate) fn jittered(longest: Duration, failures: u32) -> Duration {
    const DOUBLINGS_MAX: u32 = 7;
    let whole = (longest / 100) * (1 << failures.min(DOUBLINGS_MAX));
    let whole = whole.min(longest);
    let chance = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    whole / 2 + whole / 2 * chance / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_never_longer_than_the_longest_and_differ() {
        let longest = Duration::from_secs(1);
        for failures in [0, 1, 5, 7, 8, u32::MAX] {
            let whole = (longest / 100 * 2_u32.pow(failures.min(7))).min(longest);
            let pauses: Vec<Duration> = (0..100).map(|_| jittered(longest, failures)).collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{failures}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{failures}: {pauses:?}");
        }
        assert_eq!(jittered(Duration::ZERO, 3), Duration::ZERO);
    }
}
