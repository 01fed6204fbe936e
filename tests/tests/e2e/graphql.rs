//! The GraphQL interface as its clients see it: the audits of the specification, an explorer's session, live events.

use std::collections::HashSet;

use serde_json::Value;
use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, play};
use tributary_tests::server::{Options, Server};
use tributary_tests::worlds::EpochInput;
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
    let epochs = &world.epochs[..if long() { 3 } else { 1 }];
    let expected = distinct(epochs)?;
    let (times, seed) = (if long() { "1000" } else { "150" }, "11");
    let url = server.url();
    let arguments = [url.as_str(), times, seed];
    let follow = javascript::check("resume.mjs", &arguments, &expected);
    let send = async {
        for part in epochs.iter().flat_map(|epoch| epoch.lines.chunks(2_000)) {
            server.send(part).await?.expect_code(0)?;
        }
        Ok(())
    };
    let (said, ()) = tokio::try_join!(follow, send)?;
    eprintln!("{said}");
    server.stop().await
}

/// `key id` of every event, a line each, without those that repeat an identity.
fn distinct(epochs: &[EpochInput]) -> Outcome<String> {
    let (mut seen, mut lines) = (HashSet::new(), String::new());
    for line in epochs.iter().flat_map(|epoch| &epoch.lines) {
        let event: Value = serde_json::from_str(line)?;
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if seen.insert(["source", "type", "id", "subject"].map(text)) {
            lines += &format!("{} {}\n", text("subject"), text("id"));
        }
    }
    ensure(seen.len() > 17_000, || format!("{} events are recorded", seen.len()))?;
    Ok(lines)
}
