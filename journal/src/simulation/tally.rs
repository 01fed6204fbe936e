//! What happened in one or more worlds.

use super::gaps::Gap;

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) deaths: u64,
    pub(crate) ends: u64,
    pub(crate) holds: u64,
    pub(crate) fenced: u64,
    pub(crate) retries: u64,
    pub(crate) duplicates: u64,
    pub(crate) conflicts: u64,
    pub(crate) batches: u64,
    pub(crate) events: u64,
    /// Gaps between log and journal, in the order of [`Gap::ALL`].
    pub(crate) gaps: [u64; Gap::ALL.len()],
    /// Gaps that were accepted.
    pub(crate) accepted: u64,
    /// Those behind which events were sealed.
    pub(crate) passed: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.deaths += other.deaths;
        self.ends += other.ends;
        self.holds += other.holds;
        self.fenced += other.fenced;
        self.retries += other.retries;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.batches += other.batches;
        self.events += other.events;
        for (count, other) in self.gaps.iter_mut().zip(other.gaps) {
            *count += other;
        }
        self.accepted += other.accepted;
        self.passed += other.passed;
    }
}
