//! A point of the record, as the argument `asOf` names it.

use async_graphql::OneofObject;
use tributary_schemas::ids::Epoch;

use super::scalars::Long;
use tributary_query::engine::AsOf;
use tributary_query::error::{Code, QueryError};

/// A point of the record: the head when absent. An epoch number, a cut token from `meta.cut`, or `available` (certified on DA).
#[derive(Clone, Debug, OneofObject)]
#[graphql(name = "AsOf")]
pub enum AsOfInput {
    /// A closed epoch
    Epoch(Long),
    /// A cut
    Cut(String),
    /// What is certified on DA; only `true` is taken
    Available(bool),
}

impl AsOfInput {
    /// # Errors
    /// `bad_as_of`.
    pub(crate) fn parse(&self) -> Result<AsOf, QueryError> {
        let bad = |message: &str| QueryError::new(Code::BadAsOf, message);
        match self {
            Self::Epoch(Long(number)) => u64::try_from(*number)
                .ok()
                .and_then(Epoch::new)
                .map(AsOf::Epoch)
                .ok_or_else(|| bad("asOf.epoch: epochs count from 1")),
            Self::Cut(text) => text.parse().map(AsOf::At),
            Self::Available(true) => Ok(AsOf::Available),
            Self::Available(false) => Err(bad("asOf.available: only true is taken; leave asOf out for the head")),
        }
    }
}
