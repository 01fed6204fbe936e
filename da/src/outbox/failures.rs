//! Attempts that were or may be paid for and gave nothing, and how long the next one waits.

use std::fmt;
use std::time::Duration;

use tributary_schemas::ids::Timestamp;

use super::after;

/// Between so many attempts there is no pause yet.
const AT_ONCE: u32 = 2;
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// Attempts at one payload that gave nothing and may be billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    times: u32,
    /// When the last of them ended.
    last: Option<Timestamp>,
}

impl Failures {
    pub(super) fn is_none(&self) -> bool {
        self.times == 0
    }

    /// And so many more, the last of which ended at this time.
    pub(super) fn and(self, more: usize, ended: Timestamp) -> Self {
        match u32::try_from(more).unwrap_or(u32::MAX) {
            0 => self,
            more => Self { times: self.times.saturating_add(more), last: self.last.max(Some(ended)) },
        }
    }

    /// As they are first seen now: what a clock that was ahead noted ended by now. Whoever keeps this waits no longer than the whole pause.
    pub(super) fn seen_at(self, now: Timestamp) -> Self {
        Self { last: self.last.min(Some(now)), ..self }
    }

    /// When the next attempt may be made.
    pub(super) fn pause_until(&self, pause_max: Duration) -> Option<Timestamp> {
        let doublings = self.times.checked_sub(AT_ONCE)?;
        let pause = PAUSE_MIN.saturating_mul(1 << doublings.min(20)).min(pause_max);
        Some(after(self.last?, pause))
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempts", self.times)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONGEST: Duration = Duration::from_secs(600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).unwrap()
    }

    #[test]
    fn pauses_double_after_the_first_attempts_up_to_the_longest() {
        let mut failures = Failures::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let until = failures.pause_until(LONGEST);
            pauses.push(until.map(|until| (until.micros() - at(1_000).micros()) / 1_000_000));
            failures = failures.and(1, at(1_000));
        }
        let expected = [0, 0, 5, 10, 20, 40, 80, 160, 320, 600, 600, 600].map(|pause| (pause > 0).then_some(pause));
        assert_eq!(pauses, expected);
        assert_eq!(Failures::default().and(usize::MAX, at(1)).pause_until(LONGEST), Some(at(601)));
    }

    #[test]
    fn a_clock_ahead_lengthens_no_pause_and_what_ended_first_counts_no_less() {
        let failures = Failures::default().and(2, at(5_000));
        assert_eq!(failures.seen_at(at(1_000)).pause_until(LONGEST), Some(at(1_005)));
        assert_eq!(failures.and(1, at(10)).seen_at(at(9_000)).pause_until(LONGEST), Some(at(5_010)), "10 s after the later end");
        assert_eq!(Failures::default().seen_at(at(1)).pause_until(LONGEST), None);
    }
}
