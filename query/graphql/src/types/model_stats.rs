//! What models have done.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::Object;
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};

use super::super::reader::Reader;
use super::super::rows::{Row, rows};
use super::super::scalars::{Long, Wei};
use super::super::waves::Load;
use super::contribution::score;

/// What a model has done.
pub struct ModelStats {
    pub(crate) reader: Arc<Reader>,
    pub(crate) model_id: String,
}

#[Object]
impl ModelStats {
    async fn inferences(&self) -> Result<Long, QueryError> {
        Ok(Long(self.work().await?.inferences))
    }

    async fn input_tokens(&self) -> Result<Long, QueryError> {
        Long::total("inputTokens", self.work().await?.input_tokens)
    }

    async fn output_tokens(&self) -> Result<Long, QueryError> {
        Long::total("outputTokens", self.work().await?.output_tokens)
    }

    async fn fees(&self) -> Result<Wei, QueryError> {
        Ok(Wei(self.work().await?.fees))
    }

    /// The mean score of the feedback on its inferences; null without any
    async fn mean_feedback(&self) -> Result<Option<f64>, QueryError> {
        self.reader.get(FeedbackOf(self.model_id.clone())).await
    }
}

impl ModelStats {
    async fn work(&self) -> Result<Work, QueryError> {
        Ok(self.reader.get(WorkOf(self.model_id.clone())).await?.unwrap_or_default())
    }
}

#[derive(Clone, Default)]
struct Work {
    inferences: i64,
    input_tokens: u128,
    output_tokens: u128,
    fees: u128,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct WorkOf(String);

impl Load for WorkOf {
    type Value = Work;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Work>, QueryError> {
        let mut query = SqlText::new(
            "SELECT r.model_id, count(*) AS inferences, sum(CAST(r.input_tokens AS DECIMAL(38, 0))) AS input_tokens, \
             sum(CAST(r.output_tokens AS DECIMAL(38, 0))) AS output_tokens, sum(r.fee) AS fees FROM effective_inferences r WHERE r.model_id IN (",
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY r.model_id");
        let found = reader.ask(query).await?;
        let work = |row: Row<'_>| -> Result<(Self, Work), QueryError> {
            let work = Work {
                inferences: row.long("inferences")?,
                input_tokens: row.wei("input_tokens")?,
                output_tokens: row.wei("output_tokens")?,
                fees: row.wei("fees")?,
            };
            Ok((Self(row.text("model_id")?), work))
        };
        rows(&found).map(work).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct FeedbackOf(String);

impl Load for FeedbackOf {
    type Value = f64;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, f64>, QueryError> {
        let mut query = SqlText::new(
            "SELECT i.model_id, sum(f.score) AS total, count(*) AS votes FROM effective_inferences i \
             JOIN counted_feedback f ON f.inference_id = i.inference_id WHERE i.model_id IN (",
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(") GROUP BY i.model_id");
        let found = reader.ask(query).await?;
        rows(&found).map(|row| Ok((Self(row.text("model_id")?), mean_score(row)?))).collect()
    }
}

/// The mean of scores from their `total` in millionths and the number of `votes`.
pub(crate) fn mean_score(row: Row<'_>) -> Result<f64, QueryError> {
    let (total, votes) = (row.long("total")?, row.long("votes")?);
    #[allow(clippy::cast_precision_loss)] // a mean is not exact anyway
    Ok(score(total) / votes as f64)
}
