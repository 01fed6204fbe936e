//! Thousands of documents and SQL texts, most of them broken, over HTTP: every answer is data or a coded error, no file is read, and
//! the server does not grow.

use std::path::Path;

use futures::{StreamExt, stream};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Value, json};
use tributary_tests::chance::Chance;
use tributary_tests::play::wait;
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, ensure, long, worlds};

/// Requests under way at once.
const AT_ONCE: usize = 4;
/// What the server may grow by between the first fifth of the texts and the last; caches fill a little.
const GROWTH_MAX: u64 = 96 << 20;

const DOCUMENTS: &[&str] = &[
    "{ inferences(first: 3, where: {fee: {gt: \"0\"}}) { totalCount nodes { inferenceId fee finality attribution { method entries { nodes { share } } } } } }",
    "{ meta { cut latestEpoch } search(text: \"a\") { __typename ... on Inference { fee } } }",
    "{ events(last: 2) { nodes { type data proof { path } } } }",
    "{ models(first: 2, orderBy: {field: FEES, direction: DESC}) { nodes { stats { fees } parents { modelId } } } }",
    "{ series(metric: FEES, interval: DAY, from: \"2026-10-01T00:00:00Z\", to: \"2026-10-03T00:00:00Z\", groupBy: MODEL) { value } }",
];
const WORDS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "...",
    "$a",
    "\"x\"",
    "1",
    "null",
    "first: 2",
    "@skip(if: true)",
    "!",
    "query",
    "on",
    "#",
    "\\u0000",
    "nodes",
    "fee",
    "totalCount",
    "edges",
    "where",
    "subscription",
    "mutation",
    "__schema",
    "\"CANARY\"",
    "-1",
    "1e999",
    "🦀",
];
const QUERIES: &[&str] = &[
    "SELECT inference_id, fee FROM effective_inferences WHERE fee > 0 ORDER BY fee LIMIT 3",
    "SELECT model_id, count(*), sum(fee) FROM inferences GROUP BY model_id",
    "SELECT e.type, i.fee FROM events e JOIN inferences i ON e.key = i.inference_id LIMIT 5",
    "SELECT * FROM 'CANARY'",
    "SELECT * FROM \"CANARY\"",
    "SELECT * FROM read_parquet('CANARY')",
    "SELECT * FROM read_csv('file://CANARY')",
    "COPY (SELECT 1) TO 'CANARY.out'",
    "COPY events FROM 'CANARY'",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'CANARY'",
    "CREATE EXTERNAL TABLE t (a INT) STORED AS PARQUET LOCATION 'file://CANARY'",
    "INSERT INTO events SELECT * FROM 'CANARY'",
    "CREATE TABLE t AS SELECT * FROM events",
    "DROP TABLE events",
    "SET datafusion.execution.target_partitions = 1",
    "EXPLAIN ANALYZE SELECT * FROM glob('CANARY')",
    "LOAD 'CANARY'",
    "SELECT unnest(parents), current_cut FROM inferences",
];
const SQL_WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "(",
    ")",
    ",",
    "*",
    "NULL",
    "1",
    "'x'",
    "--",
    "/*",
    ";",
    "COPY",
    "INTO",
    "events",
    "fee",
    "$1",
    "::int",
    "=",
    "||",
    "GROUP BY",
    "LATERAL",
    "'CANARY'",
    "DROP",
    "TABLE",
    "[1,2]",
    "OR",
    "LIMIT 1",
    "UNION ALL",
    "PREPARE",
    "EXECUTE",
    "VALUES (1)",
];

/// The text with some words put in or taken out.
fn broken(text: &str, words: &[&str], canary: &str, chance: &mut Chance) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..chance.below(5) {
        let at = usize::try_from(chance.below(text.len() as u64 + 1)).unwrap_or(0);
        if chance.below(3) == 0 {
            text.drain(at..(at + 6).min(text.len()));
        } else {
            text.splice(at..at, format!(" {} ", chance.one_of(words)).chars());
        }
    }
    text.into_iter().collect::<String>().replace("CANARY", canary)
}

/// Bytes of memory that the server holds.
fn memory(server: &Server) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()?))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}

/// Whether somebody is about to read the pipe: whoever opens it for reading waits until it is written to.
fn has_reader(pipe: &Path) -> Outcome<bool> {
    match rustix::fs::open(pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(_) => Ok(true),
        Err(Errno::NXIO) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn ask(server: &Server, route: &str, body: Value) -> Outcome<bool> {
    let answer = server.client().post(server.route(route)).json(&body).send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    let is_sql = route == "/v1/sql";
    let code = serde_json::from_str::<Value>(&text).ok().and_then(|answer| {
        let code = if is_sql { &answer["code"] } else { &answer["errors"][0]["extensions"]["code"] };
        code.as_str().map(str::to_owned)
    });
    let is_ours = matches!(code.as_deref(), Some("internal" | "corrupt" | "store_unavailable"));
    let has_answer = status == 200 || code.is_some();
    ensure(status < 500 && has_answer && !is_ours, || format!("{status} for {body}: {text:.500}"))?;
    Ok(code.is_none())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_texts_get_a_code_read_no_file_and_leave_nothing_behind() -> Outcome {
    let mut server = Server::fresh(Options::quick(2).with("QUERY__TIMEOUT_MS", "3000")).await?;
    server.send(&worlds::flywheel()?.epochs[0].lines[..3_000]).await?.expect_code(0)?;
    wait(&server, "indexed", std::time::Duration::from_secs(60)).await?;
    let folder = tempfile::tempdir()?;
    let pipe = folder.path().join("canary.parquet");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR)?;
    let canary = pipe.display().to_string();
    let count = if long() { 10_000 } else { 1_500 };
    let mut chance = Chance::of(9);
    let mut texts = Vec::new();
    for n in 0..count {
        let document = broken(DOCUMENTS[n % DOCUMENTS.len()], WORDS, &canary, &mut chance);
        texts.push(("/graphql", json!({"query": document})));
        let query = broken(QUERIES[n % QUERIES.len()], SQL_WORDS, &canary, &mut chance);
        texts.push(("/v1/sql", json!({"query": query})));
    }
    let (mut answered, mut before) = (0, 0);
    for (n, part) in texts.chunks(texts.len() / 5).enumerate() {
        let asked = stream::iter(part.iter().cloned()).map(|(route, body)| ask(&server, route, body)).buffer_unordered(AT_ONCE);
        for outcome in asked.collect::<Vec<_>>().await {
            answered += u32::from(outcome?);
        }
        ensure(!has_reader(&pipe)?, || "a text made the server read a file".to_owned())?;
        if n == 0 {
            before = memory(&server)?;
        }
    }
    let after = memory(&server)?;
    let left: Vec<_> = std::fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
    ensure(left.len() == 1, || format!("a text made the server write a file: {left:?}"))?;
    eprintln!(
        "{} texts, {answered} answered with data; memory {} MiB after a fifth, {} MiB at the end",
        texts.len(),
        before >> 20,
        after >> 20
    );
    ensure(answered > 100, || format!("only {answered} texts were answered with data"))?;
    ensure(after < before + GROWTH_MAX, || format!("the server grew from {before} to {after} bytes"))?;
    server.stop().await
}
