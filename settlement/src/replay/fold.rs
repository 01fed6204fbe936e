//! Events into the state, in the order of their partition.

use tributary_journal::{Damage, Journal, JournalError};
use tributary_schemas::cut::Cut;
use tributary_schemas::event::{AttributionTraced, Event, EventData, GrantRole, InferenceCompleted, Verdict};
use tributary_schemas::identity::Identity;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf::{self, DecodeError};

use super::{Contribution, Inference, Policy, Review, State, Trace};

impl State {
    /// Folds one event. Events of one partition must come in their order; partitions may come in any.
    pub fn fold(&mut self, at: (Partition, Seq), event: &Event) {
        let draft = &event.draft;
        match &draft.data {
            EventData::ModelRegistered(model) => {
                let parents = || model.parents.iter().map(|id| id.as_str().into()).collect();
                self.models.entry(model.model_id.as_str().into()).or_insert_with(|| (model.owner, parents()));
            }
            EventData::ContributionSubmitted(new) => {
                let contribution = Contribution { contributor: new.contributor };
                self.contributions.entry(new.contribution_id.as_str().into()).or_insert(contribution);
            }
            EventData::ContributionReviewed(new) if self.is_first(event) => {
                let review = Review { validator: new.validator, verdict: new.verdict };
                debug_assert!(matches!(new.verdict, Verdict::Accepted | Verdict::Rejected));
                self.reviews.insert(new.contribution_id.as_str().into(), review);
            }
            EventData::PolicySet(policy) if self.is_first(event) => {
                self.policies.insert(policy.scope.as_str().into(), Policy::from(policy));
            }
            EventData::GrantSet(grant) if self.is_first(event) => {
                let traces = grant.revoked != Some(true) && grant.roles.contains(&GrantRole::Tracer);
                if traces {
                    self.tracers.insert(grant.producer.as_str().into());
                } else {
                    self.tracers.remove(grant.producer.as_str());
                }
            }
            EventData::InferenceCompleted(inference) => self.fold_inference(at, event, inference),
            EventData::AttributionTraced(attribution) => self.fold_attribution(event, attribution),
            _ => {}
        }
    }

    /// Whether no event of this identity was folded before. Asked where a repetition could matter: what is latest wins,
    /// or what is first only among some.
    fn is_first(&mut self, event: &Event) -> bool {
        self.seen.insert(Identity::of(&event.draft))
    }

    fn fold_inference(&mut self, at: (Partition, Seq), event: &Event, inference: &InferenceCompleted) {
        let id = inference.inference_id.as_str();
        if self.settled.contains(id) || self.open.contains_key(id) {
            return;
        }
        let open = Inference {
            model_id: inference.model_id.as_str().into(),
            node: inference.node,
            fee: inference.fee,
            producer: event.producer.as_str().into(),
            at,
        };
        self.open.insert(id.into(), open);
    }

    fn fold_attribution(&mut self, event: &Event, attribution: &AttributionTraced) {
        let id = attribution.inference_id.as_str();
        if !self.is_first(event) || self.settled.contains(id) {
            return;
        }
        let mut sorted: Vec<_> = attribution.entries.iter().collect();
        sorted.sort_unstable_by(|a, b| a.contribution_id.as_str().cmp(b.contribution_id.as_str()));
        let entries = sorted.into_iter().map(|e| (self.ids.number(e.contribution_id.as_str()), e.weight)).collect();
        let trace = Trace { producer: event.producer.as_str().into(), entries };
        self.traces.entry(id.into()).or_default().push(trace);
    }
}

/// Why batches could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// A batch could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The body of a batch is not what its header says.
    #[error("batch {1} of partition {0}: {2}")]
    Batch(Partition, Seq, Damage),
    /// An event of a batch cannot be read.
    #[error("event {2} of batch {1} of partition {0}: {3}")]
    Event(Partition, Seq, usize, DecodeError),
}

/// Folds the batches after `from` up to and with `to`, one at a time.
///
/// # Errors
/// [`FoldError`], which names the batch.
pub async fn fold_range(state: &mut State, journal: &Journal, from: &Cut, to: &Cut) -> Result<(), FoldError> {
    for (partition, last) in to.iter() {
        let first = from.get(partition).map_or(Seq::FIRST, Seq::next);
        for seq in (first.get()..=last.get()).filter_map(Seq::new) {
            let batch = journal.read(partition, seq).await?;
            let events = batch.events().map_err(|damage| FoldError::Batch(partition, seq, damage))?;
            for (ordinal, bytes) in events.iter().enumerate() {
                let event = protobuf::decode(bytes).map_err(|error| FoldError::Event(partition, seq, ordinal, error))?;
                state.fold((partition, seq), &event);
            }
        }
    }
    Ok(())
}
