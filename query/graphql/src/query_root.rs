//! The root of queries.

use std::sync::Arc;

use async_graphql::{Context, ID, Interface, Object};
use futures::try_join;
use tributary_schemas::ids::{Partition, Seq};

use super::as_of::AsOfInput;
use super::connection::{Connection, Listed};
use super::entity::{Entity, find};
use super::global_id::{GlobalId, Place};
use super::listing::Listing;
use super::page::{Page, PageArgs};
use super::reader::{Reader, Request};
use super::runs;
use super::scalars::{Address, DateTime, Long};
use super::types::account::{self, Account, AccountOrder};
use super::types::agent::Agent;
use super::types::attribution;
use super::types::blob::Blob;
use super::types::contribution::{self, Contribution, ContributionOrder, ContributionWhere};
use super::types::datanet::{self, Datanet, DatanetOrder, DatanetWhere};
use super::types::epoch::{self, Epoch, EpochOf};
use super::types::event::{self, Batch, Event, EventWhere, Named};
use super::types::inference::{self, Inference, InferenceOrder, InferenceWhere};
use super::types::meta::Meta;
use super::types::model::{self, Model, ModelOrder, ModelWhere};
use super::types::search::{SearchHit, search};
use super::types::series::{Interval, Metric, SeriesArgs, SeriesGroup, SeriesPoint, series};
use tributary_query::error::{Code, QueryError};

/// The most ids of one `nodes`.
const NODES_MAX: usize = 1000;

/// A thing with a global id
#[derive(Clone, Interface)]
#[graphql(field(name = "id", ty = "ID"))]
pub enum Node {
    Datanet(Datanet),
    Contribution(Contribution),
    Model(Model),
    Inference(Inference),
    Agent(Agent),
    Account(Account),
    Epoch(Epoch),
    Event(Event),
    Batch(Batch),
    Blob(Blob),
}

/// The thing that a global id names; `None` if the record has none.
async fn node_of(reader: &Arc<Reader>, id: &ID) -> Result<Option<Node>, QueryError> {
    Ok(match GlobalId::decode(id) {
        None => None,
        Some(GlobalId::Datanet(id)) => find(reader, &id).await?.map(Node::Datanet),
        Some(GlobalId::Contribution(id)) => find(reader, &id).await?.map(Node::Contribution),
        Some(GlobalId::Model(id)) => find(reader, &id).await?.map(Node::Model),
        Some(GlobalId::Inference(id)) => find(reader, &id).await?.map(Node::Inference),
        Some(GlobalId::Agent(id)) => find(reader, &id).await?.map(Node::Agent),
        Some(GlobalId::Account(address)) => Some(Node::Account(Account::new(reader, address))),
        Some(GlobalId::Epoch(number)) => reader.get(EpochOf(number.as_i64())).await?.map(Node::Epoch),
        Some(GlobalId::Event(place)) => event_at(reader, place).await?.map(Node::Event),
        Some(GlobalId::Batch(partition, seq)) => batch_at(reader, partition, seq).await?.map(Node::Batch),
        Some(GlobalId::Blob(partition, seq)) => {
            reader.note_moving();
            let blob = reader.session().blob_of(partition, seq).await?.filter(|listed| listed.first_seq == seq);
            blob.map(|listed| Node::Blob(Blob { reader: Arc::clone(reader), listed }))
        }
    })
}

async fn event_at(reader: &Arc<Reader>, place: Place) -> Result<Option<Event>, QueryError> {
    if !reader.point().cut.covers(place.partition, place.seq) {
        return Ok(None);
    }
    let batch = reader.batch(place.partition, place.seq).await?;
    if place.ordinal >= batch.header.events {
        return Ok(None);
    }
    Event::of_batch(reader, &batch, place.ordinal).map(Some)
}

async fn batch_at(reader: &Arc<Reader>, partition: Partition, seq: Seq) -> Result<Option<Batch>, QueryError> {
    if !reader.point().cut.covers(partition, seq) {
        return Ok(None);
    }
    Batch::at(reader, Place { partition, seq, ordinal: 0 }).await.map(Some)
}

/// The root of queries.
pub struct Query;

#[Object]
impl Query {
    async fn node(&self, context: &Context<'_>, id: ID) -> Result<Option<Node>, QueryError> {
        node_of(&Request::of(context).head().await?, &id).await
    }

    async fn nodes(&self, context: &Context<'_>, ids: Vec<ID>) -> Result<Vec<Option<Node>>, QueryError> {
        if ids.len() > NODES_MAX {
            return Err(QueryError::new(Code::BadPage, format!("`ids` has {} ids, at most {NODES_MAX} are taken", ids.len())));
        }
        let reader = Request::of(context).head().await?;
        futures::future::try_join_all(ids.iter().map(|id| node_of(&reader, id))).await
    }

    async fn meta(&self, context: &Context<'_>) -> Result<Meta, QueryError> {
        Ok(Meta { reader: Request::of(context).head().await? })
    }

    async fn datanet(
        &self,
        context: &Context<'_>,
        datanet_id: String,
        as_of: Option<AsOfInput>,
    ) -> Result<Option<Datanet>, QueryError> {
        by_id(context, &datanet_id, as_of).await
    }

    async fn contribution(
        &self,
        context: &Context<'_>,
        contribution_id: String,
        as_of: Option<AsOfInput>,
    ) -> Result<Option<Contribution>, QueryError> {
        by_id(context, &contribution_id, as_of).await
    }

    async fn model(
        &self,
        context: &Context<'_>,
        model_id: String,
        as_of: Option<AsOfInput>,
    ) -> Result<Option<Model>, QueryError> {
        by_id(context, &model_id, as_of).await
    }

    async fn inference(
        &self,
        context: &Context<'_>,
        inference_id: String,
        as_of: Option<AsOfInput>,
    ) -> Result<Option<Inference>, QueryError> {
        let asked = context.look_ahead().field("attribution");
        if !asked.exists() {
            return by_id(context, &inference_id, as_of).await;
        }
        // Both are found by the same id, so they are looked up at the same time; the field then finds what is known already.
        let reader = Request::of(context).at(as_of.as_ref()).await?;
        let found = try_join!(find(&reader, &inference_id), attribution::find(&reader, &inference_id, asked))?;
        Ok(found.0)
    }

    async fn agent(
        &self,
        context: &Context<'_>,
        agent_id: String,
        as_of: Option<AsOfInput>,
    ) -> Result<Option<Agent>, QueryError> {
        by_id(context, &agent_id, as_of).await
    }

    async fn account(&self, context: &Context<'_>, address: Address) -> Result<Account, QueryError> {
        Ok(Account::new(&Request::of(context).head().await?, address.0))
    }

    /// Several events can share source and id if their type or key differ: name those then, else it is an error.
    async fn event(
        &self,
        context: &Context<'_>,
        source: String,
        event_id: String,
        r#type: Option<String>,
        key: Option<String>,
    ) -> Result<Option<Event>, QueryError> {
        let reader = Request::of(context).head().await?;
        let found = reader.get(Named { source, event_id, event_type: r#type, key }).await?.unwrap_or_default();
        let identity = |event: &Event| (event.event_type, event.key.clone());
        match found.first().map(identity) {
            Some(first) if found.iter().any(|event| identity(event) != first) => {
                let message = "events of several types or keys have this source and id: name `type` and `key`";
                Err(QueryError::new(Code::AmbiguousEvent, message))
            }
            // Of one identity only the first counts.
            _ => Ok(found.into_iter().next()),
        }
    }

    /// Ids, names, addresses and hashes by prefix or word; best first.
    async fn search(
        &self,
        context: &Context<'_>,
        text: String,
        #[graphql(default = 20)] first: Option<i32>,
    ) -> Result<Vec<SearchHit>, QueryError> {
        search(&Request::of(context).head().await?, &text, first.unwrap_or(20)).await
    }

    /// Sums over time for charts; empty intervals are present with zero.
    #[allow(clippy::too_many_arguments)] // the schema is the contract
    async fn series(
        &self,
        context: &Context<'_>,
        metric: Metric,
        interval: Interval,
        from: DateTime,
        to: DateTime,
        group_by: Option<SeriesGroup>,
        #[graphql(default = 10)] top: Option<i32>,
        as_of: Option<AsOfInput>,
    ) -> Result<Vec<SeriesPoint>, QueryError> {
        let reader = Request::of(context).at(as_of.as_ref()).await?;
        series(&reader, &SeriesArgs { metric, interval, from: from.0, to: to.0, group_by, top: top.unwrap_or(10) }).await
    }

    async fn batch(&self, context: &Context<'_>, partition: i32, seq: Long) -> Result<Option<Batch>, QueryError> {
        let partition = u32::try_from(partition).ok().and_then(Partition::new);
        let seq = u64::try_from(seq.0).ok().and_then(Seq::new);
        match partition.zip(seq) {
            Some((partition, seq)) => batch_at(&Request::of(context).head().await?, partition, seq).await,
            None => Ok(None),
        }
    }

    async fn epoch(&self, context: &Context<'_>, number: Long) -> Result<Option<Epoch>, QueryError> {
        Request::of(context).head().await?.get(EpochOf(number.0)).await
    }

    #[allow(clippy::too_many_arguments)] // the schema is the contract
    async fn datanets(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        r#where: Option<DatanetWhere>,
        order_by: Option<DatanetOrder>,
        as_of: Option<AsOfInput>,
    ) -> Result<Connection<Datanet>, QueryError> {
        let listing = datanet::listing(r#where.as_ref(), order_by)?;
        list(context, listing, PageArgs { first, after, last, before }, as_of).await
    }

    #[allow(clippy::too_many_arguments)] // the schema is the contract
    async fn contributions(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        r#where: Option<ContributionWhere>,
        order_by: Option<ContributionOrder>,
        as_of: Option<AsOfInput>,
    ) -> Result<Connection<Contribution>, QueryError> {
        let listing = contribution::listing(r#where.as_ref(), order_by)?;
        list(context, listing, PageArgs { first, after, last, before }, as_of).await
    }

    #[allow(clippy::too_many_arguments)] // the schema is the contract
    async fn models(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        r#where: Option<ModelWhere>,
        order_by: Option<ModelOrder>,
        as_of: Option<AsOfInput>,
    ) -> Result<Connection<Model>, QueryError> {
        let listing = model::listing(r#where.as_ref(), order_by)?;
        list(context, listing, PageArgs { first, after, last, before }, as_of).await
    }

    #[allow(clippy::too_many_arguments)] // the schema is the contract
    async fn inferences(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        r#where: Option<InferenceWhere>,
        order_by: Option<InferenceOrder>,
        as_of: Option<AsOfInput>,
    ) -> Result<Connection<Inference>, QueryError> {
        let listing = inference::listing(context, r#where.as_ref(), order_by)?;
        list(context, listing, PageArgs { first, after, last, before }, as_of).await
    }

    #[allow(clippy::too_many_arguments)] // the schema is the contract
    async fn agents(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOfInput>,
    ) -> Result<Connection<Agent>, QueryError> {
        list(context, Agent::listing(), PageArgs { first, after, last, before }, as_of).await
    }

    /// By partition, batch and place in it
    #[allow(clippy::too_many_arguments)] // the schema is the contract
    async fn events(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        r#where: Option<EventWhere>,
        as_of: Option<AsOfInput>,
    ) -> Result<Connection<Event>, QueryError> {
        list(context, event::listing(r#where.as_ref())?, PageArgs { first, after, last, before }, as_of).await
    }

    /// Accounts that have earned.
    async fn accounts(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        order_by: Option<AccountOrder>,
    ) -> Result<Connection<Account>, QueryError> {
        list(context, account::listing(order_by), PageArgs { first, after, last, before }, None).await
    }

    /// By partition and number
    async fn batches(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        partition: Option<i32>,
    ) -> Result<Connection<Batch>, QueryError> {
        runs::batches(Request::of(context), PageArgs::forward(first, after), partition).await
    }

    /// By partition and first batch
    async fn blobs(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Blob>, QueryError> {
        runs::blobs(Request::of(context), PageArgs::forward(first, after)).await
    }

    async fn epochs(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Epoch>, QueryError> {
        list(context, epoch::listing(), PageArgs::forward(first, after), None).await
    }
}

async fn by_id<E: Entity>(context: &Context<'_>, id: &str, as_of: Option<AsOfInput>) -> Result<Option<E>, QueryError> {
    find(&Request::of(context).at(as_of.as_ref()).await?, id).await
}

/// A page of a list of the record. A later page is read at the point of its cursor; an epoch or a cut named besides must be that.
async fn list<T: Listed>(
    context: &Context<'_>,
    listing: Listing,
    args: PageArgs,
    as_of: Option<AsOfInput>,
) -> Result<Connection<T>, QueryError> {
    let request = Request::of(context);
    let page = Page::parse(&args, &listing)?;
    let reader = match (page.point(), &as_of) {
        // What is available moves on; the list that the cursor is of does not.
        (Some(point), None | Some(AsOfInput::Available(true))) => request.at_point(point).await?,
        (Some(point), Some(named)) => {
            let named = request.at(Some(named)).await?;
            if named.point().cut != point.cut {
                return Err(QueryError::new(
                    Code::BadCursor,
                    format!("the cursor is of {point}, and `asOf` names {}", named.point()),
                ));
            }
            request.at_point(point).await?
        }
        (None, _) => request.at(as_of.as_ref()).await?,
    };
    Connection::open(request, &reader, (listing, None), args).await
}
