//! From bytes to an event that keeps every rule.

use prost::Message;

use super::v1;
use super::v1::event::Data;
use crate::event::{
    AgentActed, AttributionEntry, AttributionTraced, ContributionReviewed, ContributionSubmitted, DatanetRegistered, Draft,
    Event, EventData, EventType, FeedbackRecorded, GrantRole, GrantSet, InferenceCompleted, ModelKind, ModelRegistered,
    ModelUpdated, PolicySet, SplitBps, Verdict,
};
use crate::ids::Timestamp;
use crate::refusal::Refusal;
use crate::rules;
use crate::units::{Address, Bps, Count, Hash, Name, Score, Wei, Weight};

/// Bytes that are no event: the record is damaged, or was written by something that does not keep the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid event: {message}")]
pub struct DecodeError {
    /// Where: a path such as `data.entries[3].weight`, or empty when the bytes are no protobuf of an event.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl DecodeError {
    fn at(field: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self { message: format!("`{field}` {problem}"), field }
    }
}

impl From<Refusal> for DecodeError {
    fn from(refusal: Refusal) -> Self {
        Self { field: refusal.field, message: refusal.message }
    }
}

type Checked<T> = Result<T, DecodeError>;

/// The event of these bytes. Every rule of the event specification holds of it; unknown fields are passed over.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let event = v1::Event::decode(bytes).map_err(|error| DecodeError {
        field: String::new(),
        message: format!("the bytes are no protobuf of an event: {error}"),
    })?;
    let mut extensions = std::collections::BTreeMap::new();
    for v1::Extension { name, value } in event.extensions {
        if extensions.insert(name, value).is_some() {
            return Err(DecodeError::at("extensions", "has two of one name"));
        }
    }
    let data = event.data.ok_or_else(|| DecodeError::at("data", "is missing, or of a type that this version does not know"))?;
    let draft = Draft {
        id: event.id,
        source: event.source,
        time: instant(event.time_us, "time")?,
        has_subject: event.has_subject,
        has_datacontenttype: event.has_datacontenttype,
        dataschema: event.dataschema,
        traceparent: event.traceparent,
        tracestate: event.tracestate,
        sig: event.sig,
        signer: event.signer,
        extensions,
        data: payload(data)?,
    };
    rules::check(&draft)?;
    Ok(Event { draft, producer: name(event.producer, "producer")?, accepted_at: instant(event.accepted_at_us, "accepted_at")? })
}

fn payload(data: Data) -> Checked<EventData> {
    Ok(match data {
        Data::DatanetRegistered(data) => EventData::DatanetRegistered(datanet_registered(data)?),
        Data::ContributionSubmitted(data) => EventData::ContributionSubmitted(contribution_submitted(data)?),
        Data::ContributionReviewed(data) => EventData::ContributionReviewed(contribution_reviewed(data)?),
        Data::ModelRegistered(data) => EventData::ModelRegistered(model_registered(data)?),
        Data::ModelUpdated(data) => EventData::ModelUpdated(model_updated(data)?),
        Data::PolicySet(data) => EventData::PolicySet(policy_set(&data)?),
        Data::InferenceCompleted(data) => EventData::InferenceCompleted(inference_completed(data)?),
        Data::AttributionTraced(data) => EventData::AttributionTraced(attribution_traced(data)?),
        Data::FeedbackRecorded(data) => EventData::FeedbackRecorded(feedback_recorded(data)?),
        Data::AgentActed(data) => EventData::AgentActed(agent_acted(data)?),
        Data::GrantSet(data) => EventData::GrantSet(grant_set(data)?),
    })
}

fn instant(micros: i64, field: &str) -> Checked<Timestamp> {
    Timestamp::from_micros(micros).ok_or_else(|| DecodeError::at(field, "lies outside the years 0000 to 9999"))
}

fn name(text: String, field: &str) -> Checked<Name> {
    Name::from_string(text).map_err(|error| DecodeError::at(field, error))
}

fn some_name(text: Option<String>, field: &str) -> Checked<Option<Name>> {
    text.map(|text| name(text, field)).transpose()
}

fn names(texts: Vec<String>, field: &str) -> Checked<Vec<Name>> {
    let item = |(index, text)| Name::from_string(text).map_err(|error| DecodeError::at(format!("{field}[{index}]"), error));
    texts.into_iter().enumerate().map(item).collect()
}

fn address(bytes: &[u8], field: &str) -> Checked<Address> {
    let bytes = bytes.try_into().map_err(|_| DecodeError::at(field, "is not an address of 20 bytes"))?;
    Address::from_bytes(bytes).map_err(|error| DecodeError::at(field, error))
}

fn hash(bytes: &[u8], field: &str) -> Checked<Hash> {
    bytes.try_into().map_err(|_| DecodeError::at(field, "is not a hash of 32 bytes"))
}

fn some_hash(bytes: Option<Vec<u8>>, field: &str) -> Checked<Option<Hash>> {
    bytes.map(|bytes| hash(&bytes, field)).transpose()
}

fn count(number: u64, field: &str) -> Checked<Count> {
    Count::new(number).ok_or_else(|| DecodeError::at(field, "is above 2^53 - 1"))
}

fn some_count(number: Option<u64>, field: &str) -> Checked<Option<Count>> {
    number.map(|number| count(number, field)).transpose()
}

fn wei(text: &str, field: &str) -> Checked<Wei> {
    Wei::parse(text).map_err(|error| DecodeError::at(field, error))
}

fn score(millionths: i32, field: &str) -> Checked<Score> {
    Score::from_millionths(millionths).ok_or_else(|| DecodeError::at(field, "is outside -1000000 to 1000000 millionths"))
}

fn bps(number: u32, field: &str) -> Checked<Bps> {
    Bps::new(number.into()).ok_or_else(|| DecodeError::at(field, "is above 10000 basis points"))
}

fn datanet_registered(data: v1::DatanetRegistered) -> Checked<DatanetRegistered> {
    Ok(DatanetRegistered {
        datanet_id: name(data.datanet_id, "data.datanet_id")?,
        owner: address(&data.owner, "data.owner")?,
        name: name(data.name, "data.name")?,
        license: some_name(data.license, "data.license")?,
    })
}

fn contribution_submitted(data: v1::ContributionSubmitted) -> Checked<ContributionSubmitted> {
    Ok(ContributionSubmitted {
        contribution_id: name(data.contribution_id, "data.contribution_id")?,
        datanet_id: name(data.datanet_id, "data.datanet_id")?,
        contributor: address(&data.contributor, "data.contributor")?,
        content_hash: hash(&data.content_hash, "data.content_hash")?,
        bytes: count(data.bytes, "data.bytes")?,
        tokens: some_count(data.tokens, "data.tokens")?,
    })
}

fn contribution_reviewed(data: v1::ContributionReviewed) -> Checked<ContributionReviewed> {
    let verdict = match v1::Verdict::try_from(data.verdict) {
        Ok(v1::Verdict::Accepted) => Verdict::Accepted,
        Ok(v1::Verdict::Rejected) => Verdict::Rejected,
        Ok(v1::Verdict::Unspecified) | Err(_) => return Err(DecodeError::at("data.verdict", "is neither accepted nor rejected")),
    };
    Ok(ContributionReviewed {
        contribution_id: name(data.contribution_id, "data.contribution_id")?,
        validator: address(&data.validator, "data.validator")?,
        verdict,
        score: data.score_millionths.map(|millionths| score(millionths, "data.score")).transpose()?,
    })
}

fn model_registered(data: v1::ModelRegistered) -> Checked<ModelRegistered> {
    let kind = match v1::ModelKind::try_from(data.kind) {
        Ok(v1::ModelKind::Base) => ModelKind::Base,
        Ok(v1::ModelKind::FineTune) => ModelKind::FineTune,
        Ok(v1::ModelKind::Adapter) => ModelKind::Adapter,
        Ok(v1::ModelKind::Unspecified) | Err(_) => {
            return Err(DecodeError::at("data.kind", "is neither base nor fine_tune nor adapter"));
        }
    };
    Ok(ModelRegistered {
        model_id: name(data.model_id, "data.model_id")?,
        kind,
        owner: address(&data.owner, "data.owner")?,
        parents: names(data.parents, "data.parents")?,
        datanets: names(data.datanets, "data.datanets")?,
        weights_hash: some_hash(data.weights_hash, "data.weights_hash")?,
    })
}

fn model_updated(data: v1::ModelUpdated) -> Checked<ModelUpdated> {
    Ok(ModelUpdated {
        model_id: name(data.model_id, "data.model_id")?,
        version: name(data.version, "data.version")?,
        weights_hash: hash(&data.weights_hash, "data.weights_hash")?,
        method: some_name(data.method, "data.method")?,
        datanets: data.datanets.map(|list| names(list.names, "data.datanets")).transpose()?,
        steps: some_count(data.steps, "data.steps")?,
        previous_version: some_name(data.previous_version, "data.previous_version")?,
    })
}

fn policy_set(data: &v1::PolicySet) -> Checked<PolicySet> {
    Ok(PolicySet {
        scope: name(data.scope.clone(), "data.scope")?,
        split_bps: SplitBps {
            contributors: bps(data.contributors_bps, "data.split_bps.contributors")?,
            model: bps(data.model_bps, "data.split_bps.model")?,
            node: bps(data.node_bps, "data.split_bps.node")?,
            validators: bps(data.validators_bps, "data.split_bps.validators")?,
            protocol: bps(data.protocol_bps, "data.split_bps.protocol")?,
        },
        upstream_bps: bps(data.upstream_bps, "data.upstream_bps")?,
    })
}

fn inference_completed(data: v1::InferenceCompleted) -> Checked<InferenceCompleted> {
    Ok(InferenceCompleted {
        inference_id: name(data.inference_id, "data.inference_id")?,
        model_id: name(data.model_id, "data.model_id")?,
        node: address(&data.node, "data.node")?,
        requester: address(&data.requester, "data.requester")?,
        agent_id: some_name(data.agent_id, "data.agent_id")?,
        parents: data.parents.map(|list| names(list.names, "data.parents")).transpose()?,
        input_hash: hash(&data.input_hash, "data.input_hash")?,
        output_hash: hash(&data.output_hash, "data.output_hash")?,
        input_tokens: count(data.input_tokens, "data.input_tokens")?,
        output_tokens: count(data.output_tokens, "data.output_tokens")?,
        latency_us: count(data.latency_us, "data.latency_us")?,
        fee: wei(&data.fee, "data.fee")?,
    })
}

fn attribution_traced(data: v1::AttributionTraced) -> Checked<AttributionTraced> {
    let entry = |(index, entry): (usize, v1::AttributionEntry)| {
        let at = |field: &str, problem: &str| DecodeError::at(format!("data.entries[{index}].{field}"), problem);
        Ok(AttributionEntry {
            contribution_id: Name::from_string(entry.contribution_id).map_err(|error| at("contribution_id", error.0))?,
            weight: Weight::new(entry.weight.into()).ok_or_else(|| at("weight", "is outside 1 to 2147483647"))?,
        })
    };
    Ok(AttributionTraced {
        inference_id: name(data.inference_id, "data.inference_id")?,
        method: name(data.method, "data.method")?,
        entries: data.entries.into_iter().enumerate().map(entry).collect::<Checked<_>>()?,
    })
}

fn feedback_recorded(data: v1::FeedbackRecorded) -> Checked<FeedbackRecorded> {
    Ok(FeedbackRecorded {
        inference_id: name(data.inference_id, "data.inference_id")?,
        actor: address(&data.actor, "data.actor")?,
        score: score(data.score_millionths, "data.score")?,
        label: some_name(data.label, "data.label")?,
    })
}

fn agent_acted(data: v1::AgentActed) -> Checked<AgentActed> {
    Ok(AgentActed {
        agent_id: name(data.agent_id, "data.agent_id")?,
        action: name(data.action, "data.action")?,
        inferences: names(data.inferences, "data.inferences")?,
        chain_id: some_count(data.chain_id, "data.chain_id")?,
        tx_hash: some_hash(data.tx_hash, "data.tx_hash")?,
        counterparty: data.counterparty.map(|bytes| address(&bytes, "data.counterparty")).transpose()?,
        value: data.value.map(|text| wei(&text, "data.value")).transpose()?,
    })
}

fn grant_set(data: v1::GrantSet) -> Checked<GrantSet> {
    let role = |(index, number): (usize, i32)| match v1::GrantRole::try_from(number) {
        Ok(v1::GrantRole::Producer) => Ok(GrantRole::Producer),
        Ok(v1::GrantRole::Tracer) => Ok(GrantRole::Tracer),
        Ok(v1::GrantRole::Reviewer) => Ok(GrantRole::Reviewer),
        Ok(v1::GrantRole::Governor) => Ok(GrantRole::Governor),
        Ok(v1::GrantRole::Unspecified) | Err(_) => Err(DecodeError::at(format!("data.roles[{index}]"), "is no role")),
    };
    let event_type = |(index, text): (usize, &String)| {
        EventType::parse(text).ok_or_else(|| DecodeError::at(format!("data.types[{index}]"), "is no type of event"))
    };
    Ok(GrantSet {
        producer: name(data.producer, "data.producer")?,
        roles: data.roles.into_iter().enumerate().map(role).collect::<Checked<_>>()?,
        types: data.types.iter().enumerate().map(event_type).collect::<Checked<_>>()?,
        revoked: data.revoked,
    })
}
