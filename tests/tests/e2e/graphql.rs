//! The GraphQL interface as its clients see it: the audits of the specification, an explorer's session, live events.

use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, WAIT_AT_MOST, play, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, ensure, javascript, long, worlds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_audit_of_graphql_over_http_passes() -> Outcome {
    if !javascript::is_there().await? {
        return Ok(());
    }
    let mut server = Server::fresh(Options::quick(2)).await?;
    javascript::check("audit.mjs", &[&server.url()], "").await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explorers_session_finds_what_the_oracle_computed() -> Outcome {
    if !javascript::is_there().await? {
        return Ok(());
    }
    let mut server = Server::fresh(Options::quick(4)).await?;
    play(&server, &worlds::flywheel()?, Sending::AsRecorded, &mut Chance::of(1)).await?;
    let expected = worlds::root().join("examples/flywheel/expected");
    javascript::check("explorer.mjs", &[&server.url(), &expected.display().to_string()], "").await?;
    server.stop().await
}

/// A client that disconnects at random while events are still coming, and resumes by cursor, gets every event once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_disconnects_at_random_loses_and_repeats_nothing() -> Outcome {
    if !javascript::is_there().await? {
        return Ok(());
    }
    let mut server = Server::fresh(Options::quick(4)).await?;
    let world = worlds::flywheel()?;
    let epochs = if long() { 3 } else { 1 };
    for epoch in &world.epochs[..epochs] {
        server.send(&epoch.lines).await?.expect_code(0)?;
    }
    wait(&server, "indexed", WAIT_AT_MOST).await?;
    let mut rows = server.sql("SELECT key, event_id FROM events ORDER BY _partition, _seq, _ordinal").await?;
    let line = |row: &mut tributary_tests::sql::Row| {
        format!("{} {}", row["key"].as_str().unwrap_or(""), row["event_id"].as_str().unwrap_or(""))
    };
    let lines: Vec<String> = rows.iter_mut().map(line).collect();
    ensure(lines.len() > 17_000, || format!("{} events are recorded", lines.len()))?;
    let (times, seed) = (if long() { "1000" } else { "150" }, "11");
    let said = javascript::check("resume.mjs", &[&server.url(), times, seed], &lines.join("\n")).await?;
    eprintln!("{said}");
    server.stop().await
}
