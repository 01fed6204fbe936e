//! Settling twice, at once and again, closes an epoch once.

use std::time::Duration;

use serde_json::Value;
use tributary_tests::play::{WAIT_AT_MOST, settle, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, compare, ensure, worlds};

/// How long a test keeps others waiting.
const HELD_FOR: Duration = Duration::from_secs(2);

/// Two jobs at once: both succeed and agree.
async fn settle_twice_at_once(server: &Server) -> Outcome<Value> {
    let (one, two) = tokio::join!(settle(server), settle(server));
    let (one, two) = (one?, two?);
    for field in ["epoch", "root", "cut", "closed_at", "fees", "cumulative_total"] {
        ensure(one[field] == two[field], || format!("two jobs at once differ in `{field}`: {one} and {two}"))?;
    }
    Ok(one)
}

async fn closes_nothing(server: &Server, last: &Value, arguments: &[&str]) -> Outcome {
    let again = server.job(arguments).await?.expect_code(0)?.json()?;
    ensure(again["closed"] == Value::Bool(false), || format!("{arguments:?} closed something: {again}"))?;
    ensure(again["epoch"] == last["epoch"] && again["root"] == last["root"], || {
        format!("{arguments:?} prints {again}, not {last}")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_settles_at_once_close_one_epoch_and_one_more_closes_nothing() -> Outcome {
    let world = worlds::edge(5)?;
    let mut server = Server::fresh(Options::quick(4)).await?;
    for epoch in &world.epochs {
        server.send(&epoch.lines).await?.expect_code(0)?;
        wait(&server, "sealed", WAIT_AT_MOST).await?;
        let settled = settle_twice_at_once(&server).await?;
        compare::figures(&world, epoch, &settled)?;
        closes_nothing(&server, &settled, &["settle", "--json"]).await?;
        let number = epoch.number.to_string();
        closes_nothing(&server, &settled, &["settle", "--epoch", &number, "--json"]).await?;
        let closed = server.count("SELECT count(*) FROM epochs").await?;
        ensure(closed == epoch.number, || format!("after epoch {number} there are {closed} epochs"))?;
    }
    compare::tables(&server, &world).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_a_job_first_finishes_what_the_log_holds() -> Outcome {
    let world = worlds::edge(6)?;
    let mut server = Server::fresh(Options::quick(4)).await?;
    for epoch in &world.epochs {
        server.send(&epoch.lines).await?.expect_code(0)?;
        server.kill().await?;
        let settled = settle(&server).await?;
        compare::figures(&world, epoch, &settled)?;
        server.start().await?;
    }
    compare::tables(&server, &world).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_settles_at_once_without_a_server_close_all_that_was_accepted_as_one_epoch() -> Outcome {
    let world = worlds::edge(5)?;
    // Nothing is sealed before a job does it: a job that took its cut too early would find a part, or nothing.
    let mut server = Server::fresh(Options::quick(4).with("SEAL__BATCH_AGE_MS", "3600000")).await?;
    for epoch in &world.epochs {
        server.send(&epoch.lines).await?.expect_code(0)?;
        let sealed = server.count("SELECT count(*) FROM batches").await?;
        server.kill().await?;
        let settled = settle_twice_at_once(&server).await?;
        compare::figures(&world, epoch, &settled)?;
        server.start().await?;
        let closed = server.count("SELECT count(*) FROM epochs").await?;
        ensure(closed == epoch.number, || format!("after epoch {} there are {closed} epochs", epoch.number))?;
        let after = server.count("SELECT count(*) FROM batches").await?;
        ensure(after > sealed, || "the jobs had nothing left to seal, so they proved nothing".to_owned())?;
    }
    compare::tables(&server, &world).await?;
    server.stop().await
}

/// Holds the lock that jobs and a starting `dev` pass one at a time, as a job does while it finishes the log.
fn hold_as_a_job(server: &Server) -> Outcome<std::fs::File> {
    let path = server.data().join("job.lock");
    let file = std::fs::File::options().write(true).create(true).truncate(false).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_for_another_that_finishes_the_log_but_not_for_ever_and_so_does_dev() -> Outcome {
    let world = worlds::edge(6)?;
    let mut server = Server::fresh(Options::quick(1).with("SETTLEMENT__WAIT_MS", "1500")).await?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    server.kill().await?;
    let held = hold_as_a_job(&server)?;
    let late = server.job(&["settle", "--json"]).await?.expect_code(1)?;
    ensure(late.says("still finishes what the log"), || format!("the reason is missing: {}", late.describe()))?;
    let began = std::time::Instant::now();
    let release = async {
        tokio::time::sleep(HELD_FOR).await;
        drop(held);
    };
    let (started, ()) = tokio::join!(server.start(), release);
    started?;
    ensure(began.elapsed() >= HELD_FOR, || "dev did not wait for the job".to_owned())?;
    wait(&server, "available", WAIT_AT_MOST).await?;
    wait(&server, "indexed", WAIT_AT_MOST).await?;
    compare::figures(&world, &world.epochs[0], &settle(&server).await?)?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_closes_nothing() -> Outcome {
    let world = worlds::edge(7)?;
    let mut server = Server::fresh(Options::quick(1)).await?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    for stage in ["available", "indexed"] {
        wait(&server, stage, WAIT_AT_MOST).await?;
    }
    let dry = server.job(&["settle", "--dry-run", "--json"]).await?.expect_code(0)?.json()?;
    compare::figures(&world, &world.epochs[0], &dry)?;
    ensure(dry["closed"] == Value::Bool(false), || format!("a dry run says that it closed: {dry}"))?;
    ensure(server.count("SELECT count(*) FROM epochs").await? == 0, || "a dry run closed an epoch".to_owned())?;
    compare::figures(&world, &world.epochs[0], &settle(&server).await?)?;
    server.stop().await
}
