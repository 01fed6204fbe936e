//! What an account may claim, and its proof.

use serde::Serialize;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::{Address, Hash};

use crate::engine::Engine;
use crate::error::QueryError;
use std::sync::Arc;

/// What an account has earned up to an epoch, with the proof that the epoch's root says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The epoch whose root the proof leads to.
    #[serde(serialize_with = "epoch_number")]
    pub epoch: Epoch,
    /// The account, in lower case.
    #[serde(serialize_with = "as_text")]
    pub account: Address,
    /// Everything earned in epochs up to this one, in wei.
    #[serde(serialize_with = "as_text")]
    pub cumulative: u128,
    /// The siblings from the leaf to the root.
    pub proof: Vec<Hash>,
    /// The epoch's root.
    pub root: Hash,
}

fn epoch_number<S: serde::Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(epoch.get())
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The claim of an account at a closed epoch, the latest if none is named.
///
/// # Errors
/// `epoch_not_found`, `account_not_found`; `corrupt` when the epoch's table does not give its root.
pub async fn claim(_engine: &Arc<Engine>, _account: Address, _epoch: Option<Epoch>) -> Result<Claim, QueryError> {
    panic!("not built yet")
}
