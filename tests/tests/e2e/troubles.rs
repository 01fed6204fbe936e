//! What stands still says so: in readyz, in status, and to those who wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary_tests::play::{WAIT_AT_MOST, settle, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, compare, ensure, worlds};

/// Within this a server has met damage that lies at the next step of a stage.
const MET_WITHIN: Duration = Duration::from_secs(60);
/// A wait for what cannot come ends much earlier than this, its time-out.
const TIMEOUT: Duration = Duration::from_secs(100);

/// Waits until readyz answers 503, and gives its reason.
async fn unready(server: &Server) -> Outcome<String> {
    let began = Instant::now();
    loop {
        let answer = server.client().get(server.route("/readyz")).send().await?;
        if answer.status().as_u16() == 503 {
            let reason = answer.text().await?;
            if reason.contains("stands still") {
                return Ok(reason);
            }
        }
        ensure(began.elapsed() < MET_WITHIN, || server.describe("it is ready though its record is damaged"))?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The last plan, and the certificate beside it.
fn last_plan(store: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let mut plans = Vec::new();
    for folder in std::fs::read_dir(store.join("da/plans"))? {
        for plan in std::fs::read_dir(folder?.path())? {
            plans.push(plan?.path());
        }
    }
    let plan = plans.into_iter().max().ok_or("nothing was published")?;
    let certificate = store.join("da/certs").join(plan.strip_prefix(store.join("da/plans"))?);
    Ok((plan, certificate))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_plan_is_named_by_readyz_by_status_and_to_those_who_wait_for_availability() -> Outcome {
    let world = worlds::edge(1)?;
    let mut server = Server::fresh(Options::quick(4)).await?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    wait(&server, "available", WAIT_AT_MOST).await?;
    server.stop().await?;
    // A kill between the two left the plan alone, and a byte of it flipped since.
    let (plan, certificate) = last_plan(&server.data().join("store"))?;
    std::fs::remove_file(certificate)?;
    let whole = std::fs::read(&plan)?;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&plan, flipped)?;
    let name = plan.strip_prefix(server.data().join("store"))?.display().to_string();

    server.spawn().await?;
    let reason = unready(&server).await?;
    ensure(reason.contains(&name), || format!("readyz does not name {name}: {reason}"))?;
    let report = server.remote(&["status", "--json"]).await?.expect_code(0)?.json()?;
    let partitions = report["partitions"].as_array().cloned().unwrap_or_default();
    let stopped = partitions.iter().filter(|p| p["stopped"] == Value::from(vec!["available"])).collect::<Vec<_>>();
    ensure(stopped.len() == 1, || format!("one partition is not available any more: {report}"))?;
    ensure(stopped[0]["error"].as_str().is_some_and(|e| e.contains(&name)), || format!("{name} is not named: {report}"))?;
    let began = Instant::now();
    let timeout = format!("{}s", TIMEOUT.as_secs());
    let waited = server.remote(&["status", "--wait", "available", "--timeout", &timeout]).await?.expect_code(1)?;
    ensure(waited.says(&name), || format!("the wait does not name {name}: {}", waited.describe()))?;
    ensure(began.elapsed() < TIMEOUT / 2, || "it was waited for what cannot come".to_owned())?;

    // The other stages go on, and so does this one once the plan is mended.
    for stage in ["sealed", "indexed"] {
        wait(&server, stage, WAIT_AT_MOST).await?;
    }
    server.stop().await?;
    std::fs::write(&plan, whole)?;
    server.start().await?;
    wait(&server, "available", WAIT_AT_MOST).await?;
    compare::figures(&world, &world.epochs[0], &settle(&server).await?)?;
    server.stop().await?;
    server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_log_was_lost_takes_no_events_that_nobody_would_seal() -> Outcome {
    let world = worlds::edge(1)?;
    let mut server = Server::fresh(Options::quick(1)).await?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    wait(&server, "available", WAIT_AT_MOST).await?;
    server.stop().await?;
    let log = server.data().join("log");
    let aside = server.data().join("log-aside");
    std::fs::rename(&log, &aside)?;
    server.spawn().await?;
    let reason = unready(&server).await?;
    ensure(reason.contains("not sealed"), || format!("readyz does not say what is not done: {reason}"))?;
    let post = server.client().post(server.route("/v1/events")).header("content-type", "application/x-ndjson");
    let answer = post.body(world.epochs[0].lines.join("\n")).send().await?;
    ensure(answer.status().as_u16() == 503, || format!("the door took events: {}", answer.status()))?;
    let problem: Value = answer.json().await?;
    ensure(problem["detail"].as_str().is_some_and(|d| d.contains("stands still")), || format!("no reason: {problem}"))?;
    for stage in ["sealed", "available", "indexed"] {
        let waited = server.remote(&["status", "--wait", stage, "--timeout", "5s"]).await?.expect_code(1)?;
        ensure(waited.says("stands still"), || format!("{stage}: no reason: {}", waited.describe()))?;
    }
    server.stop().await?;
    std::fs::remove_dir_all(&log)?;
    std::fs::rename(&aside, &log)?;
    server.start().await?;
    compare::figures(&world, &world.epochs[0], &settle(&server).await?)?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_table_is_named_by_readyz_and_by_status() -> Outcome {
    let mut server = Server::fresh(Options::quick(1)).await?;
    server.send(&worlds::edge(1)?.epochs[0].lines).await?.expect_code(0)?;
    wait(&server, "indexed", WAIT_AT_MOST).await?;
    server.stop().await?;
    let commit = server.data().join("store/lake/events/_delta_log/00000000000000000000.json");
    std::fs::write(&commit, "{")?;
    server.spawn().await?;
    let reason = unready(&server).await?;
    ensure(reason.contains("not indexed") && reason.contains("lake/events/_delta_log"), || reason.clone())?;
    let answer = server.client().get(server.route("/v1/status")).send().await?;
    ensure(answer.status().as_u16() == 500, || format!("damage is no passing fault: {}", answer.status()))?;
    let problem: Value = answer.json().await?;
    ensure(problem["code"] == "corrupt", || format!("another code: {problem}"))?;
    ensure(problem["detail"].as_str().is_some_and(|d| d.contains("_delta_log")), || format!("not named: {problem}"))?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_times_out_during_a_pause_says_that_there_is_one() -> Outcome {
    let mut server = Server::fresh(Options::quick(1).with("DA__PAUSED", "true")).await?;
    server.send(&worlds::edge(1)?.epochs[0].lines).await?.expect_code(0)?;
    let waited = server.remote(&["status", "--wait", "available", "--timeout", "1s"]).await?.expect_code(1)?;
    ensure(waited.says("publishing is paused"), || format!("no reason: {}", waited.describe()))?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_path_and_a_wrong_method_are_answered_with_a_problem_and_its_code() -> Outcome {
    let mut server = Server::fresh(Options::quick(1)).await?;
    for (method, path, status, code) in [
        ("GET", "/", 404, "not_found"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("POST", "/readyz", 405, "method_not_allowed"),
        ("DELETE", "/v1/status", 405, "method_not_allowed"),
        ("GET", "/v1/sql", 405, "method_not_allowed"),
        ("PUT", "/v1/claims/0x00", 405, "method_not_allowed"),
        ("GET", "/v1/events", 405, "method_not_allowed"),
    ] {
        let request = server.client().request(method.parse()?, server.route(path));
        let answer = request.send().await?;
        let found = answer.status().as_u16();
        ensure(found == status, || format!("{method} {path}: {found} instead of {status}"))?;
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let (media_type, allow) = (header("content-type"), header("allow"));
        ensure(media_type == "application/problem+json", || format!("{method} {path}: {media_type}"))?;
        ensure(status != 405 || !allow.is_empty(), || format!("{method} {path}: the header Allow is missing"))?;
        let problem: Value = answer.json().await?;
        ensure(problem["code"] == code && problem["status"] == status, || format!("{method} {path}: {problem}"))?;
    }
    server.stop().await
}
