//! GraphQL requests, from the client's first byte to its last.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};

use super::sample::Sample;
use crate::Outcome;
use crate::percentile::p50_and_p99;
use crate::server::Server;

/// Requests under way at once where requests a second are measured.
const CONNECTIONS: usize = 8;
/// A page is asked for this many times less often than a single thing.
const PAGES_FEWER: u32 = 4;

const BY_ID: &str = "query($id: String!) { inference(inferenceId: $id) { inferenceId modelId fee at } }";
const WITH_ATTRIBUTION: &str = "query($id: String!) { inference(inferenceId: $id) { inferenceId modelId fee at \
     attribution { method at entries { nodes { contributionId weight } } } } }";
const PAGE: &str = "query($model: String!) { inferences(first: 50, where: {modelId: {eq: $model}}, orderBy: {field: AT, direction: DESC}) \
     { nodes { inferenceId modelId fee at outputTokens } pageInfo { endCursor hasNextPage } } }";
const NEXT_PAGE: &str = "query($model: String!, $after: String!) { inferences(first: 50, after: $after, where: {modelId: {eq: $model}}, \
     orderBy: {field: AT, direction: DESC}) { nodes { inferenceId modelId fee at outputTokens } } }";

/// One kind of request.
#[derive(Serialize)]
pub struct Lookup {
    /// What is asked for.
    pub kind: &'static str,
    /// Requests measured.
    pub requests: usize,
    /// Half of them took at most this long, one at a time.
    pub p50_seconds: f64,
    /// 99 of 100 took at most this long, one at a time.
    pub p99_seconds: f64,
    /// Requests a second, several at once; absent where it was not measured.
    pub per_second: Option<f64>,
}

/// Measures every kind.
pub async fn measure(server: &Server, sample: &Sample, requests: u32) -> Outcome<Vec<Lookup>> {
    let ids: Vec<Value> = sample.inferences.iter().map(|sent| json!({"id": sent.inference_id})).collect();
    let fewer = (requests / PAGES_FEWER).max(1) as usize;
    let pages: Vec<Value> = sample.inferences.iter().take(fewer).map(|sent| json!({"model": sent.model_id})).collect();
    let mut next = Vec::new();
    for variables in &pages {
        let first = ask(server, PAGE, variables).await?;
        let cursor = &first["inferences"]["pageInfo"]["endCursor"];
        next.push(json!({"model": variables["model"], "after": cursor}));
    }
    Ok(vec![
        kind(server, "inference(inferenceId)", BY_ID, &ids, true).await?,
        kind(server, "inference(inferenceId) with attribution", WITH_ATTRIBUTION, &ids, true).await?,
        kind(server, "first page of 50, by model and time", PAGE, &pages, false).await?,
        kind(server, "next page of 50, by model and time", NEXT_PAGE, &next, false).await?,
    ])
}

async fn kind(server: &Server, kind: &'static str, query: &str, variables: &[Value], at_once: bool) -> Outcome<Lookup> {
    let mut seconds = Vec::new();
    for variables in variables {
        let started = Instant::now();
        let found = ask(server, query, variables).await?;
        seconds.push(started.elapsed().as_secs_f64());
        let answer = found.as_object().and_then(|data| data.values().next()).unwrap_or(&Value::Null);
        if answer.is_null() || answer["nodes"].as_array().is_some_and(Vec::is_empty) {
            return Err(format!("{kind}: nothing was found for {variables}").into());
        }
    }
    let per_second = if at_once {
        let started = Instant::now();
        let asked = stream::iter(variables).map(|variables| ask(server, query, variables)).buffer_unordered(CONNECTIONS);
        asked.try_for_each(|_| std::future::ready(Ok(()))).await?;
        Some(variables.len() as f64 / started.elapsed().as_secs_f64())
    } else {
        None
    };
    let (p50_seconds, p99_seconds) = p50_and_p99(&mut seconds);
    Ok(Lookup { kind, requests: seconds.len(), p50_seconds, p99_seconds, per_second })
}

async fn ask(server: &Server, query: &str, variables: &Value) -> Outcome<Value> {
    let body = json!({"query": query, "variables": variables});
    let mut answer: Value = server.client.post(server.route("/graphql")).json(&body).send().await?.json().await?;
    match answer.get("errors") {
        Some(errors) => Err(format!("GraphQL refused: {errors:.400}").into()),
        None => Ok(answer["data"].take()),
    }
}
