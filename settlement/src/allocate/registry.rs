//! What counts at a cut: first registrations, latest reviews, latest policies.

use std::collections::HashMap;

use tributary_schemas::event::Verdict;
use tributary_schemas::units::Address;

use super::policy::Policies;
use super::upstream::Models;

/// A registered contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Who is paid for it.
    pub contributor: Address,
}

/// The latest review of a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// The validator of record.
    pub validator: Address,
    /// What it found.
    pub verdict: Verdict,
}

/// Everything that a fee's split looks up, as of one cut.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// The first registration of every model.
    pub models: Models,
    /// The first registration of every contribution.
    pub contributions: HashMap<Box<str>, Contribution>,
    /// The latest review of every contribution, registered or not.
    pub reviews: HashMap<Box<str>, Review>,
    /// The latest policy of every scope.
    pub policies: Policies,
}

impl Registry {
    /// The contribution and its review, if it is registered and not rejected.
    pub fn eligible(&self, contribution_id: &str) -> Option<(Contribution, Option<Review>)> {
        let contribution = self.contributions.get(contribution_id)?;
        let review = self.reviews.get(contribution_id).copied();
        let rejected = review.is_some_and(|review| review.verdict == Verdict::Rejected);
        (!rejected).then_some((*contribution, review))
    }

    /// Whether the model is registered and so is every contribution: an attributed inference of which this holds is
    /// complete.
    pub fn knows<'a>(&self, model_id: &str, mut contribution_ids: impl Iterator<Item = &'a str>) -> bool {
        self.models.find(model_id).is_some() && contribution_ids.all(|id| self.contributions.contains_key(id))
    }
}
