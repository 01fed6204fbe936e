//! Contributions, their reviews, and what was attributed to them.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object};
use tributary_schemas::event::EventType;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units;

use super::super::connection::{Connection, Listed};
use super::super::entity::{Entity, find};
use super::super::filters::{
    AddressFilter, All, Conditions, HashFilter, LongFilter, OrderDirection, StringFilter, TimeFilter, ValueFilter, Where, combine,
};
use super::super::global_id::GlobalId;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
use super::super::reader::{Reader, Request};
use super::super::rows::{Row, rows};
use super::super::scalars::{DateTime, Hash, Long, Wei};
use super::super::waves::Load;
use super::account::Account;
use super::attribution::AttributionEntry;
use super::datanet::Datanet;
use super::event::{Event, PLACE_ORDER};
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, text};

/// One piece of a datanet.
#[derive(Clone)]
pub struct Contribution {
    reader: Arc<Reader>,
    contribution_id: String,
    datanet_id: String,
    contributor: units::Address,
    content_hash: units::Hash,
    bytes: i64,
    tokens: Option<i64>,
    submitted_at: Timestamp,
}

impl Listed for Contribution {
    const NAME: &'static str = "Contribution";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            contribution_id: row.text("contribution_id")?,
            datanet_id: row.text("datanet_id")?,
            contributor: row.address("contributor")?,
            content_hash: row.hash("content_hash")?,
            bytes: row.long("bytes")?,
            tokens: row.maybe_long("tokens")?,
            submitted_at: row.instant("event_time")?,
        })
    }
}

impl Entity for Contribution {
    const FROM: &'static str = "current_contributions r";
    const COLUMNS: &'static str =
        "r.contribution_id, r.datanet_id, r.contributor, r.content_hash, r.bytes, r.tokens, r.event_time";
    const ID: &'static str = "r.contribution_id";
    const LIST: &'static str = "contributions";

    fn own_id(&self) -> &str {
        &self.contribution_id
    }
}

#[Object]
impl Contribution {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Contribution(self.contribution_id.clone()).encode()
    }

    async fn contribution_id(&self) -> &str {
        &self.contribution_id
    }

    async fn datanet(&self) -> Result<Option<Datanet>, QueryError> {
        find(&self.reader, &self.datanet_id).await
    }

    async fn contributor(&self) -> Account {
        Account::new(&self.reader, self.contributor)
    }

    async fn content_hash(&self) -> Hash {
        Hash(self.content_hash)
    }

    async fn bytes(&self) -> Long {
        Long(self.bytes)
    }

    async fn tokens(&self) -> Option<Long> {
        self.tokens.map(Long)
    }

    async fn submitted_at(&self) -> DateTime {
        DateTime(self.submitted_at)
    }

    /// The review that counts: the latest
    async fn review(&self) -> Result<Option<Review>, QueryError> {
        self.reader.get(ReviewOf(self.contribution_id.clone())).await
    }

    /// All its reviews, in the order of the record
    async fn reviews(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Review>, QueryError> {
        let list = (reviews("r.contribution_id"), Some(text(&self.contribution_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    async fn attributions(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<AttributionEntry>, QueryError> {
        let listing = Listing {
            owner: Some("r.contribution_id"),
            order: vec![SortKey::new("r.inference_id", KeyType::Text)],
            ..AttributionEntry::listing()
        };
        let list = (listing, Some(text(&self.contribution_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
    }

    async fn earned(&self) -> Result<Wei, QueryError> {
        Ok(Wei(self.reader.get(EarnedOf(self.contribution_id.clone())).await?.unwrap_or(0)))
    }
}

/// What contributors earned through each contribution.
const EARNED: &str = "SELECT l.contribution_id, sum(l.amount) AS earned FROM reward_lines l WHERE l.role = 'contributor'";

#[derive(Clone, PartialEq, Eq, Hash)]
struct EarnedOf(String);

impl Load for EarnedOf {
    type Value = u128;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, u128>, QueryError> {
        let mut query = SqlText::new(format!("{EARNED} AND l.contribution_id IN ("));
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY l.contribution_id");
        let found = reader.ask(query).await?;
        rows(&found).map(|row| Ok((Self(row.text("contribution_id")?), row.wei("earned")?))).collect()
    }
}

/// What a validator says of a contribution
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Verdict {
    Accepted,
    Rejected,
}

impl Verdict {
    fn column_text(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

/// A validator's judgement of a contribution.
#[derive(Clone)]
pub struct Review {
    reader: Arc<Reader>,
    contribution_id: String,
    validator: units::Address,
    verdict: Verdict,
    score: Option<i64>,
    event: Event,
}

impl Listed for Review {
    const NAME: &'static str = "Review";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        let contribution_id = row.text("contribution_id")?;
        let verdict = match row.text("verdict")?.as_str() {
            "accepted" => Verdict::Accepted,
            "rejected" => Verdict::Rejected,
            other => return Err(QueryError::new(Code::Corrupt, format!("`{other}` is no verdict"))),
        };
        Ok(Self {
            reader: Arc::clone(reader),
            validator: row.address("validator")?,
            verdict,
            score: row.maybe_long("score")?,
            event: Event::of_row(reader, row, (EventType::ContributionReviewed, contribution_id.clone()))?,
            contribution_id,
        })
    }
}

const REVIEW_COLUMNS: &str = "r.contribution_id, r.validator, r.verdict, r.score, r.event_id, r.source, r.producer, \
    r.event_time, r.accepted_at, r._partition, r._seq, r._ordinal";

/// The reviews that belong to something, in the order of the record. A repeated event does not count again.
pub(crate) fn reviews(owner: &'static str) -> Listing {
    Listing {
        name: "reviews",
        columns: REVIEW_COLUMNS.into(),
        from: SqlText::new("counted_reviews r"),
        filters: Vec::new(),
        owner: Some(owner),
        order: PLACE_ORDER.to_vec(),
        wide: None,
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ReviewOf(String);

impl Load for ReviewOf {
    type Value = Review;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Review>, QueryError> {
        let mut query = SqlText::new(format!("SELECT {REVIEW_COLUMNS} FROM current_reviews r WHERE r.contribution_id IN ("));
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(")");
        let found = reader.ask(query).await?;
        let reviews = rows(&found).map(|row| Review::read(&reader, row));
        reviews.map(|review| review.map(|review| (Self(review.contribution_id.clone()), review))).collect()
    }
}

#[Object]
impl Review {
    async fn contribution(&self) -> Result<Option<Contribution>, QueryError> {
        find(&self.reader, &self.contribution_id).await
    }

    async fn contribution_id(&self) -> &str {
        &self.contribution_id
    }

    async fn validator(&self) -> Account {
        Account::new(&self.reader, self.validator)
    }

    async fn verdict(&self) -> Verdict {
        self.verdict
    }

    async fn score(&self) -> Option<f64> {
        self.score.map(score)
    }

    async fn at(&self) -> DateTime {
        DateTime(self.event.time)
    }

    async fn event(&self) -> &Event {
        &self.event
    }
}

/// A score from its millionths: the double nearest to the decimal that was sent.
pub(crate) fn score(millionths: i64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // −1,000,000 to 1,000,000
    let millionths = millionths as f64;
    millionths / 1_000_000.0
}

/// Conditions on the verdict of the latest review; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct VerdictFilter {
    eq: Option<Verdict>,
    r#in: Option<Vec<Verdict>>,
}

impl ValueFilter for VerdictFilter {
    fn conditions(&self) -> Conditions {
        let within = self.r#in.as_ref().map(|list| list.iter().map(|verdict| text(verdict.column_text())).collect());
        Conditions { eq: self.eq.map(|verdict| text(verdict.column_text())), within, ..Conditions::default() }
    }
}

/// Conditions on contributions; all that are set must hold. `verdict` and `validator` are those of the latest review
#[derive(Clone, Debug, Default, InputObject)]
pub struct ContributionWhere {
    contribution_id: Option<StringFilter>,
    datanet_id: Option<StringFilter>,
    contributor: Option<AddressFilter>,
    content_hash: Option<HashFilter>,
    bytes: Option<LongFilter>,
    tokens: Option<LongFilter>,
    submitted_at: Option<TimeFilter>,
    verdict: Option<VerdictFilter>,
    validator: Option<AddressFilter>,
    and: Option<Vec<ContributionWhere>>,
    or: Option<Vec<ContributionWhere>>,
    not: Option<Box<ContributionWhere>>,
}

impl ContributionWhere {
    /// Whether it says something of the latest review, at any level.
    fn reads_review(&self) -> bool {
        let any = |list: &Option<Vec<Self>>| list.iter().flatten().any(Self::reads_review);
        let own = self.verdict.is_some() || self.validator.is_some();
        own || any(&self.and) || any(&self.or) || self.not.as_ref().is_some_and(|not| not.reads_review())
    }
}

impl Where for ContributionWhere {
    fn own(&self, all: &mut All) -> Result<(), QueryError> {
        all.on("r.contribution_id", self.contribution_id.as_ref())?
            .on("r.datanet_id", self.datanet_id.as_ref())?
            .on("r.contributor", self.contributor.as_ref())?
            .on("r.content_hash", self.content_hash.as_ref())?
            .on("r.bytes", self.bytes.as_ref())?
            .on_nullable("r.tokens", self.tokens.as_ref())?
            .on("r.event_time", self.submitted_at.as_ref())?
            .on_nullable("v.verdict", self.verdict.as_ref())?
            .on_nullable("v.validator", self.validator.as_ref())?;
        Ok(())
    }
    combine!();
}

/// What contributions can be ordered by
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ContributionOrderField {
    ContributionId,
    SubmittedAt,
    Bytes,
    Earned,
}

/// An order of contributions; ties are broken by the id
#[derive(Clone, Copy, Debug, InputObject)]
pub struct ContributionOrder {
    field: ContributionOrderField,
    #[graphql(default_with = "OrderDirection::Asc")]
    direction: OrderDirection,
}

/// Contributions that pass the filter, in the order.
pub(crate) fn listing(filter: Option<&ContributionWhere>, order: Option<ContributionOrder>) -> Result<Listing, QueryError> {
    let mut listing = Contribution::listing();
    listing.filters = filter.map(Where::conditions).transpose()?.unwrap_or_default();
    if filter.is_some_and(ContributionWhere::reads_review) {
        listing.from.push(" LEFT JOIN current_reviews v ON v.contribution_id = r.contribution_id");
    }
    if let Some(order) = order {
        let key = match order.field {
            ContributionOrderField::ContributionId => None,
            ContributionOrderField::SubmittedAt => Some(SortKey::new("r.event_time", KeyType::Time)),
            ContributionOrderField::Bytes => Some(SortKey::new("r.bytes", KeyType::Long)),
            ContributionOrderField::Earned => {
                let earned = format!("{EARNED} GROUP BY l.contribution_id");
                listing.from.push(&format!(" LEFT JOIN ({earned}) e ON e.contribution_id = r.contribution_id"));
                Some(SortKey::new("coalesce(e.earned, CAST(0 AS DECIMAL(38, 0)))", KeyType::Wei))
            }
        };
        listing.sort_by(key, order.direction.is_descending());
    }
    Ok(listing)
}
