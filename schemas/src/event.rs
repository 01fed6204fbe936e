//! The events, validated. A value of these types keeps every rule of the event specification.

use std::collections::BTreeMap;

use crate::ids::Timestamp;
use crate::limits::EXTENSIONS_MAX;
use crate::units::{Address, Bps, Count, Hash, Name, Score, Wei, Weight};

/// An event as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What the producer sent.
    pub draft: Draft,
    /// Who was authenticated at the door; `dev` without authentication.
    pub producer: Name,
    /// When the door took it.
    pub accepted_at: Timestamp,
}

/// An event as a producer sends it, before the door adds who sent it and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// CloudEvents `id`: 1–128 characters of U+0021–U+007E.
    pub id: String,
    /// CloudEvents `source`: a URI-reference, 1–256 characters.
    pub source: String,
    /// CloudEvents `time`, in UTC.
    pub time: Timestamp,
    /// Whether `subject` was given; it then equals the key.
    pub has_subject: bool,
    /// Whether `datacontenttype` was given; it then is `application/json`.
    pub has_datacontenttype: bool,
    /// CloudEvents `dataschema`.
    pub dataschema: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// W3C trace context.
    pub tracestate: Option<String>,
    /// The producer's signature, kept as sent.
    pub sig: Option<String>,
    /// Who signed, kept as sent.
    pub signer: Option<String>,
    /// Other extension attributes in their CloudEvents string form, at most [`Self::EXTENSIONS_MAX`].
    pub extensions: BTreeMap<String, String>,
    /// The payload.
    pub data: EventData,
}

impl Draft {
    /// The most extension attributes besides the named ones.
    pub const EXTENSIONS_MAX: usize = EXTENSIONS_MAX;

    /// The Kafka record key, on which order and placement depend.
    pub fn key(&self) -> &str {
        self.data.key()
    }

    /// The CloudEvents `type`.
    pub fn event_type(&self) -> EventType {
        self.data.event_type()
    }
}

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident($payload:ident), $name:literal, key $key:ident;)*) => {
        /// The types of events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType { $($(#[$doc])* $variant,)* }

        impl EventType {
            /// Every type, in the order of the specification.
            pub const ALL: &[EventType] = &[$(EventType::$variant,)*];

            /// The CloudEvents `type`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => concat!("tributary.", $name, ".v1"),)* }
            }

            /// The type of this CloudEvents `type`.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $(concat!("tributary.", $name, ".v1") => Some(Self::$variant),)* _ => None }
            }

            /// The field of `data` that is the record key.
            pub fn key_field(self) -> &'static str {
                match self { $(Self::$variant => stringify!($key),)* }
            }
        }

        /// The payload of an event, one variant per type.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum EventData { $($(#[$doc])* $variant($payload),)* }

        impl EventData {
            /// Its type.
            pub fn event_type(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant,)* }
            }

            /// Its record key.
            pub fn key(&self) -> &str {
                match self { $(Self::$variant(data) => event_types!(@key data $key),)* }
            }
        }
    };
    (@key $data:ident scope) => { $data.scope.as_str() };
    (@key $data:ident $key:ident) => { $data.$key.as_str() };
}

event_types! {
    /// A datanet came to be.
    DatanetRegistered(DatanetRegistered), "datanet.registered", key datanet_id;
    /// A piece of data was added to a datanet.
    ContributionSubmitted(ContributionSubmitted), "contribution.submitted", key contribution_id;
    /// A validator judged a contribution.
    ContributionReviewed(ContributionReviewed), "contribution.reviewed", key contribution_id;
    /// A model came to be.
    ModelRegistered(ModelRegistered), "model.registered", key model_id;
    /// A training run or a new checkpoint.
    ModelUpdated(ModelUpdated), "model.updated", key model_id;
    /// How fees are split, for one model or globally.
    PolicySet(PolicySet), "policy.set", key scope;
    /// A model answered.
    InferenceCompleted(InferenceCompleted), "inference.completed", key inference_id;
    /// What the answer owes to which contributions.
    AttributionTraced(AttributionTraced), "attribution.traced", key inference_id;
    /// Somebody rated an answer.
    FeedbackRecorded(FeedbackRecorded), "feedback.recorded", key inference_id;
    /// An agent did something.
    AgentActed(AgentActed), "agent.acted", key agent_id;
    /// Who may write what; written by Tributary itself.
    GrantSet(GrantSet), "grant.set", key producer;
}

/// `tributary.datanet.registered.v1`
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DatanetRegistered {
    pub datanet_id: Name,
    pub owner: Address,
    pub name: Name,
    pub license: Option<Name>,
}

/// `tributary.contribution.submitted.v1`
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ContributionSubmitted {
    pub contribution_id: Name,
    pub datanet_id: Name,
    pub contributor: Address,
    pub content_hash: Hash,
    pub bytes: Count,
    pub tokens: Option<Count>,
}

/// What a validator found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Verdict {
    Accepted,
    Rejected,
}

impl Verdict {
    /// Every one of them.
    pub const ALL: &[Verdict] = &[Verdict::Accepted, Verdict::Rejected];

    /// The one that this text writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }

    /// As events and tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

/// `tributary.contribution.reviewed.v1`
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ContributionReviewed {
    pub contribution_id: Name,
    pub validator: Address,
    pub verdict: Verdict,
    pub score: Option<Score>,
}

/// What a model grew from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum ModelKind {
    Base,
    FineTune,
    Adapter,
}

impl ModelKind {
    /// Every one of them.
    pub const ALL: &[ModelKind] = &[ModelKind::Base, ModelKind::FineTune, ModelKind::Adapter];

    /// The one that this text writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }

    /// As events and tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::FineTune => "fine_tune",
            Self::Adapter => "adapter",
        }
    }
}

/// `tributary.model.registered.v1`: at most 8 parents (none for a base model, else at least one), at most 64 datanets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ModelRegistered {
    pub model_id: Name,
    pub kind: ModelKind,
    pub owner: Address,
    pub parents: Vec<Name>,
    pub datanets: Vec<Name>,
    pub weights_hash: Option<Hash>,
}

/// `tributary.model.updated.v1`: `datanets` absent differs from `datanets` empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ModelUpdated {
    pub model_id: Name,
    pub version: Name,
    pub weights_hash: Hash,
    pub method: Option<Name>,
    pub datanets: Option<Vec<Name>>,
    pub steps: Option<Count>,
    pub previous_version: Option<Name>,
}

/// How a fee is split over the roles; the parts add up to 10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SplitBps {
    pub contributors: Bps,
    pub model: Bps,
    pub node: Bps,
    pub validators: Bps,
    pub protocol: Bps,
}

/// `tributary.policy.set.v1`: the scope is `global` or a model id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PolicySet {
    pub scope: Name,
    pub split_bps: SplitBps,
    pub upstream_bps: Bps,
}

/// `tributary.inference.completed.v1`: at most 16 parents, absent differing from empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct InferenceCompleted {
    pub inference_id: Name,
    pub model_id: Name,
    pub node: Address,
    pub requester: Address,
    pub agent_id: Option<Name>,
    pub parents: Option<Vec<Name>>,
    pub input_hash: Hash,
    pub output_hash: Hash,
    pub input_tokens: Count,
    pub output_tokens: Count,
    pub latency_us: Count,
    pub fee: Wei,
}

/// One contribution's weight in one inference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AttributionEntry {
    pub contribution_id: Name,
    pub weight: Weight,
}

/// `tributary.attribution.traced.v1`: 1–4096 entries, contribution ids unique, in the order sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AttributionTraced {
    pub inference_id: Name,
    pub method: Name,
    pub entries: Vec<AttributionEntry>,
}

/// `tributary.feedback.recorded.v1`
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FeedbackRecorded {
    pub inference_id: Name,
    pub actor: Address,
    pub score: Score,
    pub label: Option<Name>,
}

/// `tributary.agent.acted.v1`: at most 64 inferences.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AgentActed {
    pub agent_id: Name,
    pub action: Name,
    pub inferences: Vec<Name>,
    pub chain_id: Option<Count>,
    pub tx_hash: Option<Hash>,
    pub counterparty: Option<Address>,
    pub value: Option<Wei>,
}

/// What a producer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum GrantRole {
    Producer,
    Tracer,
    Reviewer,
    Governor,
}

impl GrantRole {
    /// Every one of them.
    pub const ALL: &[GrantRole] = &[GrantRole::Producer, GrantRole::Tracer, GrantRole::Reviewer, GrantRole::Governor];

    /// The one that this text writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }

    /// As events and tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Tracer => "tracer",
            Self::Reviewer => "reviewer",
            Self::Governor => "governor",
        }
    }
}

/// `tributary.grant.set.v1`, never accepted at a door.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GrantSet {
    pub producer: Name,
    pub roles: Vec<GrantRole>,
    pub types: Vec<EventType>,
    pub revoked: Option<bool>,
}
