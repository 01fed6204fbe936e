//! One inference's fee, split into lines.

use std::fmt;

use tributary_schemas::units::{Address, Wei, Weight};

use super::apportion::{Overflow, apportion};
use super::registry::Registry;
use super::upstream::share_upstream;

/// What an account is paid for. The order is that of lines in an inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Owner of a contribution that the attribution names.
    Contributor,
    /// Owner of the served model or of an ancestor.
    Model,
    /// Who ran the inference.
    Node,
    /// Validator of record of a contribution that the attribution names.
    Validator,
    /// The treasury.
    Protocol,
}

impl Role {
    /// Every role, in the order of lines.
    pub const ALL: [Role; 5] = [Self::Contributor, Self::Model, Self::Node, Self::Validator, Self::Protocol];

    /// As tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contributor => "contributor",
            Self::Model => "model",
            Self::Node => "node",
            Self::Validator => "validator",
            Self::Protocol => "protocol",
        }
    }

    /// The role that tables write like this.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One contribution's weight in the inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The contribution.
    pub contribution_id: &'a str,
    /// Its weight.
    pub weight: Weight,
}

/// An inference that is due.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// Its id.
    pub inference_id: &'a str,
    /// The served model.
    pub model_id: &'a str,
    /// Who ran it.
    pub node: Address,
    /// What was paid for it.
    pub fee: Wei,
    /// The entries of the attribution that counts, sorted by the bytes of the contribution id, each id once; `None`
    /// without such an attribution.
    pub entries: Option<&'a [Entry<'a>]>,
}

/// One share of one fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// For what.
    pub role: Role,
    /// To whom.
    pub account: Address,
    /// How much, in wei; above 0.
    pub amount: u128,
    /// Through which contribution: contributors and validators.
    pub contribution_id: Option<&'a str>,
    /// Through which model: models.
    pub model_id: Option<&'a str>,
}

/// Shares the fee out. The lines add up to it exactly, and come in the order of [`Role`]; contributors and validators in
/// the order of the bytes of the contribution ids, models level by level and in a level by the bytes of their ids.
///
/// # Errors
/// [`Overflow`], which a fee below 2^96 and weights below 2^31 never bring about.
///
/// # Panics
/// If the entries are not sorted, or the lines do not add up to the fee: then nobody may be paid.
pub fn share_fee<'a>(registry: &'a Registry, treasury: Address, due: &Due<'a>) -> Result<Vec<Line<'a>>, Overflow> {
    let entries = due.entries.unwrap_or_default();
    assert!(entries.windows(2).all(|pair| pair[0].contribution_id < pair[1].contribution_id), "entries are sorted and unique");
    let policy = registry.policies.of_model(due.model_id);
    let fee = due.fee.get();
    let pools = apportion(fee, &policy.split_bps.map(u64::from))?.expect("a split adds up to 10000");
    let [contributors, model, node, validators, mut protocol] = pools[..] else { unreachable!("one part per role") };

    let mut lines = Vec::with_capacity(2 * entries.len() + 4);
    protocol += share_entries(&mut lines, registry, (Role::Contributor, contributors), entries)?;
    protocol += share_models(&mut lines, registry, (due.model_id, policy.upstream_bps), model)?;
    put(&mut lines, Role::Node, due.node, node);
    protocol += share_entries(&mut lines, registry, (Role::Validator, validators), entries)?;
    put(&mut lines, Role::Protocol, treasury, protocol);

    let paid: u128 = lines.iter().map(|line| line.amount).sum();
    assert_eq!(paid, fee, "the lines of inference {:?} add up to its fee", due.inference_id);
    Ok(lines)
}

fn put(lines: &mut Vec<Line<'_>>, role: Role, account: Address, amount: u128) {
    if amount > 0 {
        lines.push(Line { role, account, amount, contribution_id: None, model_id: None });
    }
}

/// Shares a pool over the eligible entries that have somebody to be paid in this role; gives what is left for the
/// protocol: the whole pool if there is nobody.
fn share_entries<'a>(
    lines: &mut Vec<Line<'a>>,
    registry: &Registry,
    (role, pool): (Role, u128),
    entries: &[Entry<'a>],
) -> Result<u128, Overflow> {
    let account = |entry: &Entry<'a>| {
        let (contribution, review) = registry.eligible(entry.contribution_id)?;
        match role {
            Role::Validator => review.map(|review| review.validator),
            _ => Some(contribution.contributor),
        }
    };
    let paid: Vec<(Entry<'a>, Address)> = entries.iter().filter_map(|entry| Some((*entry, account(entry)?))).collect();
    let weights: Vec<u64> = paid.iter().map(|(entry, _)| u64::from(entry.weight.get())).collect();
    let Some(parts) = apportion(pool, &weights)? else {
        return Ok(pool);
    };
    for ((entry, account), amount) in paid.into_iter().zip(parts) {
        if amount > 0 {
            let contribution_id = Some(entry.contribution_id);
            lines.push(Line { role, account, amount, contribution_id, model_id: None });
        }
    }
    Ok(0)
}

/// Shares the model's pool; gives what is left for the protocol: the whole pool if the served model is not registered.
fn share_models<'a>(
    lines: &mut Vec<Line<'a>>,
    registry: &'a Registry,
    (model_id, upstream_bps): (&str, u16),
    pool: u128,
) -> Result<u128, Overflow> {
    let models = &registry.models;
    let Some(served) = models.find(model_id) else {
        return Ok(pool);
    };
    for share in share_upstream(models, served, pool, upstream_bps)?.into_iter().filter(|share| share.amount > 0) {
        let (account, model_id) = (models.owner(share.model), Some(models.model_id(share.model)));
        lines.push(Line { role: Role::Model, account, amount: share.amount, contribution_id: None, model_id });
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
