//! Agents and what they did.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use tributary_schemas::event::EventType;
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::entity::{Entity, find_all};
use super::super::global_id::GlobalId;
use super::super::listing::Listing;
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::Row;
use super::super::scalars::{DateTime, Hash, Long, Wei};
use super::account::Account;
use super::event::{Event, PLACE_ORDER};
use super::inference::{self, Inference, InferenceWhere};
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};

/// A program that asks models and acts; known by the events that name it.
#[derive(Clone)]
pub struct Agent {
    reader: Arc<Reader>,
    agent_id: String,
}

impl Agent {
    pub(crate) fn new(reader: &Arc<Reader>, id: &str) -> Self {
        Self { reader: Arc::clone(reader), agent_id: id.to_owned() }
    }
}

impl Listed for Agent {
    const NAME: &'static str = "Agent";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self { reader: Arc::clone(reader), agent_id: row.text("agent_id")? })
    }
}

impl Entity for Agent {
    const FROM: &'static str = "(SELECT i.agent_id FROM effective_inferences i WHERE i.agent_id IS NOT NULL \
        UNION SELECT a.agent_id FROM agent_actions a) r";
    const COLUMNS: &'static str = "r.agent_id";
    const ID: &'static str = "r.agent_id";
    const LIST: &'static str = "agents";

    fn own_id(&self) -> &str {
        &self.agent_id
    }
}

#[Object]
impl Agent {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Agent(self.agent_id.clone()).encode()
    }

    async fn agent_id(&self) -> &str {
        &self.agent_id
    }

    async fn inferences(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        r#where: Option<InferenceWhere>,
    ) -> Result<Connection<Inference>, QueryError> {
        let listing = Listing { owner: Some("r.agent_id"), ..inference::listing(context, r#where.as_ref(), None)? };
        let list = (listing, Some(text(&self.agent_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    /// In the order of the record
    async fn actions(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<AgentAction>, QueryError> {
        let list = (AgentAction::listing(), Some(text(&self.agent_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }
}

/// Something that an agent did.
#[derive(Clone)]
pub struct AgentAction {
    reader: Arc<Reader>,
    action: String,
    inferences: Vec<String>,
    chain_id: Option<i64>,
    tx_hash: Option<units::Hash>,
    counterparty: Option<units::Address>,
    value: Option<u128>,
    event: Event,
}

impl Listed for AgentAction {
    const NAME: &'static str = "AgentAction";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            action: row.text("action")?,
            inferences: row.texts("inferences")?,
            chain_id: row.maybe_long("chain_id")?,
            tx_hash: row.maybe_hash("tx_hash")?,
            counterparty: row.maybe_address("counterparty")?,
            value: row.maybe_wei("value")?,
            event: Event::of_row(reader, row, (EventType::AgentActed, row.text("agent_id")?))?,
        })
    }
}

impl AgentAction {
    fn listing() -> Listing {
        Listing {
            name: "actions",
            columns: "r.agent_id, r.action, r.inferences, r.chain_id, r.tx_hash, r.counterparty, r.value, r.event_id, r.source, \
                      r.producer, r.event_time, r.accepted_at, r._partition, r._seq, r._ordinal"
                .into(),
            from: SqlText::new("counted_agent_actions r"),
            filters: Vec::new(),
            owner: Some("r.agent_id"),
            order: PLACE_ORDER.to_vec(),
            wide: None,
        }
    }
}

#[Object]
impl AgentAction {
    async fn action(&self) -> &str {
        &self.action
    }

    /// The recorded ones among the inferences that it names
    async fn inferences(&self) -> Result<Vec<Inference>, QueryError> {
        find_all(&self.reader, &self.inferences).await
    }

    async fn chain_id(&self) -> Option<Long> {
        self.chain_id.map(Long)
    }

    async fn tx_hash(&self) -> Option<Hash> {
        self.tx_hash.map(Hash)
    }

    async fn counterparty(&self) -> Option<Account> {
        self.counterparty.map(|address| Account::new(&self.reader, address))
    }

    async fn value(&self) -> Option<Wei> {
        self.value.map(Wei)
    }

    async fn at(&self) -> DateTime {
        DateTime(self.event.time)
    }

    async fn event(&self) -> &Event {
        &self.event
    }
}
