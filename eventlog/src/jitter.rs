//! Chance in the lengths of waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Chance for the lengths of waits, so that those who failed together do not come back together. It is passed in, so that a
/// test can own it; the default is the machine's.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    /// Chance from a function that gives shares from 0 to 1.
    pub fn new(share: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(share))
    }

    /// A length from `least` to `most`; `least` if that is the longer one.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        let share = (self.0)();
        assert!((0.0..=1.0).contains(&share), "a share lies between 0 and 1, which {share} does not");
        least + most.saturating_sub(least).mul_f64(share)
    }

    /// How long to wait before something is asked or tried again: from half of `longest` to the whole.
    pub fn pause(&self, longest: Duration) -> Duration {
        self.between(longest / 2, longest)
    }
}

impl Default for Jitter {
    fn default() -> Self {
        Self::new(|| rand::random_range(0.0..=1.0))
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_lies_between_its_ends_and_reaches_both() {
        let (least, most) = (Duration::from_millis(20), Duration::from_millis(100));
        assert_eq!(Jitter::new(|| 0.0).between(least, most), least);
        assert_eq!(Jitter::new(|| 1.0).between(least, most), most);
        assert_eq!(Jitter::new(|| 0.5).between(most, least), most, "the longer end alone is left");
        let chance = Jitter::default();
        assert!((0..100).all(|_| (least..=most).contains(&chance.between(least, most))));
    }

    #[test]
    fn a_pause_lasts_half_of_the_longest_at_least_and_the_whole_at_most() {
        let longest = Duration::from_millis(250);
        assert_eq!(Jitter::new(|| 0.0).pause(longest), longest / 2);
        assert_eq!(Jitter::new(|| 1.0).pause(longest), longest);
    }
}
