//! Search over ids, names, addresses and hashes.

use std::sync::Arc;

use async_graphql::Union;
use futures::future::try_join_all;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units;

use super::super::entity::{Entity, find};
use super::super::global_id::Place;
use super::super::reader::Reader;
use super::super::rows::{Row, rows};
use super::account::Account;
use super::agent::Agent;
use super::contribution::Contribution;
use super::datanet::Datanet;
use super::epoch::{Epoch, EpochOf};
use super::event::Batch;
use super::inference::Inference;
use super::model::{Model, bounded};
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, long, text};

/// The longest text that is searched for, in bytes: no id is longer.
const TEXT_MAX: usize = 256;
const HITS_MAX: i32 = 100;
/// How many digits of an address or a hash are enough to look for it.
const DIGITS_MIN: usize = 6;

/// Something that was found
#[derive(Clone, Union)]
pub enum SearchHit {
    Datanet(Datanet),
    Contribution(Contribution),
    Model(Model),
    Inference(Inference),
    Agent(Agent),
    Account(Account),
    Batch(Batch),
    Epoch(Epoch),
}

/// What is searched by text: the kind, the query of all ids, and what is searched in.
const TEXTS: [(&str, &str, &[&str]); 5] = [
    ("Datanet", Datanet::FROM, &["datanet_id", "name"]),
    ("Model", Model::FROM, &["model_id"]),
    ("Agent", Agent::FROM, &["agent_id"]),
    ("Contribution", Contribution::FROM, &["contribution_id"]),
    ("Inference", Inference::FROM, &["inference_id"]),
];

/// What is searched by hexadecimal digits: the kind, the table, its id, and the column.
const DIGITS: [(&str, &str, &str, &str); 8] = [
    ("Account", "(SELECT DISTINCT account FROM cumulative)", "account", "account"),
    ("Epoch", "epochs", "CAST(epoch AS VARCHAR)", "root"),
    ("Batch", "batches", "concat(CAST(partition AS VARCHAR), ':', CAST(seq AS VARCHAR))", "hash"),
    ("Batch", "batches", "concat(CAST(partition AS VARCHAR), ':', CAST(seq AS VARCHAR))", "root"),
    ("Model", "current_models", "model_id", "weights_hash"),
    ("Contribution", "current_contributions", "contribution_id", "content_hash"),
    ("Inference", "effective_inferences", "inference_id", "input_hash"),
    ("Inference", "effective_inferences", "inference_id", "output_hash"),
];

/// The best hits: whole texts before beginnings before words inside; among equals, shorter ones first.
pub(crate) async fn search(reader: &Arc<Reader>, sought: &str, first: i32) -> Result<Vec<SearchHit>, QueryError> {
    let first = bounded("first", first, HITS_MAX)?;
    let sought = sought.trim();
    if sought.is_empty() || first == 0 {
        return Ok(Vec::new());
    }
    if sought.len() > TEXT_MAX {
        return Err(QueryError::new(
            Code::BadSearch,
            format!("the text has {} bytes, at most {TEXT_MAX} are taken", sought.len()),
        ));
    }
    let lower = sought.to_lowercase();
    let mut hits = Vec::new();
    if let Ok(address) = units::Address::parse_any_case(&lower) {
        hits.push(SearchHit::Account(Account::new(reader, address)));
    }
    if let Some(number) = sought.parse::<i64>().ok().filter(|number| *number > 0) {
        hits.extend(reader.get(EpochOf(number)).await?.map(SearchHit::Epoch));
    }
    let found = reader.ask(query(&lower, first)).await?;
    let named = try_join_all(rows(&found).map(|row| hit_of(reader, row)).collect::<Vec<_>>()).await?;
    // A whole address is the beginning of no other: the account is there already.
    let whole_address = matches!(hits.first(), Some(SearchHit::Account(_)));
    let is_new = |hit: &SearchHit| !(whole_address && matches!(hit, SearchHit::Account(_)));
    hits.extend(named.into_iter().flatten().filter(is_new));
    hits.truncate(first);
    Ok(hits)
}

/// Rows of `kind`, `id` and `rank`, the best first.
fn query(lower: &str, limit: usize) -> SqlText {
    let mut ways = Vec::new();
    let words = words(lower);
    for (n, (kind, from, columns)) in TEXTS.iter().enumerate() {
        for column in *columns {
            let plain = format!("lower(r.{column})");
            let spaced = format!("translate({plain}, '-_./:#', '      ')");
            let mut way = SqlText::new(format!("SELECT '{kind}' AS kind, r.{} AS id, CASE WHEN {plain} = ", columns[0]));
            way.bind(text(lower)).push(&format!(" THEN 0 WHEN starts_with({plain}, "));
            way.bind(text(lower))
                .push(&format!(") THEN 1 ELSE 2 END AS rank, length({plain}) AS size, {n} AS place FROM {from} "));
            way.push(&format!("WHERE contains(concat(' ', {spaced}), ")).bind(text(format!(" {words}"))).push(")");
            way.push(&format!(" ORDER BY rank, size, id LIMIT {limit}"));
            ways.push(way);
        }
    }
    let digits = lower.strip_prefix("0x").filter(|digits| digits.len() >= DIGITS_MIN && digits.len() <= 64);
    if digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
        for (n, (kind, from, id, column)) in DIGITS.iter().enumerate() {
            let mut way = SqlText::new(format!("SELECT '{kind}' AS kind, {id} AS id, CASE WHEN {column} = "));
            way.bind(text(lower))
                .push(&format!(" THEN 0 ELSE 1 END AS rank, length({column}) AS size, {n} AS place FROM {from} "));
            way.push(&format!("WHERE {column} IS NOT NULL AND starts_with({column}, ")).bind(text(lower)).push(")");
            way.push(&format!(" ORDER BY rank, size, id LIMIT {limit}"));
            ways.push(way);
        }
    }
    let mut query = SqlText::new("SELECT kind, id, min(rank) AS rank, min(size) AS size, min(place) AS place FROM (");
    query.join(&ways, " UNION ALL ");
    query.push(") GROUP BY kind, id ORDER BY rank, size, place, id LIMIT ").bind(long(i64::try_from(limit).unwrap_or(i64::MAX)));
    query
}

/// The text with what separates words as spaces.
fn words(lower: &str) -> String {
    lower.replace(['-', '_', '.', '/', ':', '#'], " ")
}

/// The thing that a row names.
async fn hit_of(reader: &Arc<Reader>, row: Row<'_>) -> Result<Option<SearchHit>, QueryError> {
    let id = row.text("id")?;
    Ok(match row.text("kind")?.as_str() {
        "Datanet" => find(reader, &id).await?.map(SearchHit::Datanet),
        "Model" => find(reader, &id).await?.map(SearchHit::Model),
        "Agent" => Some(SearchHit::Agent(Agent::new(reader, &id))),
        "Contribution" => find(reader, &id).await?.map(SearchHit::Contribution),
        "Inference" => find(reader, &id).await?.map(SearchHit::Inference),
        "Account" => units::Address::parse_any_case(&id).ok().map(|address| SearchHit::Account(Account::new(reader, address))),
        "Epoch" => match id.parse() {
            Ok(number) => reader.get(EpochOf(number)).await?.map(SearchHit::Epoch),
            Err(_) => None,
        },
        _ => match place_of(&id) {
            Some(place) => Some(SearchHit::Batch(Batch::at(reader, place).await?)),
            None => None,
        },
    })
}

fn place_of(id: &str) -> Option<Place> {
    let (partition, seq) = id.split_once(':')?;
    let (partition, seq) = (Partition::new(partition.parse().ok()?)?, Seq::new(seq.parse().ok()?)?);
    Some(Place { partition, seq, ordinal: 0 })
}
