//! Closed epochs.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object};
use tributary_schemas::ids::{self, Timestamp};
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::global_id::GlobalId;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::{Row, rows};
use super::super::scalars::{DateTime, Hash, Long, Wei};
use super::super::waves::Load;
use super::reward::{self, Reward};
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, long};

/// A closed stretch of the record whose fees have been shared out.
#[derive(Clone)]
pub struct Epoch {
    reader: Arc<Reader>,
    number: i64,
    cut: String,
    closed_at: Timestamp,
    inferences: i64,
    unattributed: i64,
    fees: u128,
    accounts: i64,
    cumulative_total: u128,
    root: units::Hash,
    status: EpochStatus,
    transaction: Option<units::Hash>,
}

/// How far an epoch's root is on its way to the chain
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum EpochStatus {
    Closed,
    Submitted,
    Published,
    Disputed,
}

impl EpochStatus {
    fn read(name: &str) -> Result<Self, QueryError> {
        Ok(match name {
            "CLOSED" => Self::Closed,
            "SUBMITTED" => Self::Submitted,
            "PUBLISHED" => Self::Published,
            "DISPUTED" => Self::Disputed,
            other => return Err(QueryError::new(Code::Corrupt, format!("`{other}` is no status of an epoch"))),
        })
    }
}

const COLUMNS: &str = "r.epoch, r.cut, r.closed_at, r.inferences, r.unattributed, r.fees, r.accounts, r.cumulative_total, \
    r.root, r.status, r.transaction";

impl Listed for Epoch {
    const NAME: &'static str = "Epoch";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            number: row.long("epoch")?,
            cut: row.text("cut")?,
            closed_at: row.instant("closed_at")?,
            inferences: row.long("inferences")?,
            unattributed: row.long("unattributed")?,
            fees: row.wei("fees")?,
            accounts: row.long("accounts")?,
            cumulative_total: row.wei("cumulative_total")?,
            root: row.hash("root")?,
            status: EpochStatus::read(&row.text("status")?)?,
            transaction: row.maybe_hash("transaction")?,
        })
    }
}

/// All closed epochs, by number.
pub(crate) fn listing() -> Listing {
    Listing {
        name: "epochs",
        columns: COLUMNS.into(),
        from: SqlText::new("epochs r"),
        filters: Vec::new(),
        owner: None,
        order: vec![SortKey::new("r.epoch", KeyType::Long)],
        wide: None,
    }
}

/// An epoch by its number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EpochOf(pub(crate) i64);

impl Load for EpochOf {
    type Value = Epoch;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Epoch>, QueryError> {
        let mut query = SqlText::new(format!("SELECT {COLUMNS} FROM epochs r WHERE r.epoch IN ("));
        query.bind_all(keys.iter().map(|key| long(key.0))).push(")");
        let found = reader.ask(query).await?;
        let epochs = rows(&found).map(|row| Epoch::read(&reader, row));
        epochs.map(|epoch| epoch.map(|epoch| (Self(epoch.number), epoch))).collect()
    }
}

/// The epoch of a reward.
pub(crate) async fn epoch_of(reader: &Arc<Reader>, number: i64) -> Result<Epoch, QueryError> {
    let missing = || QueryError::new(Code::Corrupt, format!("there are rewards of epoch {number}, and no such epoch"));
    reader.get(EpochOf(number)).await?.ok_or_else(missing)
}

#[Object]
impl Epoch {
    pub(crate) async fn id(&self) -> Result<ID, QueryError> {
        let number = u64::try_from(self.number).ok().and_then(ids::Epoch::new);
        let bad = || QueryError::new(Code::Corrupt, format!("{} is no number of an epoch", self.number));
        Ok(GlobalId::Epoch(number.ok_or_else(bad)?).encode())
    }

    async fn number(&self) -> Long {
        Long(self.number)
    }

    async fn cut(&self) -> &str {
        &self.cut
    }

    async fn closed_at(&self) -> DateTime {
        DateTime(self.closed_at)
    }

    async fn inferences(&self) -> Long {
        Long(self.inferences)
    }

    async fn unattributed(&self) -> Long {
        Long(self.unattributed)
    }

    async fn fees(&self) -> Wei {
        Wei(self.fees)
    }

    async fn accounts(&self) -> Long {
        Long(self.accounts)
    }

    async fn cumulative_total(&self) -> Wei {
        Wei(self.cumulative_total)
    }

    async fn root(&self) -> Hash {
        Hash(self.root)
    }

    async fn previous(&self) -> Result<Option<Epoch>, QueryError> {
        match self.number {
            1 => Ok(None),
            number => self.reader.get(EpochOf(number - 1)).await,
        }
    }

    async fn transaction(&self) -> Option<Hash> {
        self.reader.note_moving();
        self.transaction.map(Hash)
    }

    async fn status(&self) -> EpochStatus {
        self.reader.note_moving();
        self.status
    }

    async fn rewards(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Reward>, QueryError> {
        let list = (reward::rewards("r.epoch"), Some(long(self.number)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }
}
