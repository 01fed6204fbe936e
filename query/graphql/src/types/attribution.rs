//! Attributions and their entries.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Object};
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};
use tributary_schemas::event::EventType;

use super::super::connection::{Connection, Listed};
use super::super::entity::find;
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::page::PageArgs;
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
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct AttributionOf(pub(crate) String);

impl Load for AttributionOf {
    type Value = Attribution;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Attribution>, QueryError> {
        let mut query = SqlText::new(
            "SELECT DISTINCT r.inference_id, r.method, r.event_id, r.source, r.producer, r.event_time, r.accepted_at, \
             r._partition, r._seq, r._ordinal FROM effective_attributions r WHERE r.inference_id IN (",
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(")");
        let found = reader.ask(query).await?;
        let attribution = |row: Row<'_>| -> Result<(Self, Attribution), QueryError> {
            let inference_id = row.text("inference_id")?;
            let event = Event::of_row(&reader, row, (EventType::AttributionTraced, inference_id.clone()))?;
            let key = Self(inference_id.clone());
            Ok((key, Attribution { reader: Arc::clone(&reader), inference_id, method: row.text("method")?, event }))
        };
        rows(&found).map(attribution).collect()
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
        let list = (listing, Some(text(&self.inference_id)));
        Connection::open(Request::of(context), &self.reader, list, PageArgs::forward(first, after)).await
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
}

impl Listed for AttributionEntry {
    const NAME: &'static str = "AttributionEntry";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            inference_id: row.text("inference_id")?,
            contribution_id: row.text("contribution_id")?,
            weight: row.long("weight")?,
        })
    }
}

impl AttributionEntry {
    /// Entries that count; whose they are and their order are still open.
    pub(crate) fn listing() -> Listing {
        Listing {
            name: "entries",
            columns: "r.inference_id, r.contribution_id, r.weight",
            from: SqlText::new("effective_attributions r"),
            filters: Vec::new(),
            owner: None,
            order: Vec::new(),
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
        find(&self.reader, &self.contribution_id).await
    }

    async fn contribution_id(&self) -> &str {
        &self.contribution_id
    }

    async fn weight(&self) -> Long {
        Long(self.weight)
    }

    /// The weight as a part of all weights of the attribution
    async fn share(&self) -> Result<f64, QueryError> {
        let total = self.reader.get(WeightOf(self.inference_id.clone())).await?.unwrap_or(self.weight);
        #[allow(clippy::cast_precision_loss)] // below 2^43
        Ok(self.weight as f64 / total as f64)
    }

    async fn inference(&self) -> Result<Option<Inference>, QueryError> {
        find(&self.reader, &self.inference_id).await
    }

    async fn inference_id(&self) -> &str {
        &self.inference_id
    }
}
