//! The second way to the same numbers: events folded in memory, batch after batch, without the lake and without SQL. It
//! shares with the job only the split of one fee; which events count, it reads from the specification on its own.

mod fold;

use std::collections::{BTreeMap, HashMap, HashSet};

use tributary_schemas::cut::Cut;
use tributary_schemas::identity::Identity;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units::{Address, Wei, Weight};

use crate::allocate::{Contribution, Due, Entry, Line, Model, Models, Overflow, Policies, Policy, Registry, Review, share_fee};

pub use fold::{FoldError, fold_range};

/// Everything that settlement needs to know of the events folded so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Identities of events of which a repetition could matter.
    seen: HashSet<Identity>,
    models: HashMap<Box<str>, (Address, Vec<Box<str>>)>,
    contributions: HashMap<Box<str>, Contribution>,
    reviews: HashMap<Box<str>, Review>,
    policies: HashMap<Box<str>, Policy>,
    /// The producers that may trace for others.
    tracers: HashSet<Box<str>>,
    /// Inferences not settled yet.
    open: BTreeMap<Box<str>, Inference>,
    /// Inferences settled in an epoch before.
    settled: HashSet<Box<str>>,
    /// Attributions of inferences not settled yet, in their order: which of them counts depends on grants to come.
    traces: HashMap<Box<str>, Vec<Trace>>,
    ids: Ids,
}

#[derive(Clone, Debug)]
struct Inference {
    model_id: Box<str>,
    node: Address,
    fee: Wei,
    producer: Box<str>,
    at: (Partition, Seq),
}

#[derive(Clone, Debug)]
struct Trace {
    producer: Box<str>,
    /// Contribution, as a number of [`Ids`], and weight; in the order of the ids' bytes.
    entries: Vec<(u32, Weight)>,
}

/// Contribution ids by number, since attributions repeat them many times.
#[derive(Clone, Debug, Default)]
struct Ids {
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Ids {
    fn number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("the memory holds fewer than 2^32 ids");
        self.names.push(id.into());
        self.numbers.insert(id.into(), number);
        number
    }

    fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}

impl State {
    /// What is due now that everything up to a cut is folded, `previous` being the cut of the epoch before.
    pub fn due(&self, previous: &Cut) -> DueEpoch<'_> {
        let registry = self.registry();
        let is_due = |id: &str, inference: &Inference| {
            let (partition, seq) = inference.at;
            previous.covers(partition, seq) || self.is_complete(id, inference)
        };
        let due = self.open.iter().filter(|(id, inference)| is_due(id, inference)).map(|(id, _)| &**id).collect();
        DueEpoch { state: self, registry, due }
    }

    /// Marks inferences as settled; they and their attributions are forgotten.
    pub fn settle(&mut self, inference_ids: impl IntoIterator<Item = Box<str>>) {
        for id in inference_ids {
            self.open.remove(&id);
            self.traces.remove(&id);
            self.settled.insert(id);
        }
    }

    /// The first attribution among those that count: by the inference's own producer or a tracer.
    fn attribution(&self, inference_id: &str, inference: &Inference) -> Option<&Trace> {
        let counts = |trace: &&Trace| trace.producer == inference.producer || self.tracers.contains(&trace.producer);
        self.traces.get(inference_id)?.iter().find(counts)
    }

    fn is_complete(&self, inference_id: &str, inference: &Inference) -> bool {
        let registered = |(id, _): &(u32, Weight)| self.contributions.contains_key(self.ids.name(*id));
        self.models.contains_key(&inference.model_id)
            && self.attribution(inference_id, inference).is_some_and(|trace| trace.entries.iter().all(registered))
    }

    fn registry(&self) -> Registry {
        let models = self.models.iter().map(|(id, (owner, parents))| Model {
            model_id: id.clone(),
            owner: *owner,
            parents: parents.clone(),
        });
        let models = Models::new(models.collect());
        let mut policies = Policies::default();
        for (scope, policy) in &self.policies {
            policies.set(scope, *policy);
        }
        Registry { models, contributions: self.contributions.clone(), reviews: self.reviews.clone(), policies }
    }
}

/// The inferences due in one epoch.
#[derive(Debug)]
pub struct DueEpoch<'a> {
    state: &'a State,
    registry: Registry,
    due: Vec<&'a str>,
}

impl DueEpoch<'_> {
    /// Their ids, in the order of the bytes.
    pub fn ids(&self) -> &[&str] {
        &self.due
    }

    /// Shares the fee of one of them out, and hands the inference and its lines over.
    ///
    /// # Errors
    /// As [`share_fee`].
    ///
    /// # Panics
    /// If the id is not one of [`Self::ids`].
    pub fn share<R>(
        &self,
        inference_id: &str,
        treasury: Address,
        take: impl FnOnce(&Due<'_>, &[Line<'_>]) -> R,
    ) -> Result<R, Overflow> {
        let inference = self.state.open.get(inference_id).expect("an id of Self::ids is an open inference");
        let trace = self.state.attribution(inference_id, inference);
        let entry = |(id, weight): &(u32, Weight)| Entry { contribution_id: self.state.ids.name(*id), weight: *weight };
        let entries: Option<Vec<Entry<'_>>> = trace.map(|trace| trace.entries.iter().map(entry).collect());
        let due = Due {
            inference_id,
            model_id: &inference.model_id,
            node: inference.node,
            fee: inference.fee,
            entries: entries.as_deref(),
        };
        let lines = share_fee(&self.registry, treasury, &due)?;
        Ok(take(&due, &lines))
    }
}

#[cfg(test)]
mod tests;
