//! Inferences, their attributions and feedback.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Lookahead, Object};
use tributary_schemas::event::EventType;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::entity::{Entity, find, find_all};
use super::super::filters::{
    AddressFilter, All, BooleanFilter, HashFilter, LongFilter, OrderDirection, StringFilter, TimeFilter, WeiFilter, Where,
    combine,
};
use super::super::global_id::{GlobalId, Place};
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::Row;
use super::super::scalars::{DateTime, Hash, Long, Wei};
use super::account::Account;
use super::agent::Agent;
use super::attribution::{self, Attribution};
use super::event::Event;
use super::feedback::Feedback;
use super::finality::{Finality, finality_of_inference};
use super::model::Model;
use super::pathway::{PathwayDirection, PathwayStep, pathway};
use super::reward::{self, RewardLine};
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, text};

/// One answer of a model.
#[derive(Clone)]
pub struct Inference {
    pub(crate) reader: Arc<Reader>,
    pub(crate) inference_id: String,
    model_id: String,
    node: units::Address,
    requester: units::Address,
    agent_id: Option<String>,
    input_tokens: i64,
    output_tokens: i64,
    latency_us: i64,
    fee: u128,
    time: Timestamp,
    place: Place,
    /// Absent where a list was read for fields that need none of them.
    details: Option<Arc<Details>>,
}

/// What only some documents ask for, and what takes most of the reading.
pub(crate) struct Details {
    pub(crate) parents: Vec<String>,
    input_hash: units::Hash,
    output_hash: units::Hash,
    event: Event,
}

/// The fields that are read from [`Details`].
const DETAILED: [&str; 5] = ["inputHash", "outputHash", "parents", "pathway", "event"];

/// The columns of a list whose document asks for no details.
const HEAD: &str = "r.inference_id, r.model_id, r.node, r.requester, r.agent_id, r.input_tokens, r.output_tokens, r.latency_us, r.fee, \
                    r.event_time, r._partition, r._seq, r._ordinal";

impl Details {
    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            parents: row.texts("parents")?,
            input_hash: row.hash("input_hash")?,
            output_hash: row.hash("output_hash")?,
            event: Event::of_row(reader, row, (EventType::InferenceCompleted, row.text("inference_id")?))?,
        })
    }
}

impl Inference {
    /// Its details, read now if they were not.
    pub(crate) async fn details(&self) -> Result<Arc<Details>, QueryError> {
        if let Some(details) = &self.details {
            return Ok(Arc::clone(details));
        }
        let whole = find::<Inference>(&self.reader, &self.inference_id).await?.and_then(|whole| whole.details);
        whole.ok_or_else(|| QueryError::new(Code::Internal, "an inference of a list is not found by its id"))
    }
}

impl Listed for Inference {
    const NAME: &'static str = "Inference";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            inference_id: row.text("inference_id")?,
            model_id: row.text("model_id")?,
            node: row.address("node")?,
            requester: row.address("requester")?,
            agent_id: row.maybe_text("agent_id")?,
            input_tokens: row.long("input_tokens")?,
            output_tokens: row.long("output_tokens")?,
            latency_us: row.long("latency_us")?,
            fee: row.wei("fee")?,
            time: row.instant("event_time")?,
            place: row.place()?,
            details: if row.has("event_id") { Some(Arc::new(Details::read(reader, row)?)) } else { None },
        })
    }
}

impl Entity for Inference {
    const FROM: &'static str = "effective_inferences r";
    const COLUMNS: &'static str = "r.inference_id, r.model_id, r.node, r.requester, r.agent_id, r.parents, r.input_hash, \
        r.output_hash, r.input_tokens, r.output_tokens, r.latency_us, r.fee, r.event_id, r.source, r.producer, r.event_time, \
        r.accepted_at, r._partition, r._seq, r._ordinal";
    const ID: &'static str = "r.inference_id";
    const LIST: &'static str = "inferences";
    const IS_WIDE: bool = true;

    fn own_id(&self) -> &str {
        &self.inference_id
    }
}

#[Object]
impl Inference {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Inference(self.inference_id.clone()).encode()
    }

    async fn inference_id(&self) -> &str {
        &self.inference_id
    }

    async fn model(&self) -> Result<Option<Model>, QueryError> {
        find(&self.reader, &self.model_id).await
    }

    async fn model_id(&self) -> &str {
        &self.model_id
    }

    async fn node(&self) -> Account {
        Account::new(&self.reader, self.node)
    }

    async fn requester(&self) -> Account {
        Account::new(&self.reader, self.requester)
    }

    async fn agent(&self) -> Option<Agent> {
        self.agent_id.as_ref().map(|id| Agent::new(&self.reader, id))
    }

    async fn input_hash(&self) -> Result<Hash, QueryError> {
        Ok(Hash(self.details().await?.input_hash))
    }

    async fn output_hash(&self) -> Result<Hash, QueryError> {
        Ok(Hash(self.details().await?.output_hash))
    }

    async fn input_tokens(&self) -> Long {
        Long(self.input_tokens)
    }

    async fn output_tokens(&self) -> Long {
        Long(self.output_tokens)
    }

    async fn latency_micros(&self) -> Long {
        Long(self.latency_us)
    }

    async fn fee(&self) -> Wei {
        Wei(self.fee)
    }

    async fn at(&self) -> DateTime {
        DateTime(self.time)
    }

    /// The attribution that counts: the first of its own node or of a tracer
    async fn attribution(&self, context: &Context<'_>) -> Result<Option<Attribution>, QueryError> {
        attribution::find(&self.reader, &self.inference_id, context.look_ahead()).await
    }

    /// In the order of the record
    async fn feedback(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Feedback>, QueryError> {
        let list = (Feedback::listing(), Some(text(&self.inference_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    /// The recorded ones among the inferences whose output it used
    async fn parents(&self) -> Result<Vec<Inference>, QueryError> {
        find_all(&self.reader, &self.details().await?.parents).await
    }

    async fn children(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Inference>, QueryError> {
        let from = SqlText::new(format!("{CHILDREN} p JOIN effective_inferences r ON r.inference_id = p.inference_id"));
        let listing = Listing { from, owner: Some("p.item"), ..Inference::listing() };
        let list = (listing, Some(text(&self.inference_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    /// The inferences that this one grew out of (ancestors) or into (descendants), breadth first; depth at most 32, limit at most 5000.
    async fn pathway(
        &self,
        #[graphql(default_with = "Some(PathwayDirection::Ancestors)")] direction: Option<PathwayDirection>,
        #[graphql(default = 8)] depth: Option<i32>,
        #[graphql(default = 500)] limit: Option<i32>,
    ) -> Result<Vec<PathwayStep>, QueryError> {
        let direction = direction.unwrap_or(PathwayDirection::Ancestors);
        pathway(self, direction, depth.unwrap_or(8), limit.unwrap_or(500)).await
    }

    async fn rewards(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<RewardLine>, QueryError> {
        let list = (reward::lines("r.inference_id"), Some(text(&self.inference_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    async fn finality(&self) -> Result<Finality, QueryError> {
        finality_of_inference(&self.reader, &self.inference_id, self.place).await
    }

    async fn event(&self) -> Result<Event, QueryError> {
        Ok(self.details().await?.event.clone())
    }
}

/// Which inference (`inference_id`) used the output of which (`item`).
pub(crate) const CHILDREN: &str = "(SELECT DISTINCT inference_id, unnest(parents) AS item FROM effective_inferences)";

/// Conditions on inferences; all that are set must hold. `parent` holds if one of the parents passes
#[derive(Clone, Debug, Default, InputObject)]
pub struct InferenceWhere {
    inference_id: Option<StringFilter>,
    model_id: Option<StringFilter>,
    node: Option<AddressFilter>,
    requester: Option<AddressFilter>,
    agent_id: Option<StringFilter>,
    parent: Option<StringFilter>,
    input_hash: Option<HashFilter>,
    output_hash: Option<HashFilter>,
    input_tokens: Option<LongFilter>,
    output_tokens: Option<LongFilter>,
    latency_micros: Option<LongFilter>,
    fee: Option<WeiFilter>,
    at: Option<TimeFilter>,
    attributed: Option<BooleanFilter>,
    settled: Option<BooleanFilter>,
    and: Option<Vec<InferenceWhere>>,
    or: Option<Vec<InferenceWhere>>,
    not: Option<Box<InferenceWhere>>,
}

impl Where for InferenceWhere {
    fn own(&self, all: &mut All) -> Result<(), QueryError> {
        let owners = "SELECT inference_id FROM (SELECT inference_id, unnest(parents) AS item FROM effective_inferences)";
        let id = "r.inference_id";
        all.on(id, self.inference_id.as_ref())?
            .on("r.model_id", self.model_id.as_ref())?
            .on("r.node", self.node.as_ref())?
            .on("r.requester", self.requester.as_ref())?
            .on_nullable("r.agent_id", self.agent_id.as_ref())?
            .on_items(id, owners, self.parent.as_ref())?
            .on("r.input_hash", self.input_hash.as_ref())?
            .on("r.output_hash", self.output_hash.as_ref())?
            .on("r.input_tokens", self.input_tokens.as_ref())?
            .on("r.output_tokens", self.output_tokens.as_ref())?
            .on("r.latency_us", self.latency_micros.as_ref())?
            .on("r.fee", self.fee.as_ref())?
            .on("r.event_time", self.at.as_ref())?
            .on_membership(id, "SELECT inference_id FROM effective_attributions", self.attributed.as_ref())
            .on_membership(id, "SELECT inference_id FROM settled", self.settled.as_ref());
        Ok(())
    }
    combine!();
}

/// What inferences can be ordered by
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum InferenceOrderField {
    InferenceId,
    At,
    Fee,
    OutputTokens,
    Latency,
}

/// An order of inferences; ties are broken by the id
#[derive(Clone, Copy, Debug, InputObject)]
pub struct InferenceOrder {
    field: InferenceOrderField,
    #[graphql(default_with = "OrderDirection::Asc")]
    direction: OrderDirection,
}

/// Whether the document asks a connection of inferences for their details.
fn asks_for_details(connection: Lookahead<'_>) -> bool {
    let nodes = [connection.field("nodes"), connection.field("edges").field("node")];
    nodes.iter().any(|node| DETAILED.iter().any(|field| node.field(field).exists()))
}

/// Inferences that pass the filter, in the order, with as much of them as the document asks for.
pub(crate) fn listing(
    context: &Context<'_>,
    filter: Option<&InferenceWhere>,
    order: Option<InferenceOrder>,
) -> Result<Listing, QueryError> {
    let mut listing = Inference::listing();
    if !asks_for_details(context.look_ahead()) {
        listing.columns = HEAD.into();
    }
    listing.filters = filter.map(Where::conditions).transpose()?.unwrap_or_default();
    if let Some(order) = order {
        let key = match order.field {
            InferenceOrderField::InferenceId => None,
            InferenceOrderField::At => Some(SortKey::new("r.event_time", KeyType::Time)),
            InferenceOrderField::Fee => Some(SortKey::new("r.fee", KeyType::Wei)),
            InferenceOrderField::OutputTokens => Some(SortKey::new("r.output_tokens", KeyType::Long)),
            InferenceOrderField::Latency => Some(SortKey::new("r.latency_us", KeyType::Long)),
        };
        listing.sort_by(key, order.direction.is_descending());
    }
    Ok(listing)
}
