//! Chance that can be had again: everything random in a test follows from one printed seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// The seed that a run is to be repeated with, `TRIBUTARY_E2E_SEED`.
pub fn named_seed() -> Option<u64> {
    std::env::var("TRIBUTARY_E2E_SEED").ok().and_then(|seed| seed.parse().ok())
}

/// A source of chance.
pub struct Chance(SmallRng);

impl Chance {
    /// The chance of this seed.
    pub fn of(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    /// A duration up to `longest`.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.0.random_range(0.0..=1.0))
    }

    /// One of them.
    pub fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.0.random_range(0..items.len())]
    }

    /// Any order of them.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.0);
    }
}
