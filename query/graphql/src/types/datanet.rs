//! Datanets.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object};
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::entity::Entity;
use super::super::filters::{AddressFilter, All, OrderDirection, StringFilter, TimeFilter, Where, combine};
use super::super::global_id::GlobalId;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::{Row, rows};
use super::super::scalars::{DateTime, Long, Wei};
use super::super::waves::Load;
use super::account::Account;
use super::contribution::{self, Contribution, ContributionWhere};
use super::model::{self, Model};
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};

/// A shared data set.
#[derive(Clone)]
pub struct Datanet {
    reader: Arc<Reader>,
    datanet_id: String,
    owner: units::Address,
    name: String,
    license: Option<String>,
    registered_at: Timestamp,
}

impl Listed for Datanet {
    const NAME: &'static str = "Datanet";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            datanet_id: row.text("datanet_id")?,
            owner: row.address("owner")?,
            name: row.text("name")?,
            license: row.maybe_text("license")?,
            registered_at: row.instant("event_time")?,
        })
    }
}

impl Entity for Datanet {
    const FROM: &'static str = "current_datanets r";
    const COLUMNS: &'static str = "r.datanet_id, r.owner, r.name, r.license, r.event_time";
    const ID: &'static str = "r.datanet_id";
    const LIST: &'static str = "datanets";

    fn own_id(&self) -> &str {
        &self.datanet_id
    }
}

#[Object]
impl Datanet {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Datanet(self.datanet_id.clone()).encode()
    }

    async fn datanet_id(&self) -> &str {
        &self.datanet_id
    }

    async fn owner(&self) -> Account {
        Account::new(&self.reader, self.owner)
    }

    async fn name(&self) -> &str {
        &self.name
    }

    async fn license(&self) -> Option<&str> {
        self.license.as_deref()
    }

    async fn registered_at(&self) -> DateTime {
        DateTime(self.registered_at)
    }

    async fn contributions(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        r#where: Option<ContributionWhere>,
    ) -> Result<Connection<Contribution>, QueryError> {
        let listing = Listing { owner: Some("r.datanet_id"), ..contribution::listing(r#where.as_ref(), None)? };
        let list = (listing, Some(text(&self.datanet_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    /// The models that name it
    async fn models(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Model>, QueryError> {
        let list = (model::listing_by_item("datanets"), Some(text(&self.datanet_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    async fn stats(&self) -> DatanetStats {
        DatanetStats { reader: Arc::clone(&self.reader), datanet_id: self.datanet_id.clone() }
    }
}

/// earned, here and on Contribution: what contributors earned through it.
pub struct DatanetStats {
    reader: Arc<Reader>,
    datanet_id: String,
}

#[Object]
impl DatanetStats {
    async fn contributions(&self) -> Result<Long, QueryError> {
        Ok(Long(self.sizes().await?.contributions))
    }

    async fn contributors(&self) -> Result<Long, QueryError> {
        Ok(Long(self.sizes().await?.contributors))
    }

    async fn bytes(&self) -> Result<Long, QueryError> {
        Long::total("bytes", self.sizes().await?.bytes)
    }

    /// Inferences whose attribution names at least one of its contributions
    async fn attributed_inferences(&self) -> Result<Long, QueryError> {
        Ok(Long(self.reader.get(AttributedOf(self.datanet_id.clone())).await?.unwrap_or(0)))
    }

    async fn earned(&self) -> Result<Wei, QueryError> {
        Ok(Wei(self.reader.get(EarnedOf(self.datanet_id.clone())).await?.unwrap_or(0)))
    }
}

impl DatanetStats {
    async fn sizes(&self) -> Result<Sizes, QueryError> {
        Ok(self.reader.get(SizesOf(self.datanet_id.clone())).await?.unwrap_or_default())
    }
}

#[derive(Clone, Default)]
struct Sizes {
    contributions: i64,
    contributors: i64,
    bytes: u128,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct SizesOf(String);

impl Load for SizesOf {
    type Value = Sizes;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Sizes>, QueryError> {
        let mut query = SqlText::new(
            "SELECT r.datanet_id, count(*) AS contributions, count(DISTINCT r.contributor) AS contributors, \
             sum(CAST(r.bytes AS DECIMAL(38, 0))) AS bytes FROM current_contributions r WHERE r.datanet_id IN (",
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY r.datanet_id");
        let found = reader.ask(query).await?;
        let sizes = |row: Row<'_>| -> Result<(Self, Sizes), QueryError> {
            let (contributions, contributors) = (row.long("contributions")?, row.long("contributors")?);
            Ok((Self(row.text("datanet_id")?), Sizes { contributions, contributors, bytes: row.wei("bytes")? }))
        };
        rows(&found).map(sizes).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct AttributedOf(String);

impl Load for AttributedOf {
    type Value = i64;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, i64>, QueryError> {
        let mut query = SqlText::new(
            "SELECT c.datanet_id, count(DISTINCT a.inference_id) AS inferences FROM current_contributions c \
             JOIN effective_attributions a ON a.contribution_id = c.contribution_id WHERE c.datanet_id IN (",
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY c.datanet_id");
        let found = reader.ask(query).await?;
        rows(&found).map(|row| Ok((Self(row.text("datanet_id")?), row.long("inferences")?))).collect()
    }
}

/// What contributors earned through each datanet.
const EARNED: &str = "SELECT c.datanet_id, sum(l.amount) AS earned FROM reward_lines l \
    JOIN current_contributions c ON c.contribution_id = l.contribution_id WHERE l.role = 'contributor'";

#[derive(Clone, PartialEq, Eq, Hash)]
struct EarnedOf(String);

impl Load for EarnedOf {
    type Value = u128;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, u128>, QueryError> {
        let mut query = SqlText::new(format!("{EARNED} AND c.datanet_id IN ("));
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY c.datanet_id");
        let found = reader.ask(query).await?;
        rows(&found).map(|row| Ok((Self(row.text("datanet_id")?), row.wei("earned")?))).collect()
    }
}

/// Conditions on datanets; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct DatanetWhere {
    datanet_id: Option<StringFilter>,
    owner: Option<AddressFilter>,
    name: Option<StringFilter>,
    license: Option<StringFilter>,
    registered_at: Option<TimeFilter>,
    and: Option<Vec<DatanetWhere>>,
    or: Option<Vec<DatanetWhere>>,
    not: Option<Box<DatanetWhere>>,
}

impl Where for DatanetWhere {
    fn own(&self, all: &mut All) -> Result<(), QueryError> {
        all.on("r.datanet_id", self.datanet_id.as_ref())?
            .on("r.owner", self.owner.as_ref())?
            .on("r.name", self.name.as_ref())?
            .on_nullable("r.license", self.license.as_ref())?
            .on("r.event_time", self.registered_at.as_ref())?;
        Ok(())
    }
    combine!();
}

/// What datanets can be ordered by
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum DatanetOrderField {
    DatanetId,
    Name,
    RegisteredAt,
    Earned,
}

/// An order of datanets; ties are broken by the id
#[derive(Clone, Copy, Debug, InputObject)]
pub struct DatanetOrder {
    field: DatanetOrderField,
    #[graphql(default_with = "OrderDirection::Asc")]
    direction: OrderDirection,
}

/// Datanets that pass the filter, in the order.
pub(crate) fn listing(filter: Option<&DatanetWhere>, order: Option<DatanetOrder>) -> Result<Listing, QueryError> {
    let mut listing = Datanet::listing();
    listing.filters = filter.map(Where::conditions).transpose()?.unwrap_or_default();
    if let Some(order) = order {
        let key = match order.field {
            DatanetOrderField::DatanetId => None,
            DatanetOrderField::Name => Some(SortKey::new("r.name", KeyType::Text)),
            DatanetOrderField::RegisteredAt => Some(SortKey::new("r.event_time", KeyType::Time)),
            DatanetOrderField::Earned => {
                listing.from.push(&format!(" LEFT JOIN ({EARNED} GROUP BY c.datanet_id) e ON e.datanet_id = r.datanet_id"));
                Some(SortKey::new("coalesce(e.earned, CAST(0 AS DECIMAL(38, 0)))", KeyType::Wei))
            }
        };
        listing.sort_by(key, order.direction.is_descending());
    }
    Ok(listing)
}
