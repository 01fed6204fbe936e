//! The model's pool, level by level from the served model to its ancestors. Each model is paid once, at the first level
//! that reaches it.

use std::collections::{BTreeMap, BTreeSet};

use tributary_schemas::units::{Address, Bps};

use super::apportion::{Overflow, apportion};

/// The most levels, the served model's included.
pub const LEVELS_MAX: usize = 16;

/// The most models that one inference reaches, the served one and those that would receive 0 included.
pub const MODELS_MAX: usize = 256;

/// A registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its id.
    pub model_id: Box<str>,
    /// Who is paid for it.
    pub owner: Address,
    /// The ids of its parents as registered: in any order, repeated or not, registered or not.
    pub parents: Vec<Box<str>>,
}

/// The registered models, in the order of the bytes of their ids, so that an index compares like its id.
#[derive(Clone, Debug, Default)]
pub struct Models {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    model_id: Box<str>,
    owner: Address,
    /// The distinct registered parents, ascending.
    parents: Vec<u32>,
}

/// A registered model, as an index into [`Models`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelIndex(u32);

/// What one model's owner gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The model.
    pub model: ModelIndex,
    /// What stays with its owner, in wei; may be 0.
    pub amount: u128,
}

impl Models {
    /// Resolves parents. Ids are unique: of an id only the first registration may be given.
    pub fn new(mut models: Vec<Model>) -> Self {
        models.sort_unstable_by(|a, b| a.model_id.cmp(&b.model_id));
        assert!(models.windows(2).all(|pair| pair[0].model_id < pair[1].model_id), "a model id is registered once");
        let find = |id: &str| models.binary_search_by(|m| (*m.model_id).cmp(id)).ok().and_then(|at| u32::try_from(at).ok());
        let parents: Vec<BTreeSet<u32>> =
            models.iter().map(|model| model.parents.iter().filter_map(|id| find(id)).collect()).collect();
        let nodes = models.into_iter().zip(parents);
        let nodes =
            nodes.map(|(m, parents)| Node { model_id: m.model_id, owner: m.owner, parents: parents.into_iter().collect() });
        Self { nodes: nodes.collect() }
    }

    /// The model of this id, if registered.
    pub fn find(&self, model_id: &str) -> Option<ModelIndex> {
        let at = self.nodes.binary_search_by(|node| (*node.model_id).cmp(model_id)).ok()?;
        u32::try_from(at).ok().map(ModelIndex)
    }

    /// The id of a model.
    pub fn model_id(&self, model: ModelIndex) -> &str {
        &self.node(model).model_id
    }

    /// Who is paid for a model.
    pub fn owner(&self, model: ModelIndex) -> Address {
        self.node(model).owner
    }

    /// How many models are registered.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn node(&self, model: ModelIndex) -> &Node {
        &self.nodes[model.0 as usize]
    }

    fn parents(&self, model: ModelIndex) -> impl Iterator<Item = ModelIndex> + '_ {
        self.node(model).parents.iter().copied().map(ModelIndex)
    }
}

/// Shares a pool between the served model and its ancestors: level after level, each in the order of the ids. The shares
/// add up to the pool.
///
/// # Errors
/// [`Overflow`] if an amount times 10000 does not fit 128 bits; a fee below 2^96 does.
pub fn share_upstream(models: &Models, served: ModelIndex, pool: u128, upstream_bps: u16) -> Result<Vec<Share>, Overflow> {
    let mut shares = Vec::new();
    let mut reached = BTreeSet::from([served]);
    let mut level = BTreeMap::from([(served, pool)]);
    for depth in 1..=LEVELS_MAX {
        let opened = if depth < LEVELS_MAX { open(models, &level, &reached) } else { None };
        let mut next: BTreeMap<ModelIndex, u128> = BTreeMap::new();
        for (model, amount) in &level {
            let parents = opened.as_ref().and_then(|parents| parents.get(model)).map_or(&[][..], Vec::as_slice);
            let up = pass_up(&mut next, *amount, parents, upstream_bps)?;
            shares.push(Share { model: *model, amount: amount - up });
        }
        reached.extend(next.keys());
        // A model that would receive 0 counts as reached, but nobody looks at its parents.
        next.retain(|_, amount| *amount > 0);
        level = next;
        if level.is_empty() {
            break;
        }
    }
    debug_assert_eq!(shares.iter().map(|share| share.amount).sum::<u128>(), pool);
    Ok(shares)
}

/// For each model of the level its parents that were not reached before; `None` if they would bring the models reached
/// to more than [`MODELS_MAX`].
fn open(
    models: &Models,
    level: &BTreeMap<ModelIndex, u128>,
    reached: &BTreeSet<ModelIndex>,
) -> Option<BTreeMap<ModelIndex, Vec<ModelIndex>>> {
    let unreached = |model| models.parents(model).filter(|parent| !reached.contains(parent)).collect::<Vec<_>>();
    let parents: BTreeMap<_, _> = level.keys().map(|model| (*model, unreached(*model))).collect();
    let new: BTreeSet<ModelIndex> = parents.values().flatten().copied().collect();
    (reached.len() + new.len() <= MODELS_MAX).then_some(parents)
}

/// Adds what goes upstream to the next level in equal parts, and gives how much that is.
fn pass_up(
    next: &mut BTreeMap<ModelIndex, u128>,
    amount: u128,
    parents: &[ModelIndex],
    upstream_bps: u16,
) -> Result<u128, Overflow> {
    if parents.is_empty() {
        return Ok(0);
    }
    let up = amount.checked_mul(u128::from(upstream_bps)).ok_or(Overflow)? / u128::from(Bps::WHOLE);
    let parts = apportion(up, &vec![1; parents.len()])?.expect("there is a parent, and it weighs 1");
    for (parent, part) in parents.iter().zip(parts) {
        let reached = next.entry(*parent).or_default();
        *reached = reached.checked_add(part).ok_or(Overflow)?;
    }
    Ok(up)
}

#[cfg(test)]
mod tests;
