//! Accounts: what an address owns, did and earned.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use tributary_schemas::ids::Epoch;
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::filters::OrderDirection;
use super::super::global_id::GlobalId;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::{Row, rows};
use super::super::scalars::{Address, Hash, Long, Wei};
use super::super::waves::Load;
use super::contribution::{self, Contribution, Review, reviews};
use super::inference::{self, Inference};
use super::model::{self, Model};
use super::reward::{self, Reward, Role};
use tributary_query::claims::claim_at;
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, long, text};

/// An address of an EVM chain. Every address is an account, whether the record names it or not.
#[derive(Clone)]
pub struct Account {
    reader: Arc<Reader>,
    address: units::Address,
}

impl Account {
    pub(crate) fn new(reader: &Arc<Reader>, address: units::Address) -> Self {
        Self { reader: Arc::clone(reader), address }
    }
}

impl Listed for Account {
    const NAME: &'static str = "Account";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self::new(reader, row.address("account")?))
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct EarnedOf(String);

impl Load for EarnedOf {
    type Value = u128;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, u128>, QueryError> {
        let mut query = SqlText::with(
            "SELECT r.account, r.cumulative FROM cumulative r WHERE r.epoch = ? AND r.account IN (",
            long(reader.epoch()),
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(")");
        let found = reader.ask(query).await?;
        rows(&found).map(|row| Ok((Self(row.text("account")?), row.wei("cumulative")?))).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct EarnedByRoleOf(String);

impl Load for EarnedByRoleOf {
    type Value = Vec<RoleAmount>;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Vec<RoleAmount>>, QueryError> {
        let mut query = SqlText::new("SELECT r.account, r.role, sum(r.amount) AS amount FROM rewards r WHERE r.account IN (");
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY r.account, r.role");
        let found = reader.ask(query).await?;
        let mut earned: HashMap<Self, Vec<RoleAmount>> = HashMap::new();
        for row in rows(&found) {
            let amount = RoleAmount { role: Role::read(&row.text("role")?)?, amount: Wei(row.wei("amount")?) };
            earned.entry(Self(row.text("account")?)).or_default().push(amount);
        }
        for roles in earned.values_mut() {
            roles.sort_by_key(|of| of.role as usize);
        }
        Ok(earned)
    }
}

#[Object]
impl Account {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Account(self.address).encode()
    }

    async fn address(&self) -> Address {
        Address(self.address)
    }

    /// Everything earned in all epochs so far
    async fn earned(&self) -> Result<Wei, QueryError> {
        Ok(Wei(self.reader.get(EarnedOf(self.address.to_string())).await?.unwrap_or(0)))
    }

    /// The same by role, for the roles in which something was earned
    async fn earned_by_role(&self) -> Result<Vec<RoleAmount>, QueryError> {
        Ok(self.reader.get(EarnedByRoleOf(self.address.to_string())).await?.unwrap_or_default())
    }

    async fn contributions(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Contribution>, QueryError> {
        let listing = Listing { owner: Some("r.contributor"), ..contribution::listing(None, None)? };
        self.list(context, listing, (first, after)).await
    }

    /// The models that it owns
    async fn models(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Model>, QueryError> {
        let listing = Listing { owner: Some("r.owner"), ..model::listing(None, None)? };
        self.list(context, listing, (first, after)).await
    }

    async fn inferences(
        &self,
        context: &Context<'_>,
        r#as: InferenceRole,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Inference>, QueryError> {
        let owner = match r#as {
            InferenceRole::Node => "r.node",
            InferenceRole::Requester => "r.requester",
        };
        let listing = Listing { owner: Some(owner), ..inference::listing(context, None, None)? };
        self.list(context, listing, (first, after)).await
    }

    /// The reviews that it gave, in the order of the record
    async fn reviews(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Review>, QueryError> {
        self.list(context, reviews("r.validator"), (first, after)).await
    }

    async fn rewards(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        epoch: Option<Long>,
    ) -> Result<Connection<Reward>, QueryError> {
        let mut listing = reward::rewards("r.account");
        listing.filters.extend(epoch.map(|Long(epoch)| SqlText::with("r.epoch = ?", long(epoch))));
        self.list(context, listing, (first, after)).await
    }

    /// Its claim at an epoch, the latest if none is named; null if it has earned nothing by then
    async fn claim(&self, epoch: Option<Long>) -> Result<Option<Claim>, QueryError> {
        let named = epoch.map_or(self.reader.epoch(), |Long(epoch)| epoch);
        let epoch = u64::try_from(named).ok().and_then(Epoch::new).filter(|_| named <= self.reader.epoch());
        let Some(epoch) = epoch else { return Ok(None) };
        match claim_at(self.reader.session(), self.address, epoch).await {
            Ok(claim) => Ok(Some(Claim {
                epoch: Long(claim.epoch.as_i64()),
                account: Address(claim.account),
                cumulative: Wei(claim.cumulative),
                proof: claim.proof.into_iter().map(Hash).collect(),
                root: Hash(claim.root),
            })),
            Err(error) if error.code == Code::AccountNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Account {
    async fn list<T: Listed>(
        &self,
        context: &Context<'_>,
        listing: Listing,
        (first, after): (Option<i32>, Option<String>),
    ) -> Result<Connection<T>, QueryError> {
        let list = (listing, Some(text(self.address.to_string())));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }
}

/// What an account was in an inference
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum InferenceRole {
    /// It ran the model
    Node,
    /// It asked and paid
    Requester,
}

/// What was earned in a role.
#[derive(Clone, SimpleObject)]
pub struct RoleAmount {
    role: Role,
    amount: Wei,
}

/// What to send to the contract: claim(account, cumulative, proof).
#[derive(Clone, SimpleObject)]
pub struct Claim {
    epoch: Long,
    account: Address,
    cumulative: Wei,
    proof: Vec<Hash>,
    root: Hash,
}

/// What accounts can be ordered by
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum AccountOrderField {
    Address,
    Earned,
}

/// An order of accounts; ties are broken by the address
#[derive(Clone, Copy, Debug, InputObject)]
pub struct AccountOrder {
    field: AccountOrderField,
    #[graphql(default_with = "OrderDirection::Asc")]
    direction: OrderDirection,
}

/// Accounts that have earned, by the last epoch that the reader sees.
pub(crate) fn listing(order: Option<AccountOrder>) -> Listing {
    let mut listing = Listing {
        name: "accounts",
        columns: "r.account".into(),
        from: SqlText::new("cumulative r"),
        filters: vec![SqlText::new("r.epoch = (SELECT max(l.epoch) FROM epochs l)")],
        owner: None,
        order: vec![SortKey::new("r.account", KeyType::Text)],
        wide: None,
    };
    if let Some(order) = order {
        let key = match order.field {
            AccountOrderField::Address => None,
            AccountOrderField::Earned => Some(SortKey::new("r.cumulative", KeyType::Wei)),
        };
        listing.sort_by(key, order.direction.is_descending());
    }
    listing
}
