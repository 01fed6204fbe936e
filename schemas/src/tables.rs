//! The tables that SQL shows: names, columns, types and order are a contract with readers.
//!
//! Types are those that Delta Lake gives back unchanged: timestamps in microseconds UTC, lists of `element`, maps of
//! `key_value { key, value }`, and what is required is not null.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use self::Kind::{Amount, BigInt, Boolean, Instant, Int, List, Map, Text};
use crate::event::EventType;

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// One row for every event.
    Events,
    /// `datanet.registered`
    Datanets,
    /// `contribution.submitted`
    Contributions,
    /// `contribution.reviewed`
    Reviews,
    /// `model.registered`
    Models,
    /// `model.updated`
    ModelUpdates,
    /// `policy.set`
    Policies,
    /// `inference.completed`
    Inferences,
    /// `attribution.traced`, one row for every entry.
    Attributions,
    /// `feedback.recorded`
    Feedback,
    /// `agent.acted`
    AgentActions,
    /// `grant.set`
    Grants,
    /// Every share of every fee, explained.
    RewardLines,
    /// What each account earned in each role, per epoch.
    Rewards,
    /// What each account has earned so far, per epoch.
    Cumulative,
    /// Every settled inference.
    Settled,
    /// Every closed epoch; its row is written last.
    Epochs,
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Int,
    BigInt,
    Amount,
    Boolean,
    Instant,
    List,
    Map,
}

impl Kind {
    fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Amount => DataType::Decimal128(38, 0),
            Self::Boolean => DataType::Boolean,
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List => DataType::List(Arc::new(Field::new("element", DataType::Utf8, false))),
            Self::Map => {
                let key = Field::new("key", DataType::Utf8, false);
                let value = Field::new("value", DataType::Utf8, false);
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(vec![key, value].into()), false)), false)
            }
        }
    }
}

/// A column: its name, its type, and whether it may be null.
type Column = (&'static str, Kind, bool);

const fn must(name: &'static str, kind: Kind) -> Column {
    (name, kind, false)
}

const fn may(name: &'static str, kind: Kind) -> Column {
    (name, kind, true)
}

/// The columns that every table of events has after its own.
const EVENT_COLUMNS: &[Column] = &[
    must("event_id", Text),
    must("source", Text),
    must("producer", Text),
    must("event_time", Instant),
    must("accepted_at", Instant),
    must("_partition", Int),
    must("_seq", BigInt),
    must("_ordinal", Int),
];

impl Table {
    /// Every table, in the order of the specification.
    pub const ALL: &[Table] = &[
        Table::Events,
        Table::Datanets,
        Table::Contributions,
        Table::Reviews,
        Table::Models,
        Table::ModelUpdates,
        Table::Policies,
        Table::Inferences,
        Table::Attributions,
        Table::Feedback,
        Table::AgentActions,
        Table::Grants,
        Table::RewardLines,
        Table::Rewards,
        Table::Cumulative,
        Table::Settled,
        Table::Epochs,
    ];

    /// The tables made of events, `events` first.
    pub const EVENT_TABLES: &[Table] = Table::ALL.split_at(12).0;

    /// The tables that settlement writes, `epochs` last.
    pub const SETTLEMENT_TABLES: &[Table] = Table::ALL.split_at(12).1;

    /// Its name in SQL and in the lake.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Datanets => "datanets",
            Self::Contributions => "contributions",
            Self::Reviews => "reviews",
            Self::Models => "models",
            Self::ModelUpdates => "model_updates",
            Self::Policies => "policies",
            Self::Inferences => "inferences",
            Self::Attributions => "attributions",
            Self::Feedback => "feedback",
            Self::AgentActions => "agent_actions",
            Self::Grants => "grants",
            Self::RewardLines => "reward_lines",
            Self::Rewards => "rewards",
            Self::Cumulative => "cumulative",
            Self::Settled => "settled",
            Self::Epochs => "epochs",
        }
    }

    /// The table of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.name() == name)
    }

    /// The table that holds what events of this type say, besides their row in `events`.
    pub fn of(event_type: EventType) -> Self {
        match event_type {
            EventType::DatanetRegistered => Self::Datanets,
            EventType::ContributionSubmitted => Self::Contributions,
            EventType::ContributionReviewed => Self::Reviews,
            EventType::ModelRegistered => Self::Models,
            EventType::ModelUpdated => Self::ModelUpdates,
            EventType::PolicySet => Self::Policies,
            EventType::InferenceCompleted => Self::Inferences,
            EventType::AttributionTraced => Self::Attributions,
            EventType::FeedbackRecorded => Self::Feedback,
            EventType::AgentActed => Self::AgentActions,
            EventType::GrantSet => Self::Grants,
        }
    }

    /// Whether its rows come from events, and so lie in a batch and carry its coordinates.
    pub fn is_event_table(self) -> bool {
        Self::EVENT_TABLES.contains(&self)
    }

    /// The column that holds the record key; tables that settlement writes have none.
    pub fn key_column(self) -> Option<&'static str> {
        match self {
            Self::Events => Some("key"),
            // In each table of events `producer` is whose event it is.
            Self::Grants => Some("producer_id"),
            _ => EventType::ALL.iter().find(|of| Self::of(**of) == self).map(|of| of.key_field()),
        }
    }

    /// Its columns: the payload's in the order of the specification, then, for a table of events, `event_id, source, producer,
    /// event_time, accepted_at, _partition, _seq, _ordinal`.
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<Vec<SchemaRef>> = LazyLock::new(|| Table::ALL.iter().map(|table| table.build()).collect());
        // The variants are declared in the order of ALL; a test holds them to it.
        SCHEMAS[self as usize].clone()
    }

    fn build(self) -> SchemaRef {
        let place = if self.is_event_table() { EVENT_COLUMNS } else { &[] };
        let columns = self.own_columns().iter().chain(place);
        let fields: Vec<Field> = columns.map(|(name, kind, nullable)| Field::new(*name, kind.data_type(), *nullable)).collect();
        Arc::new(Schema::new(fields))
    }

    fn own_columns(self) -> &'static [Column] {
        match self {
            Self::Events => EVENTS,
            Self::Datanets => DATANETS,
            Self::Contributions => CONTRIBUTIONS,
            Self::Reviews => REVIEWS,
            Self::Models => MODELS,
            Self::ModelUpdates => MODEL_UPDATES,
            Self::Policies => POLICIES,
            Self::Inferences => INFERENCES,
            Self::Attributions => ATTRIBUTIONS,
            Self::Feedback => FEEDBACK,
            Self::AgentActions => AGENT_ACTIONS,
            Self::Grants => GRANTS,
            Self::RewardLines => REWARD_LINES,
            Self::Rewards => REWARDS,
            Self::Cumulative => CUMULATIVE,
            Self::Settled => SETTLED,
            Self::Epochs => EPOCHS,
        }
    }
}

const EVENTS: &[Column] = &[must("type", Text), must("key", Text), may("traceparent", Text), must("attributes", Map)];

const DATANETS: &[Column] = &[must("datanet_id", Text), must("owner", Text), must("name", Text), may("license", Text)];

const CONTRIBUTIONS: &[Column] = &[
    must("contribution_id", Text),
    must("datanet_id", Text),
    must("contributor", Text),
    must("content_hash", Text),
    must("bytes", BigInt),
    may("tokens", BigInt),
];

const REVIEWS: &[Column] = &[must("contribution_id", Text), must("validator", Text), must("verdict", Text), may("score", BigInt)];

const MODELS: &[Column] = &[
    must("model_id", Text),
    must("kind", Text),
    must("owner", Text),
    must("parents", List),
    must("datanets", List),
    may("weights_hash", Text),
];

const MODEL_UPDATES: &[Column] = &[
    must("model_id", Text),
    must("version", Text),
    must("weights_hash", Text),
    may("method", Text),
    may("datanets", List),
    may("steps", BigInt),
    may("previous_version", Text),
];

const POLICIES: &[Column] = &[
    must("scope", Text),
    must("contributors_bps", Int),
    must("model_bps", Int),
    must("node_bps", Int),
    must("validators_bps", Int),
    must("protocol_bps", Int),
    must("upstream_bps", Int),
];

const INFERENCES: &[Column] = &[
    must("inference_id", Text),
    must("model_id", Text),
    must("node", Text),
    must("requester", Text),
    may("agent_id", Text),
    may("parents", List),
    must("input_hash", Text),
    must("output_hash", Text),
    must("input_tokens", BigInt),
    must("output_tokens", BigInt),
    must("latency_us", BigInt),
    must("fee", Amount),
];

const ATTRIBUTIONS: &[Column] = &[
    must("inference_id", Text),
    must("method", Text),
    must("contribution_id", Text),
    must("weight", BigInt), // each below 2^31, their sum is not
];

const FEEDBACK: &[Column] = &[must("inference_id", Text), must("actor", Text), must("score", BigInt), may("label", Text)];

const AGENT_ACTIONS: &[Column] = &[
    must("agent_id", Text),
    must("action", Text),
    must("inferences", List),
    may("chain_id", BigInt),
    may("tx_hash", Text),
    may("counterparty", Text),
    may("value", Amount),
];

const GRANTS: &[Column] = &[must("producer_id", Text), must("roles", List), must("types", List), may("revoked", Boolean)];

const REWARD_LINES: &[Column] = &[
    must("epoch", BigInt),
    must("inference_id", Text),
    must("account", Text),
    must("role", Text),
    must("amount", Amount),
    may("contribution_id", Text),
    may("model_id", Text),
];

const REWARDS: &[Column] = &[must("epoch", BigInt), must("account", Text), must("role", Text), must("amount", Amount)];

const CUMULATIVE: &[Column] = &[must("epoch", BigInt), must("account", Text), must("cumulative", Amount)];

const SETTLED: &[Column] = &[must("epoch", BigInt), must("inference_id", Text), must("fee", Amount), must("attributed", Boolean)];

const EPOCHS: &[Column] = &[
    must("epoch", BigInt),
    must("cut", Text),
    must("closed_at", Instant),
    must("treasury", Text),
    must("rules_version", Int),
    must("inferences", BigInt),
    must("unattributed", BigInt),
    must("fees", Amount),
    must("accounts", BigInt),
    must("cumulative_total", Amount),
    must("root", Text),
];

#[cfg(test)]
mod tests;
