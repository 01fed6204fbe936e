//! SQL and GraphQL over HTTP, as JSON.

use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::server::Server;

/// A row: column → value.
pub type Row = Map<String, Value>;

impl Server {
    /// Runs a query; an answer that is no success is an error with its body.
    pub async fn sql(&self, query: &str) -> Outcome<Vec<Row>> {
        let request =
            self.client().post(self.route("/v1/sql")).header("accept", "application/json").json(&json!({ "query": query }));
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if !status.is_success() {
            return Err(self.describe(&format!("{status} for `{query}`: {body:.1000}")).into());
        }
        serde_json::from_str(&body)
            .map_err(|e| format!("the answer to `{query}` is not an array of objects ({e}): {body:.1000}").into())
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
