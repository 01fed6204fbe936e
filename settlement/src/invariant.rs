//! The invariants of ARCHITECTURE.md that `verify` checks, by their IDs.

use std::fmt;

use crate::error::{Difference, SettlementError};

/// An invariant; ARCHITECTURE.md says in words what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Batches are numbered without a gap and chained.
    J1,
    /// Root, body hash and header hash cover every byte of a batch.
    J3,
    /// No identity twice within the window.
    J4,
    /// A list of identities is that of its batch.
    J5,
    /// Blobs tile the sequence of their partition.
    D1,
    /// What is fetched is what was certified.
    D2,
    /// Manifests are chained and hold what is recorded of their epochs.
    D3,
    /// A row of a batch is in its table once.
    T1,
    /// The rewards of an epoch add up to its fees.
    S1,
    /// An inference is settled once.
    S2,
    /// Everything about an epoch follows from its record and the batches.
    S3,
}

impl Invariant {
    /// Every invariant of which `verify` can find that it is broken.
    pub const CHECKED: [Self; 11] =
        [Self::J1, Self::J3, Self::J4, Self::J5, Self::D1, Self::D2, Self::D3, Self::T1, Self::S1, Self::S2, Self::S3];

    /// The difference by which this invariant is broken.
    pub(crate) fn broken(self, object: impl Into<String>, what: impl Into<String>) -> SettlementError {
        SettlementError::difference(object, format!("{self}: {}", what.into()))
    }

    /// Names this invariant in a difference that names none yet, such as a stage before found. Other errors stay as they
    /// are.
    pub(crate) fn name_in(self, error: SettlementError) -> SettlementError {
        match error {
            SettlementError::Difference(difference) if !Self::is_named_in(&difference) => {
                self.broken(difference.object, difference.what)
            }
            other => other,
        }
    }

    fn is_named_in(difference: &Difference) -> bool {
        Self::CHECKED.iter().any(|id| difference.what.starts_with(&format!("{id}: ")))
    }
}

/// The ID.
impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_are_those_that_the_map_says_verify_checks() {
        let map = include_str!("../../ARCHITECTURE.md");
        let rows = map.lines().skip_while(|line| !line.starts_with("| ID | invariant |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
        let checked: Vec<String> = cells
            .filter(|cells| cells.last().is_some_and(|checks| checks.contains("`verify`")))
            .map(|cells| cells[0].to_owned())
            .collect();
        assert_eq!(checked, Invariant::CHECKED.map(|id| id.to_string()));
    }

    #[test]
    fn a_difference_names_one_invariant_and_the_first_stays() {
        let error = Invariant::S3.name_in(Invariant::J4.broken("batch", "repeats"));
        assert_eq!(error.to_string(), "batch: J4: repeats");
        let error = Invariant::D2.name_in(SettlementError::difference("blob", "differs"));
        assert_eq!(error.to_string(), "blob: D2: differs");
        assert!(matches!(Invariant::D2.name_in(SettlementError::Closed), SettlementError::Closed));
    }
}
