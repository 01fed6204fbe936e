//! The root of subscriptions.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, SimpleObject, Subscription};
use futures::{Stream, TryStreamExt, stream};
use tributary_schemas::cut::Cut;

use super::connection::Listed;
use super::entity::Entity;
use super::filters::Where;
use super::live::{Follower, Position, Wanted};
use super::reader::Request;
use super::rows::rows;
use super::types::epoch::{Epoch, EpochOf};
use super::types::event::Event;
use super::types::inference::{Inference, InferenceWhere};
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, long};

/// How often a subscription looks for what it is not woken by.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An event as it was sealed, and the cursor to go on behind it.
#[derive(Clone, SimpleObject)]
pub struct LiveEvent {
    event: Event,
    cursor: String,
}

/// The root of subscriptions.
pub struct Subscription;

#[Subscription]
impl Subscription {
    /// Events as they are sealed, in order per partition. `after` takes a LiveEvent cursor and resumes without loss or repetition;
    /// `start` gives the record from its beginning.
    async fn events(
        &self,
        context: &Context<'_>,
        types: Option<Vec<String>>,
        keys: Option<Vec<String>>,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<LiveEvent, QueryError>> + use<>, QueryError> {
        let request = Arc::clone(context.data_unchecked::<Arc<Request>>());
        let wanted = Wanted::parse(types, keys)?;
        let journal = Arc::clone(request.engine().journal());
        let position = match after {
            Some(cursor) => Position::decode(&cursor, &journal)?,
            None => Position::at_head(&journal),
        };
        let events = Follower::new(request, wanted, position).events();
        Ok(events.map_ok(|(event, cursor)| LiveEvent { event, cursor }))
    }

    /// Inferences as they are sealed; of several with one id the first
    async fn inferences(
        &self,
        context: &Context<'_>,
        r#where: Option<InferenceWhere>,
    ) -> Result<impl Stream<Item = Result<Inference, QueryError>> + use<>, QueryError> {
        let request = Arc::clone(context.data_unchecked::<Arc<Request>>());
        let filters = r#where.as_ref().map(Where::conditions).transpose()?.unwrap_or_default();
        let from = request.fresh().await?.point().cut.clone();
        let news = stream::try_unfold((request, from), move |(request, seen)| {
            let filters = filters.clone();
            async move {
                let (found, reached) = new_inferences(&request, &seen, filters).await?;
                Ok::<_, QueryError>(Some((stream::iter(found.into_iter().map(Ok)), (request, reached))))
            }
        });
        Ok(news.try_flatten())
    }

    /// Epochs as they are closed
    async fn epochs(&self, context: &Context<'_>) -> Result<impl Stream<Item = Result<Epoch, QueryError>> + use<>, QueryError> {
        let request = Arc::clone(context.data_unchecked::<Arc<Request>>());
        let last = request.fresh().await?.epoch();
        Ok(stream::try_unfold((request, last), |(request, last)| async move {
            loop {
                let reader = request.fresh().await?;
                if reader.epoch() > last
                    && let Some(epoch) = reader.get(EpochOf(last + 1)).await?
                {
                    return Ok::<_, QueryError>(Some((epoch, (request, last + 1))));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }))
    }
}

/// The inferences beyond a cut that pass the filters, in the order of the record, once there is a batch beyond it; and the cut
/// then reached.
async fn new_inferences(request: &Request, seen: &Cut, filters: Vec<SqlText>) -> Result<(Vec<Inference>, Cut), QueryError> {
    let reader = loop {
        let reader = request.fresh().await?;
        if reader.point().cut != *seen {
            break reader;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let reached = reader.point().cut.clone();
    let mut spans = Vec::new();
    for (partition, last) in reached.iter() {
        let first = seen.get(partition).map_or(0, |seq| seq.as_i64() + 1);
        if first <= last.as_i64() {
            let mut span = SqlText::new("r._partition = ");
            span.bind(long(partition.as_i32().into())).push(" AND r._seq >= ").bind(long(first));
            spans.push(span);
        }
    }
    let mut fresh = SqlText::default();
    fresh.join(&spans, " OR ");
    let mut conditions = filters;
    conditions.push(fresh);
    let mut query = SqlText::new(format!("SELECT {} FROM {} WHERE ", Inference::COLUMNS, Inference::FROM));
    query.join(&conditions, " AND ").push(" ORDER BY r._partition, r._seq, r._ordinal");
    let found = reader.ask(query).await?;
    let inferences = rows(&found).map(|row| Inference::read(&reader, row)).collect::<Result<_, _>>()?;
    Ok((inferences, reached))
}
