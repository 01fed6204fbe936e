//! SQL and GraphQL over HTTP, as JSON.

use serde_json::{Map, Value, json};

use crate::server::Server;
use crate::{Outcome, ensure};

/// A row: column → value.
pub type Row = Map<String, Value>;

impl Server {
    /// Runs a query; an answer that is no success is an error with its body.
    pub async fn sql(&self, query: &str) -> Outcome<Vec<Row>> {
        let body = self.answer(query, "application/json").await?;
        serde_json::from_str(&body)
            .map_err(|e| format!("the answer to `{query}` is not an array of objects ({e}): {body:.1000}").into())
    }

    /// The same as CSV, which takes less time to read.
    pub async fn csv(&self, query: &str) -> Outcome<String> {
        self.answer(query, "text/csv").await
    }

    async fn answer(&self, query: &str, media_type: &str) -> Outcome<String> {
        let request = self.client().post(self.route("/v1/sql")).header("accept", media_type).json(&json!({ "query": query }));
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure(status.is_success(), || self.describe(&format!("{status} for `{query}`: {body:.1000}")))?;
        Ok(body)
    }

    /// The data of a GraphQL request; an answer with errors is an error.
    pub async fn graphql(&self, query: &str, variables: &Value) -> Outcome<Value> {
        let body = json!({"query": query, "variables": variables});
        let mut answer: Value = self.client().post(self.route("/graphql")).json(&body).send().await?.json().await?;
        if answer.get("errors").is_some() {
            return Err(format!("{query} with {variables}: {answer:.800}").into());
        }
        Ok(answer["data"].take())
    }

    /// The one number that a query gives.
    pub async fn count(&self, query: &str) -> Outcome<u64> {
        let rows = self.sql(query).await?;
        let value = rows.first().and_then(|row| row.values().next()).and_then(number);
        value.ok_or_else(|| format!("`{query}` gives no number: {rows:?}").into())
    }
}

/// An integer, written as a number or, like decimals, as a string.
pub fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A value as the text that CSV files have.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
