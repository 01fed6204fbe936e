//! Attributions and their entries.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::sync::Arc;

use async_graphql::{Context, Lookahead, Object};
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};
use tributary_schemas::event::EventType;

use super::super::connection::{Connection, Listed};
use super::super::entity;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::{Page, PageArgs};
use super::super::reader::{Reader, Request};
use super::super::rows::{Row, rows};
use super::super::scalars::{DateTime, Long};
use super::super::waves::Load;
use super::contribution::Contribution;
use super::event::Event;
use super::inference::Inference;

/// How much each contribution weighed in an inference.
#[derive(Clone)]
pub struct Attribution {
    reader: Arc<Reader>,
    inference_id: String,
    method: String,
    event: Event,
    /// All of them by contribution id, where they were read with it.
    entries: Option<Arc<Vec<AttributionEntry>>>,
}

/// Of more attributions at once the entries are read by pages: each may have thousands.
const WHOLE_MAX: usize = 8;

/// What an attribution is read from, besides its entries.
const HEAD: &str = "r.inference_id, r.method, r.event_id, r.source, r.producer, r.event_time, r.accepted_at, r._partition, r._seq, \
                    r._ordinal";

/// The attribution that counts for an inference. Its entries are read with it where the document asks for them.
pub(crate) async fn find(
    reader: &Arc<Reader>,
    inference_id: &str,
    asked: Lookahead<'_>,
) -> Result<Option<Attribution>, QueryError> {
    if asked.field("entries").exists() {
        reader.get(WholeAttributionOf(inference_id.to_owned())).await
    } else {
        reader.get(AttributionOf(inference_id.to_owned())).await
    }
}

impl Attribution {
    fn of_row(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        let inference_id = row.text("inference_id")?;
        Ok(Self {
            method: row.text("method")?,
            event: Event::of_row(reader, row, (EventType::AttributionTraced, inference_id.clone()))?,
            reader: Arc::clone(reader),
            entries: None,
            inference_id,
        })
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct AttributionOf(String);

impl Load for AttributionOf {
    type Value = Attribution;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Attribution>, QueryError> {
        let mut query = SqlText::new(format!("SELECT DISTINCT {HEAD} FROM effective_attributions r WHERE r.inference_id IN ("));
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(")");
        let found = reader.ask(query.lookup()).await?;
        let attributions = rows(&found).map(|row| Attribution::of_row(&reader, row));
        attributions.map(|found| found.map(|found| (Self(found.inference_id.clone()), found))).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct WholeAttributionOf(String);

impl Load for WholeAttributionOf {
    type Value = Attribution;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Attribution>, QueryError> {
        if keys.len() > WHOLE_MAX {
            let keys = keys.into_iter().map(|Self(id)| AttributionOf(id)).collect();
            let heads = AttributionOf::load(reader, keys).await?;
            return Ok(heads.into_iter().map(|(AttributionOf(id), head)| (Self(id), head)).collect());
        }
        let mut query = SqlText::new(format!(
            "SELECT {HEAD}, r.contribution_id, r.weight FROM effective_attributions r WHERE r.inference_id IN ("
        ));
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(")");
        let found = reader.ask(query.lookup()).await?;
        let mut whole: HashMap<Self, (Attribution, Vec<AttributionEntry>)> = HashMap::new();
        for row in rows(&found) {
            let entry = AttributionEntry::read(&reader, row)?;
            match whole.entry(Self(entry.inference_id.clone())) {
                Occupied(known) => known.into_mut().1.push(entry),
                Vacant(new) => {
                    new.insert((Attribution::of_row(&reader, row)?, vec![entry]));
                }
            }
        }
        let sorted = |(attribution, mut entries): (Attribution, Vec<AttributionEntry>)| {
            entries.sort_by(|a, b| a.contribution_id.cmp(&b.contribution_id));
            let total = entries.iter().map(|entry| entry.weight).sum();
            entries.iter_mut().for_each(|entry| entry.total = Some(total));
            Attribution { entries: Some(Arc::new(entries)), ..attribution }
        };
        Ok(whole.into_iter().map(|(key, whole)| (key, sorted(whole))).collect())
    }
}

#[Object]
impl Attribution {
    async fn method(&self) -> &str {
        &self.method
    }

    async fn at(&self) -> DateTime {
        DateTime(self.event.time)
    }

    /// By contribution id
    async fn entries(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<AttributionEntry>, QueryError> {
        let listing = Listing {
            owner: Some("r.inference_id"),
            order: vec![SortKey::new("r.contribution_id", KeyType::Text)],
            ..AttributionEntry::listing()
        };
        let args = PageArgs::forward(first, after);
        let page = Page::parse(&args, &listing)?;
        if let (Some(entries), true) = (&self.entries, page.point().is_none_or(|point| point == self.reader.point())) {
            let behind = page.after.as_ref().and_then(|cursor| cursor.values[0].try_as_str().flatten());
            let from = behind.map_or(0, |id| entries.partition_point(|entry| entry.contribution_id.as_str() <= id));
            let rows = entries[from..].iter().take(page.limit + 1);
            let rows = rows.map(|entry| (vec![text(&entry.contribution_id)], entry.clone())).collect();
            let total = i64::try_from(entries.len()).unwrap_or(i64::MAX);
            return Connection::known(Arc::clone(&self.reader), listing, &page, (rows, total));
        }
        let list = (listing, Some(text(&self.inference_id)));
        Connection::open(Request::of(context), &self.reader, list, args).await
    }

    async fn event(&self) -> &Event {
        &self.event
    }
}

/// What one contribution weighed in one inference.
#[derive(Clone)]
pub struct AttributionEntry {
    reader: Arc<Reader>,
    inference_id: String,
    contribution_id: String,
    weight: i64,
    /// The sum of all weights of the attribution, where it is known.
    total: Option<i64>,
}

impl Listed for AttributionEntry {
    const NAME: &'static str = "AttributionEntry";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            inference_id: row.text("inference_id")?,
            contribution_id: row.text("contribution_id")?,
            weight: row.long("weight")?,
            total: None,
        })
    }
}

impl AttributionEntry {
    /// Entries that count; whose they are and their order are still open.
    pub(crate) fn listing() -> Listing {
        Listing {
            name: "entries",
            columns: "r.inference_id, r.contribution_id, r.weight".into(),
            from: SqlText::new("effective_attributions r"),
            filters: Vec::new(),
            owner: None,
            order: Vec::new(),
            wide: None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct WeightOf(String);

impl Load for WeightOf {
    type Value = i64;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, i64>, QueryError> {
        let mut query = SqlText::new(
            "SELECT r.inference_id, sum(r.weight) AS weight FROM effective_attributions r WHERE r.inference_id IN (",
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY r.inference_id");
        let found = reader.ask(query).await?;
        rows(&found).map(|row| Ok((Self(row.text("inference_id")?), row.long("weight")?))).collect()
    }
}

#[Object]
impl AttributionEntry {
    async fn contribution(&self) -> Result<Option<Contribution>, QueryError> {
        entity::find(&self.reader, &self.contribution_id).await
    }

    async fn contribution_id(&self) -> &str {
        &self.contribution_id
    }

    async fn weight(&self) -> Long {
        Long(self.weight)
    }

    /// The weight as a part of all weights of the attribution
    async fn share(&self) -> Result<f64, QueryError> {
        let total = match self.total {
            Some(total) => total,
            None => self.reader.get(WeightOf(self.inference_id.clone())).await?.unwrap_or(self.weight),
        };
        #[allow(clippy::cast_precision_loss)] // below 2^43
        Ok(self.weight as f64 / total as f64)
    }

    async fn inference(&self) -> Result<Option<Inference>, QueryError> {
        entity::find(&self.reader, &self.inference_id).await
    }

    async fn inference_id(&self) -> &str {
        &self.inference_id
    }
}
