//! Ten analyst queries over HTTP, and the same in DuckDB over the same Parquet files.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::server::Server;

const QUERIES: &str = include_str!("../../queries/analyst.sql");

/// One query.
#[derive(Serialize)]
pub struct Query {
    /// What it asks.
    pub name: String,
    /// From the request to the whole answer.
    pub seconds: f64,
    /// The same in DuckDB, within the process; absent without it.
    pub duckdb_seconds: Option<f64>,
}

/// All of them.
#[derive(Serialize)]
pub struct Analyst {
    /// In the order of the file.
    pub queries: Vec<Query>,
    /// DuckDB's version.
    pub duckdb: Option<String>,
}

#[derive(Deserialize)]
struct Peer {
    version: String,
    queries: Vec<PeerQuery>,
}

#[derive(Deserialize)]
struct PeerQuery {
    seconds: f64,
    rows: usize,
}

/// Runs each query `runs` times and takes the least time; then DuckDB does the same.
pub async fn measure(server: &Server, python: Option<&Path>, runs: u32) -> Outcome<Analyst> {
    let texts = QUERIES.split(';').map(str::trim).filter(|text| !text.is_empty());
    let (mut queries, mut rows) = (Vec::new(), Vec::new());
    for text in texts {
        let (name, query) = text.split_once('\n').ok_or("a query has no name")?;
        let mut least = f64::INFINITY;
        let mut count = 0;
        for _ in 0..runs {
            let started = Instant::now();
            let answer = server.sql(query).await?;
            least = least.min(started.elapsed().as_secs_f64());
            count = answer.as_array().map_or(0, Vec::len);
        }
        queries.push(Query { name: name.trim_start_matches("-- ").to_owned(), seconds: least, duckdb_seconds: None });
        rows.push(count);
    }
    let Some(python) = python else { return Ok(Analyst { queries, duckdb: None }) };
    let peer = duckdb(python, &server.data_dir().join("store").join("lake"), runs)?;
    for ((query, peer), rows) in queries.iter_mut().zip(&peer.queries).zip(rows) {
        if peer.rows != rows {
            return Err(format!("{}: {rows} rows here and {} in DuckDB", query.name, peer.rows).into());
        }
        query.duckdb_seconds = Some(peer.seconds);
    }
    Ok(Analyst { queries, duckdb: Some(peer.version) })
}

fn duckdb(python: &Path, lake: &Path, runs: u32) -> Outcome<Peer> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/duckdb/analyst.py");
    let queries = concat!(env!("CARGO_MANIFEST_DIR"), "/queries/analyst.sql");
    let output = Command::new(python).arg(folder).arg(lake).arg(queries).arg(runs.to_string()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
