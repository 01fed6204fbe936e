//! Rewards, and the lines that explain them.

use std::sync::Arc;

use async_graphql::{Context, Enum, Object};
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::entity::find;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::Row;
use super::super::scalars::{Long, Wei};
use super::account::Account;
use super::contribution::Contribution;
use super::epoch::{Epoch, epoch_of};
use super::inference::Inference;
use super::model::Model;
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, long, text};

/// In which role something was earned
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Role {
    Contributor,
    Model,
    Node,
    Validator,
    Protocol,
}

impl Role {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Contributor, "contributor"),
        (Self::Model, "model"),
        (Self::Node, "node"),
        (Self::Validator, "validator"),
        (Self::Protocol, "protocol"),
    ];

    fn column_text(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    pub(crate) fn read(name: &str) -> Result<Self, QueryError> {
        let found = Self::ALL.iter().find(|(_, text)| *text == name).map(|(role, _)| *role);
        found.ok_or_else(|| QueryError::new(Code::Corrupt, format!("`{name}` is no role")))
    }
}

/// What an account earned in an epoch in a role.
#[derive(Clone)]
pub struct Reward {
    reader: Arc<Reader>,
    epoch: i64,
    account: units::Address,
    role: Role,
    amount: u128,
}

impl Listed for Reward {
    const NAME: &'static str = "Reward";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            epoch: row.long("epoch")?,
            account: row.address("account")?,
            role: Role::read(&row.text("role")?)?,
            amount: row.wei("amount")?,
        })
    }
}

/// The rewards that belong to something, by epoch, account and role.
pub(crate) fn rewards(owner: &'static str) -> Listing {
    Listing {
        name: "rewards",
        columns: "r.epoch, r.account, r.role, r.amount".into(),
        from: SqlText::new("rewards r"),
        filters: Vec::new(),
        owner: Some(owner),
        order: vec![
            SortKey::new("r.epoch", KeyType::Long),
            SortKey::new("r.account", KeyType::Text),
            SortKey::new("r.role", KeyType::Text),
        ],
        wide: None,
    }
}

#[Object]
impl Reward {
    async fn epoch(&self) -> Result<Epoch, QueryError> {
        epoch_of(&self.reader, self.epoch).await
    }

    async fn account(&self) -> Account {
        Account::new(&self.reader, self.account)
    }

    async fn role(&self) -> Role {
        self.role
    }

    async fn amount(&self) -> Wei {
        Wei(self.amount)
    }

    /// The shares of fees that it is the sum of
    async fn lines(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<RewardLine>, QueryError> {
        let mut listing = lines("r.account");
        listing.filters.push(SqlText::with("r.epoch = ?", long(self.epoch)));
        listing.filters.push(SqlText::with("r.role = ?", text(self.role.column_text())));
        let list = (listing, Some(text(self.account.to_string())));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }
}

/// A share of a fee: who got how much of which inference, in which role, through which contribution or model.
#[derive(Clone)]
pub struct RewardLine {
    reader: Arc<Reader>,
    epoch: i64,
    inference_id: String,
    account: units::Address,
    role: Role,
    amount: u128,
    contribution_id: Option<String>,
    model_id: Option<String>,
}

impl Listed for RewardLine {
    const NAME: &'static str = "RewardLine";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            epoch: row.long("epoch")?,
            inference_id: row.text("inference_id")?,
            account: row.address("account")?,
            role: Role::read(&row.text("role")?)?,
            amount: row.wei("amount")?,
            contribution_id: row.maybe_text("contribution_id")?,
            model_id: row.maybe_text("model_id")?,
        })
    }
}

/// The lines that belong to something, by epoch, inference, role and account.
pub(crate) fn lines(owner: &'static str) -> Listing {
    Listing {
        name: "lines",
        columns: "r.epoch, r.inference_id, r.account, r.role, r.amount, r.contribution_id, r.model_id".into(),
        from: SqlText::new("reward_lines r"),
        filters: Vec::new(),
        owner: Some(owner),
        order: vec![
            SortKey::new("r.epoch", KeyType::Long),
            SortKey::new("r.inference_id", KeyType::Text),
            SortKey::new("r.role", KeyType::Text),
            SortKey::new("r.account", KeyType::Text),
            SortKey::new("coalesce(r.contribution_id, '')", KeyType::Text),
            SortKey::new("coalesce(r.model_id, '')", KeyType::Text),
        ],
        wide: None,
    }
}

#[Object]
impl RewardLine {
    async fn epoch(&self) -> Long {
        Long(self.epoch)
    }

    async fn role(&self) -> Role {
        self.role
    }

    async fn account(&self) -> Account {
        Account::new(&self.reader, self.account)
    }

    async fn amount(&self) -> Wei {
        Wei(self.amount)
    }

    async fn inference(&self) -> Result<Option<Inference>, QueryError> {
        find(&self.reader, &self.inference_id).await
    }

    async fn contribution(&self) -> Result<Option<Contribution>, QueryError> {
        match &self.contribution_id {
            Some(id) => find(&self.reader, id).await,
            None => Ok(None),
        }
    }

    async fn model(&self) -> Result<Option<Model>, QueryError> {
        match &self.model_id {
            Some(id) => find(&self.reader, id).await,
            None => Ok(None),
        }
    }
}
