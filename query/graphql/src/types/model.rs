//! Models, their updates, policies and statistics.

use std::collections::HashSet;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object};
use tributary_schemas::event::EventType;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::entity::{Entity, find_all};
use super::super::filters::{
    AddressFilter, All, Conditions, OrderDirection, StringFilter, TimeFilter, ValueFilter, Where, combine,
};
use super::super::global_id::GlobalId;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::Row;
use super::super::scalars::{DateTime, Hash, Long};
use super::account::Account;
use super::datanet::Datanet;
use super::event::{Event, PLACE_ORDER};
use super::inference::{self, Inference, InferenceOrder, InferenceWhere};
use super::model_stats::ModelStats;
use super::policy::{GLOBAL, Policy, PolicyOf};
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, text};

/// The most ancestors of a model that are given.
const ANCESTORS_MAX: i32 = 1000;

/// Something that answers: a base model, a fine-tune or an adapter.
#[derive(Clone)]
pub struct Model {
    reader: Arc<Reader>,
    model_id: String,
    kind: ModelKind,
    owner: units::Address,
    parents: Vec<String>,
    datanets: Vec<String>,
    weights_hash: Option<units::Hash>,
    registered_at: Timestamp,
}

/// What a model grew from
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ModelKind {
    Base,
    FineTune,
    Adapter,
}

impl ModelKind {
    const ALL: [(Self, &'static str); 3] = [(Self::Base, "base"), (Self::FineTune, "fine_tune"), (Self::Adapter, "adapter")];

    fn column_text(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn read(name: &str) -> Result<Self, QueryError> {
        let found = Self::ALL.iter().find(|(_, text)| *text == name).map(|(kind, _)| *kind);
        found.ok_or_else(|| QueryError::new(Code::Corrupt, format!("`{name}` is no kind of model")))
    }
}

impl Listed for Model {
    const NAME: &'static str = "Model";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            model_id: row.text("model_id")?,
            kind: ModelKind::read(&row.text("kind")?)?,
            owner: row.address("owner")?,
            parents: row.texts("parents")?,
            datanets: row.texts("datanets")?,
            weights_hash: row.maybe_hash("weights_hash")?,
            registered_at: row.instant("event_time")?,
        })
    }
}

impl Entity for Model {
    const FROM: &'static str = "current_models r";
    const COLUMNS: &'static str = "r.model_id, r.kind, r.owner, r.parents, r.datanets, r.weights_hash, r.event_time";
    const ID: &'static str = "r.model_id";
    const LIST: &'static str = "models";

    fn own_id(&self) -> &str {
        &self.model_id
    }
}

#[Object]
impl Model {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Model(self.model_id.clone()).encode()
    }

    async fn model_id(&self) -> &str {
        &self.model_id
    }

    async fn kind(&self) -> ModelKind {
        self.kind
    }

    async fn owner(&self) -> Account {
        Account::new(&self.reader, self.owner)
    }

    async fn weights_hash(&self) -> Option<Hash> {
        self.weights_hash.map(Hash)
    }

    async fn registered_at(&self) -> DateTime {
        DateTime(self.registered_at)
    }

    /// How the fees of its inferences are split: its own policy, else the global one, else the built-in default
    async fn policy(&self) -> Result<Policy, QueryError> {
        let of = |scope: &str| self.reader.get(PolicyOf(scope.to_owned()));
        let (own, global) = futures::future::try_join(of(&self.model_id), of(GLOBAL)).await?;
        Ok(own.or(global).unwrap_or_default())
    }

    /// The registered ones among the models that its registration names
    async fn parents(&self) -> Result<Vec<Model>, QueryError> {
        find_all(&self.reader, &self.parents).await
    }

    async fn children(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Model>, QueryError> {
        let list = (listing_by_item("parents"), Some(text(&self.model_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    /// The registered models that it grew from, nearest first; `limit` 1000 at most
    async fn ancestors(&self, #[graphql(default = 256)] limit: Option<i32>) -> Result<Vec<Model>, QueryError> {
        let limit = bounded("limit", limit.unwrap_or(256), ANCESTORS_MAX)?;
        let mut reached: HashSet<String> = HashSet::from([self.model_id.clone()]);
        let (mut ancestors, mut level) = (Vec::new(), vec![self.clone()]);
        while ancestors.len() < limit && !level.is_empty() {
            let mut next: Vec<String> =
                level.iter().flat_map(|model| &model.parents).filter(|id| !reached.contains(*id)).cloned().collect();
            next.sort_unstable();
            next.dedup();
            reached.extend(next.iter().cloned());
            level = find_all(&self.reader, &next).await?;
            level.truncate(limit - ancestors.len());
            ancestors.extend(level.iter().cloned());
        }
        Ok(ancestors)
    }

    async fn datanets(&self) -> Result<Vec<Datanet>, QueryError> {
        find_all(&self.reader, &self.datanets).await
    }

    /// In the order of the record
    async fn updates(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<ModelUpdate>, QueryError> {
        let list = (ModelUpdate::listing(), Some(text(&self.model_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    async fn inferences(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        r#where: Option<InferenceWhere>,
        order_by: Option<InferenceOrder>,
    ) -> Result<Connection<Inference>, QueryError> {
        let listing = Listing { owner: Some("r.model_id"), ..inference::listing(context, r#where.as_ref(), order_by)? };
        let list = (listing, Some(text(&self.model_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    async fn stats(&self) -> ModelStats {
        ModelStats { reader: Arc::clone(&self.reader), model_id: self.model_id.clone() }
    }
}

/// A number of things asked for, from 0 to a bound.
pub(crate) fn bounded(name: &str, given: i32, most: i32) -> Result<usize, QueryError> {
    match usize::try_from(given) {
        Ok(number) if given <= most => Ok(number),
        _ => Err(QueryError::new(Code::BadPage, format!("`{name}` is {given}: 0 to {most} are taken"))),
    }
}

/// A training run or a new checkpoint.
#[derive(Clone)]
pub struct ModelUpdate {
    reader: Arc<Reader>,
    version: String,
    weights_hash: units::Hash,
    method: Option<String>,
    datanets: Vec<String>,
    steps: Option<i64>,
    previous_version: Option<String>,
    event: Event,
}

impl Listed for ModelUpdate {
    const NAME: &'static str = "ModelUpdate";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            version: row.text("version")?,
            weights_hash: row.hash("weights_hash")?,
            method: row.maybe_text("method")?,
            datanets: row.texts("datanets")?,
            steps: row.maybe_long("steps")?,
            previous_version: row.maybe_text("previous_version")?,
            event: Event::of_row(reader, row, (EventType::ModelUpdated, row.text("model_id")?))?,
        })
    }
}

impl ModelUpdate {
    fn listing() -> Listing {
        Listing {
            name: "updates",
            columns: "r.model_id, r.version, r.weights_hash, r.method, r.datanets, r.steps, r.previous_version, r.event_id, \
                      r.source, r.producer, r.event_time, r.accepted_at, r._partition, r._seq, r._ordinal"
                .into(),
            from: SqlText::new("counted_model_updates r"),
            filters: Vec::new(),
            owner: Some("r.model_id"),
            order: PLACE_ORDER.to_vec(),
            wide: None,
        }
    }
}

#[Object]
impl ModelUpdate {
    async fn version(&self) -> &str {
        &self.version
    }

    async fn weights_hash(&self) -> Hash {
        Hash(self.weights_hash)
    }

    async fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    async fn datanets(&self) -> Result<Vec<Datanet>, QueryError> {
        find_all(&self.reader, &self.datanets).await
    }

    async fn steps(&self) -> Option<Long> {
        self.steps.map(Long)
    }

    async fn previous_version(&self) -> Option<&str> {
        self.previous_version.as_deref()
    }

    async fn at(&self) -> DateTime {
        DateTime(self.event.time)
    }

    async fn event(&self) -> &Event {
        &self.event
    }
}

/// Conditions on the kind of a model; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct ModelKindFilter {
    eq: Option<ModelKind>,
    r#in: Option<Vec<ModelKind>>,
}

impl ValueFilter for ModelKindFilter {
    fn conditions(&self) -> Conditions {
        let within = self.r#in.as_ref().map(|list| list.iter().map(|kind| text(kind.column_text())).collect());
        Conditions { eq: self.eq.map(|kind| text(kind.column_text())), within, ..Conditions::default() }
    }
}

/// Conditions on models; all that are set must hold. `parent` and `datanetId` hold if one of them passes
#[derive(Clone, Debug, Default, InputObject)]
pub struct ModelWhere {
    model_id: Option<StringFilter>,
    kind: Option<ModelKindFilter>,
    owner: Option<AddressFilter>,
    parent: Option<StringFilter>,
    datanet_id: Option<StringFilter>,
    registered_at: Option<TimeFilter>,
    and: Option<Vec<ModelWhere>>,
    or: Option<Vec<ModelWhere>>,
    not: Option<Box<ModelWhere>>,
}

impl Where for ModelWhere {
    fn own(&self, all: &mut All) -> Result<(), QueryError> {
        all.on("r.model_id", self.model_id.as_ref())?
            .on("r.kind", self.kind.as_ref())?
            .on("r.owner", self.owner.as_ref())?
            .on_items("r.model_id", &owners_of("parents"), self.parent.as_ref())?
            .on_items("r.model_id", &owners_of("datanets"), self.datanet_id.as_ref())?
            .on("r.event_time", self.registered_at.as_ref())?;
        Ok(())
    }
    combine!();
}

/// The ids of models with an item in a list; a condition on `item` may follow.
fn owners_of(list: &str) -> String {
    format!("SELECT model_id FROM (SELECT model_id, unnest({list}) AS item FROM current_models)")
}

/// Models with an item in a list, owned by the item.
pub(crate) fn listing_by_item(list: &'static str) -> Listing {
    let items = format!("(SELECT DISTINCT model_id, unnest({list}) AS item FROM current_models) p");
    let from = SqlText::new(format!("{items} JOIN current_models r ON r.model_id = p.model_id"));
    Listing { from, owner: Some("p.item"), ..Model::listing() }
}

/// What models can be ordered by
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ModelOrderField {
    ModelId,
    RegisteredAt,
    Inferences,
    Fees,
}

/// An order of models; ties are broken by the id
#[derive(Clone, Copy, Debug, InputObject)]
pub struct ModelOrder {
    field: ModelOrderField,
    #[graphql(default_with = "OrderDirection::Asc")]
    direction: OrderDirection,
}

/// Models that pass the filter, in the order.
pub(crate) fn listing(filter: Option<&ModelWhere>, order: Option<ModelOrder>) -> Result<Listing, QueryError> {
    let mut listing = Model::listing();
    listing.filters = filter.map(Where::conditions).transpose()?.unwrap_or_default();
    let Some(order) = order else { return Ok(listing) };
    let key = match order.field {
        ModelOrderField::ModelId => None,
        ModelOrderField::RegisteredAt => Some(SortKey::new("r.event_time", KeyType::Time)),
        ModelOrderField::Inferences => Some(SortKey::new("coalesce(w.inferences, 0)", KeyType::Long)),
        ModelOrderField::Fees => Some(SortKey::new("coalesce(w.fees, CAST(0 AS DECIMAL(38, 0)))", KeyType::Wei)),
    };
    if matches!(order.field, ModelOrderField::Inferences | ModelOrderField::Fees) {
        listing.from.push(
            " LEFT JOIN (SELECT i.model_id, count(*) AS inferences, sum(i.fee) AS fees FROM effective_inferences i \
             GROUP BY i.model_id) w ON w.model_id = r.model_id",
        );
    }
    listing.sort_by(key, order.direction.is_descending());
    Ok(listing)
}
