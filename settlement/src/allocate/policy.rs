//! How a fee is split over the roles.

use std::collections::HashMap;

use tributary_schemas::event::{PolicySet, SplitBps};
use tributary_schemas::units::Bps;

/// The scope whose policy holds for models that have none of their own.
pub const GLOBAL: &str = "global";

/// A split of fees and the share that models pass upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Contributors, model, node, validators, protocol, in basis points; they add up to 10000.
    pub split_bps: [u16; 5],
    /// What a model passes on to its parents, in basis points of what reached it.
    pub upstream_bps: u16,
}

impl Policy {
    /// The policy where nobody set one.
    pub const DEFAULT: Self = Self { split_bps: [6000, 2000, 1000, 500, 500], upstream_bps: 3000 };

    /// `None` if the split does not add up to 10000 or a share is above it.
    pub fn new(split_bps: [u16; 5], upstream_bps: u16) -> Option<Self> {
        let sum: u32 = split_bps.iter().map(|bps| u32::from(*bps)).sum();
        (sum == u32::from(Bps::WHOLE) && upstream_bps <= Bps::WHOLE).then_some(Self { split_bps, upstream_bps })
    }
}

impl From<&PolicySet> for Policy {
    fn from(set: &PolicySet) -> Self {
        let SplitBps { contributors, model, node, validators, protocol } = set.split_bps;
        Self { split_bps: [contributors, model, node, validators, protocol].map(Bps::get), upstream_bps: set.upstream_bps.get() }
    }
}

/// The latest policy of every scope.
#[derive(Clone, Debug, Default)]
pub struct Policies(HashMap<Box<str>, Policy>);

impl Policies {
    /// The policy of this scope from now on.
    pub fn set(&mut self, scope: &str, policy: Policy) {
        self.0.insert(scope.into(), policy);
    }

    /// The policy for an inference of this model: its own, else the global one, else the default.
    pub fn of_model(&self, model_id: &str) -> Policy {
        self.0.get(model_id).or_else(|| self.0.get(GLOBAL)).copied().unwrap_or(Policy::DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_models_own_policy_comes_before_the_global_one_and_that_before_the_default() {
        let mut policies = Policies::default();
        assert_eq!(policies.of_model("m"), Policy::DEFAULT);
        let global = Policy::new([10_000, 0, 0, 0, 0], 0).unwrap();
        policies.set(GLOBAL, global);
        assert_eq!(policies.of_model("m"), global);
        let own = Policy::new([0, 10_000, 0, 0, 0], 10_000).unwrap();
        policies.set("m", own);
        assert_eq!(policies.of_model("m"), own);
        assert_eq!(policies.of_model("n"), global);
    }

    #[test]
    fn a_split_that_does_not_add_up_is_no_policy() {
        assert_eq!(Policy::new([6000, 2000, 1000, 500, 499], 0), None);
        assert_eq!(Policy::new([10_000, 0, 0, 0, 0], 10_001), None);
        assert_eq!(Policy::new(Policy::DEFAULT.split_bps, 3000), Some(Policy::DEFAULT));
    }
}
