//! The rules of an event that no single unit can hold: texts of attributes, lengths of lists, how fields agree. The JSON parser
//! and the protobuf decoder both end here, so what is taken at a door and what is read from the record keep the same rules.

use std::collections::HashSet;

use crate::event::EventType;
use crate::event::{
    AgentActed, AttributionTraced, Draft, EventData, GrantRole, GrantSet, InferenceCompleted, ModelKind, ModelRegistered,
    ModelUpdated, PolicySet,
};
use crate::limits::{
    ACTION_INFERENCES_MAX, ATTRIBUTE_BYTES_MAX, ATTRIBUTION_ENTRIES_MAX, EXTENSION_NAME_CHARS_MAX, EXTENSIONS_MAX, ID_CHARS_MAX,
    INFERENCE_PARENTS_MAX, MODEL_DATANETS_MAX, MODEL_PARENTS_MAX, SOURCE_CHARS_MAX,
};
use crate::refusal::{Code, Refusal, excerpt};
use crate::units::{Bps, Name};
use crate::uri::is_uri_reference;

/// The scope of the policy for all models, and so no name for a model.
pub const GLOBAL_SCOPE: &str = "global";

/// The attributes of CloudEvents that are named, and so no extensions.
pub const NAMED_ATTRIBUTES: &[&str] = &[
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "traceparent",
    "tracestate",
    "sig",
    "signer",
    "data",
];

/// Checks every rule that the types of a draft do not hold by themselves.
pub fn check(draft: &Draft) -> Result<(), Refusal> {
    let invalid = |field: &str, problem: &'static str| Refusal::at(Code::ValueInvalid, field, problem);
    check_id(&draft.id).map_err(|problem| invalid("id", problem))?;
    check_source(&draft.source).map_err(|problem| invalid("source", problem))?;
    let kept = [
        ("dataschema", &draft.dataschema),
        ("traceparent", &draft.traceparent),
        ("tracestate", &draft.tracestate),
        ("sig", &draft.sig),
        ("signer", &draft.signer),
    ];
    for (name, value) in kept {
        if let Some(value) = value {
            check_attribute(value).map_err(|problem| invalid(name, problem))?;
        }
    }
    if draft.extensions.len() > EXTENSIONS_MAX {
        return Err(too_many_extensions());
    }
    for (name, value) in &draft.extensions {
        check_extension_name(name)?;
        check_attribute(value).map_err(|problem| invalid(name, problem))?;
    }
    check_data(&draft.data)
}

/// 1–128 characters of U+0021–U+007E.
pub fn check_id(text: &str) -> Result<(), &'static str> {
    let fits = (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err("must have 1 to 128 characters of U+0021 to U+007E: visible ASCII without spaces") }
}

/// A URI-reference of 1–256 characters.
pub fn check_source(text: &str) -> Result<(), &'static str> {
    let fits = (1..=SOURCE_CHARS_MAX).contains(&text.len()) && is_uri_reference(text);
    if fits { Ok(()) } else { Err("must be a URI-reference (RFC 3986) of 1 to 256 characters, such as urn:example:node-7") }
}

/// A CloudEvents string: no control characters, no Unicode noncharacters; at most 8192 bytes.
pub fn check_attribute(text: &str) -> Result<(), &'static str> {
    if text.len() > ATTRIBUTE_BYTES_MAX {
        return Err("has more than 8192 bytes: shorten it");
    }
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    if text.chars().any(forbidden) {
        return Err("contains a control character or a noncharacter, which CloudEvents does not allow in attributes");
    }
    Ok(())
}

/// Lower-case letters and digits, 1–64 of them, and none of the named attributes.
pub fn check_extension_name(name: &str) -> Result<(), Refusal> {
    let fits = (1..=EXTENSION_NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits && !NAMED_ATTRIBUTES.contains(&name) {
        return Ok(());
    }
    let problem = "is no name of an attribute: CloudEvents names have lower-case letters a-z and digits only, here at most 64";
    Err(Refusal::at(Code::ExtensionNameInvalid, excerpt(name), problem))
}

/// The refusal of an event with more extensions than are kept.
pub fn too_many_extensions() -> Refusal {
    Refusal::at(Code::ExtensionsTooMany, "", "has more than 8 extension attributes besides the named ones: leave some out")
}

/// How the fields of a payload agree, and how long its lists are.
pub fn check_data(data: &EventData) -> Result<(), Refusal> {
    match data {
        EventData::ModelRegistered(model) => check_registration(model),
        EventData::ModelUpdated(ModelUpdated { datanets, .. }) => {
            at_most("data.datanets", datanets.as_ref().map_or(0, Vec::len), MODEL_DATANETS_MAX)
        }
        EventData::PolicySet(policy) => check_policy(policy),
        EventData::InferenceCompleted(InferenceCompleted { parents, .. }) => {
            at_most("data.parents", parents.as_ref().map_or(0, Vec::len), INFERENCE_PARENTS_MAX)
        }
        EventData::AttributionTraced(attribution) => check_attribution(attribution),
        EventData::AgentActed(AgentActed { inferences, .. }) => {
            at_most("data.inferences", inferences.len(), ACTION_INFERENCES_MAX)
        }
        EventData::GrantSet(grant) => check_grant(grant),
        EventData::DatanetRegistered(_)
        | EventData::ContributionSubmitted(_)
        | EventData::ContributionReviewed(_)
        | EventData::FeedbackRecorded(_) => Ok(()),
    }
}

fn at_most(field: &str, items: usize, limit: usize) -> Result<(), Refusal> {
    if items <= limit {
        return Ok(());
    }
    Err(Refusal::at(Code::ListLength, field, format!("has {items} items, but at most {limit} are taken")))
}

fn check_registration(model: &ModelRegistered) -> Result<(), Refusal> {
    if model.model_id.as_str() == GLOBAL_SCOPE {
        let problem = "cannot be `global`, the scope of the policy for all models: choose another id";
        return Err(Refusal::at(Code::NameReserved, "data.model_id", problem));
    }
    at_most("data.parents", model.parents.len(), MODEL_PARENTS_MAX)?;
    at_most("data.datanets", model.datanets.len(), MODEL_DATANETS_MAX)?;
    let problem = match (model.kind, model.parents.is_empty()) {
        (ModelKind::Base, false) => "must be empty for a base model: leave them out, or register a fine_tune or an adapter",
        (ModelKind::FineTune, true) => "must name at least one model for a fine_tune: add it, or register a base model",
        (ModelKind::Adapter, true) => "must name at least one model for an adapter: add it, or register a base model",
        (ModelKind::Base, true) | (ModelKind::FineTune | ModelKind::Adapter, false) => return Ok(()),
    };
    Err(Refusal::at(Code::ParentsMismatch, "data.parents", problem))
}

fn check_policy(policy: &PolicySet) -> Result<(), Refusal> {
    let split = &policy.split_bps;
    let shares = [split.contributors, split.model, split.node, split.validators, split.protocol];
    let sum: u32 = shares.iter().map(|share| u32::from(share.get())).sum();
    if sum == u32::from(Bps::WHOLE) {
        return Ok(());
    }
    Err(Refusal::at(Code::SplitSum, "data.split_bps", format!("adds up to {sum}, but the five shares must add up to 10000")))
}

fn check_attribution(attribution: &AttributionTraced) -> Result<(), Refusal> {
    let entries = &attribution.entries;
    if entries.is_empty() {
        let problem = "is empty, but an attribution has at least one entry: send none where nothing was found";
        return Err(Refusal::at(Code::ListLength, "data.entries", problem));
    }
    at_most("data.entries", entries.len(), ATTRIBUTION_ENTRIES_MAX)?;
    // Most producers send entries in order, which proves them unique without a set.
    if entries.is_sorted_by(|a, b| a.contribution_id < b.contribution_id) {
        return Ok(());
    }
    let mut seen: HashSet<&Name> = HashSet::with_capacity(entries.len());
    match entries.iter().position(|entry| !seen.insert(&entry.contribution_id)) {
        None => Ok(()),
        Some(index) => {
            let problem = "names a contribution that an earlier entry names: send one entry per contribution";
            Err(Refusal::at(Code::ItemDuplicate, format!("data.entries[{index}].contribution_id"), problem))
        }
    }
}

fn check_grant(grant: &GrantSet) -> Result<(), Refusal> {
    at_most("data.roles", grant.roles.len(), GrantRole::ALL.len())?;
    at_most("data.types", grant.types.len(), EventType::ALL.len())
}
