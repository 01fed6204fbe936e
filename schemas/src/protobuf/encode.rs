//! From an event to its bytes.

use bytes::Bytes;

use super::v1;
use super::wire::Message;
use crate::event::{
    AgentActed, AttributionTraced, ContributionReviewed, ContributionSubmitted, DatanetRegistered, Event, EventData,
    FeedbackRecorded, GrantRole, GrantSet, InferenceCompleted, ModelKind, ModelRegistered, ModelUpdated, PolicySet, Verdict,
};
use crate::units::{Address, Count, Hash, Name};

/// The bytes of an event; the same event always has the same bytes.
pub fn encode(event: &Event) -> Bytes {
    let draft = &event.draft;
    let mut out = Vec::with_capacity(estimate(event));
    let mut message = Message::new(&mut out);
    message.text(1, &draft.id);
    message.text(2, &draft.source);
    message.signed_or_default(3, draft.time.micros());
    message.text(4, event.producer.as_str());
    message.signed_or_default(5, event.accepted_at.micros());
    message.number_or_default(6, u64::from(draft.has_subject));
    message.number_or_default(7, u64::from(draft.has_datacontenttype));
    message.some_text(8, draft.dataschema.as_deref());
    message.some_text(9, draft.traceparent.as_deref());
    message.some_text(10, draft.tracestate.as_deref());
    message.some_text(11, draft.sig.as_deref());
    message.some_text(12, draft.signer.as_deref());
    for (name, value) in &draft.extensions {
        message.message(13, |extension| {
            extension.text(1, name);
            // An empty value is the default of its field.
            extension.some_text(2, Some(value.as_str()).filter(|value| !value.is_empty()));
        });
    }
    encode_data(&draft.data, &mut out);
    Bytes::from(out)
}

/// About as many bytes as the event takes, so that most are written without growing.
fn estimate(event: &Event) -> usize {
    let entries = match &event.draft.data {
        EventData::AttributionTraced(data) => data.entries.iter().map(|entry| entry.contribution_id.as_str().len() + 12).sum(),
        _ => 256,
    };
    256 + entries
}

/// The payload with the tag that says of which type it is.
pub(crate) fn encode_data(data: &EventData, out: &mut Vec<u8>) {
    let mut event = Message::new(out);
    match data {
        EventData::DatanetRegistered(data) => event.message(20, |m| datanet_registered(data, m)),
        EventData::ContributionSubmitted(data) => event.message(21, |m| contribution_submitted(data, m)),
        EventData::ContributionReviewed(data) => event.message(22, |m| contribution_reviewed(data, m)),
        EventData::ModelRegistered(data) => event.message(23, |m| model_registered(data, m)),
        EventData::ModelUpdated(data) => event.message(24, |m| model_updated(data, m)),
        EventData::PolicySet(data) => event.message(25, |m| policy_set(data, m)),
        EventData::InferenceCompleted(data) => event.message(26, |m| inference_completed(data, m)),
        EventData::AttributionTraced(data) => event.message(27, |m| attribution_traced(data, m)),
        EventData::FeedbackRecorded(data) => event.message(28, |m| feedback_recorded(data, m)),
        EventData::AgentActed(data) => event.message(29, |m| agent_acted(data, m)),
        EventData::GrantSet(data) => event.message(30, |m| grant_set(data, m)),
    }
}

fn name(m: &mut Message<'_>, field: u32, name: &Name) {
    m.text(field, name.as_str());
}

fn some_name(m: &mut Message<'_>, field: u32, name: Option<&Name>) {
    m.some_text(field, name.map(Name::as_str));
}

fn names(m: &mut Message<'_>, field: u32, names: &[Name]) {
    names.iter().for_each(|name| m.text(field, name.as_str()));
}

fn some_names(m: &mut Message<'_>, field: u32, list: Option<&[Name]>) {
    if let Some(list) = list {
        m.message(field, |m| names(m, 1, list));
    }
}

fn address(m: &mut Message<'_>, field: u32, address: &Address) {
    m.bytes(field, address.bytes());
}

fn some_hash(m: &mut Message<'_>, field: u32, hash: Option<&Hash>) {
    if let Some(hash) = hash {
        m.bytes(field, hash.as_slice());
    }
}

fn some_count(m: &mut Message<'_>, field: u32, count: Option<Count>) {
    if let Some(count) = count {
        m.number(field, count.get());
    }
}

fn datanet_registered(data: &DatanetRegistered, m: &mut Message<'_>) {
    name(m, 1, &data.datanet_id);
    address(m, 2, &data.owner);
    name(m, 3, &data.name);
    some_name(m, 4, data.license.as_ref());
}

fn contribution_submitted(data: &ContributionSubmitted, m: &mut Message<'_>) {
    name(m, 1, &data.contribution_id);
    name(m, 2, &data.datanet_id);
    address(m, 3, &data.contributor);
    m.bytes(4, data.content_hash.as_slice());
    m.number_or_default(5, data.bytes.get());
    some_count(m, 6, data.tokens);
}

fn contribution_reviewed(data: &ContributionReviewed, m: &mut Message<'_>) {
    let verdict = match data.verdict {
        Verdict::Accepted => v1::Verdict::Accepted,
        Verdict::Rejected => v1::Verdict::Rejected,
    };
    name(m, 1, &data.contribution_id);
    address(m, 2, &data.validator);
    m.number(3, number_of(verdict.into()));
    if let Some(score) = data.score {
        m.signed(4, score.millionths().into());
    }
}

fn model_registered(data: &ModelRegistered, m: &mut Message<'_>) {
    let kind = match data.kind {
        ModelKind::Base => v1::ModelKind::Base,
        ModelKind::FineTune => v1::ModelKind::FineTune,
        ModelKind::Adapter => v1::ModelKind::Adapter,
    };
    name(m, 1, &data.model_id);
    m.number(2, number_of(kind.into()));
    address(m, 3, &data.owner);
    names(m, 4, &data.parents);
    names(m, 5, &data.datanets);
    some_hash(m, 6, data.weights_hash.as_ref());
}

fn model_updated(data: &ModelUpdated, m: &mut Message<'_>) {
    name(m, 1, &data.model_id);
    name(m, 2, &data.version);
    m.bytes(3, data.weights_hash.as_slice());
    some_name(m, 4, data.method.as_ref());
    some_names(m, 5, data.datanets.as_deref());
    some_count(m, 6, data.steps);
    some_name(m, 7, data.previous_version.as_ref());
}

fn policy_set(data: &PolicySet, m: &mut Message<'_>) {
    let split = &data.split_bps;
    name(m, 1, &data.scope);
    m.number_or_default(2, split.contributors.get().into());
    m.number_or_default(3, split.model.get().into());
    m.number_or_default(4, split.node.get().into());
    m.number_or_default(5, split.validators.get().into());
    m.number_or_default(6, split.protocol.get().into());
    m.number_or_default(7, data.upstream_bps.get().into());
}

fn inference_completed(data: &InferenceCompleted, m: &mut Message<'_>) {
    name(m, 1, &data.inference_id);
    name(m, 2, &data.model_id);
    address(m, 3, &data.node);
    address(m, 4, &data.requester);
    some_name(m, 5, data.agent_id.as_ref());
    some_names(m, 6, data.parents.as_deref());
    m.bytes(7, data.input_hash.as_slice());
    m.bytes(8, data.output_hash.as_slice());
    m.number_or_default(9, data.input_tokens.get());
    m.number_or_default(10, data.output_tokens.get());
    m.number_or_default(11, data.latency_us.get());
    m.text(12, &data.fee.to_string());
}

fn attribution_traced(data: &AttributionTraced, m: &mut Message<'_>) {
    name(m, 1, &data.inference_id);
    name(m, 2, &data.method);
    for entry in &data.entries {
        m.message(3, |m| {
            name(m, 1, &entry.contribution_id);
            m.number(2, entry.weight.get().into());
        });
    }
}

fn feedback_recorded(data: &FeedbackRecorded, m: &mut Message<'_>) {
    name(m, 1, &data.inference_id);
    address(m, 2, &data.actor);
    m.signed_or_default(3, data.score.millionths().into());
    some_name(m, 4, data.label.as_ref());
}

fn agent_acted(data: &AgentActed, m: &mut Message<'_>) {
    name(m, 1, &data.agent_id);
    name(m, 2, &data.action);
    names(m, 3, &data.inferences);
    some_count(m, 4, data.chain_id);
    some_hash(m, 5, data.tx_hash.as_ref());
    if let Some(counterparty) = &data.counterparty {
        address(m, 6, counterparty);
    }
    if let Some(value) = data.value {
        m.text(7, &value.to_string());
    }
}

fn grant_set(data: &GrantSet, m: &mut Message<'_>) {
    name(m, 1, &data.producer);
    if !data.roles.is_empty() {
        // A repeated enum is packed: its numbers, one after the other. All are below 128, so each is one byte.
        let roles: Vec<u8> = data.roles.iter().map(|role| role_byte(*role)).collect();
        m.bytes(2, &roles);
    }
    data.types.iter().for_each(|kind| m.text(3, kind.as_str()));
    if let Some(revoked) = data.revoked {
        m.number(4, revoked.into());
    }
}

fn role_byte(role: GrantRole) -> u8 {
    let role = match role {
        GrantRole::Producer => v1::GrantRole::Producer,
        GrantRole::Tracer => v1::GrantRole::Tracer,
        GrantRole::Reviewer => v1::GrantRole::Reviewer,
        GrantRole::Governor => v1::GrantRole::Governor,
    };
    u8::try_from(i32::from(role)).expect("there are four roles")
}

fn number_of(value: i32) -> u64 {
    u64::try_from(value).expect("the numbers of an enum of events are positive")
}
