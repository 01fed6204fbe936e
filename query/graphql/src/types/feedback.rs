//! Ratings of inferences.

use std::sync::Arc;

use async_graphql::Object;
use tributary_query::error::QueryError;
use tributary_query::sql_text::SqlText;
use tributary_schemas::units;

use super::super::connection::Listed;
use super::super::listing::Listing;
use super::super::reader::Reader;
use super::super::rows::Row;
use super::super::scalars::DateTime;
use super::account::Account;
use super::contribution::score;
use super::event::PLACE_ORDER;

/// A rating of an inference.
#[derive(Clone)]
pub struct Feedback {
    reader: Arc<Reader>,
    actor: units::Address,
    score: i64,
    label: Option<String>,
    at: DateTime,
}

impl Listed for Feedback {
    const NAME: &'static str = "Feedback";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            actor: row.address("actor")?,
            score: row.long("score")?,
            label: row.maybe_text("label")?,
            at: DateTime(row.instant("event_time")?),
        })
    }
}

impl Feedback {
    pub(crate) fn listing() -> Listing {
        Listing {
            name: "feedback",
            columns: "r.actor, r.score, r.label, r.event_time".into(),
            from: SqlText::new("counted_feedback r"),
            filters: Vec::new(),
            owner: Some("r.inference_id"),
            order: PLACE_ORDER.to_vec(),
            wide: None,
        }
    }
}

#[Object]
impl Feedback {
    async fn actor(&self) -> Account {
        Account::new(&self.reader, self.actor)
    }

    async fn score(&self) -> f64 {
        score(self.score)
    }

    async fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    async fn at(&self) -> DateTime {
        self.at
    }
}
