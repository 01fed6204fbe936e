//! The services over Kafka one by one: the topic is made and checked, a door without brokers refuses in good order, a sealer
//! that is asked to stop hands over at once, and what tools show as lag is true.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tributary_tests::auditor::Watching;
use tributary_tests::load::event::Event;
use tributary_tests::load::{Doors, Load, Plan};
use tributary_tests::patience::Patience;
use tributary_tests::server::Options;
use tributary_tests::services::{Deployment, GROUP, Service, TOPIC};
use tributary_tests::{Outcome, ensure};

const PARTITIONS: u32 = 4;
const READY_WITHIN: Duration = Duration::from_secs(60);
const SEALED_WITHIN: Duration = Duration::from_secs(60);
/// A service that is asked to stop has done so within this.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// After it stopped, the others have its partitions within this: they learn of it from their next heartbeat, a tenth of a session later
/// or some more. Its session would last for twice as long.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(15);
const LONG_SESSION_MS: &str = "30000";

/// Requests that a door without brokers refuses: until its memory is what it needs, and after that.
const FIRST_REFUSED: usize = 400;
const MORE_REFUSED: usize = 2_000;
/// So many are sent at once, and all of them get as far as the log.
const REFUSED_AT_ONCE: usize = 200;
/// Events of each of them: together they are far more than the memory may grow by.
const REFUSED_EVENTS: u64 = 250;
const GROWTH_MAX: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topic_is_made_once_and_its_check_names_what_is_not_as_it_must_be() -> Outcome {
    let options = Options { partitions: Some(PARTITIONS), ..Options::default() };
    let Some(deployment) = Deployment::without_topic(1, options).await? else { return Ok(()) };
    let check = ["topics", "check", "--json"];
    let early = deployment.run(&check).await?;
    ensure(matches!(early.code, Some(1 | 3)), || format!("there is no deployment yet: {}", early.describe()))?;

    let made = deployment.run(&["topics", "create", "--json"]).await?.expect_code(0)?.json()?;
    let again = deployment.run(&["topics", "create", "--json"]).await?.expect_code(0)?.json()?;
    ensure(made["deployment"].is_string() && made["deployment"] == again["deployment"], || {
        format!("made again, the deployment is another: {made} and {again}")
    })?;
    ensure(made["created"] == Value::Bool(true) && again["created"] == Value::Bool(false), || format!("{made}, {again}"))?;
    ensure(again["partitions"].as_u64() == Some(PARTITIONS.into()), || format!("other partitions: {again}"))?;
    deployment.run(&check).await?.expect_code(0)?;

    // The topic of one copy is not what a deployment with two needs.
    let stricter = deployment.options().clone().with("KAFKA__REPLICATION", "2").with("KAFKA__MIN_INSYNC_REPLICAS", "2");
    let ran = deployment.run_with(&check, &stricter).await?.expect_code(3)?;
    for property in ["min.insync.replicas", "replication factor"] {
        ensure(ran.says(property), || format!("{property} is not named: {}", ran.describe()))?;
    }
    let cluster = deployment.cluster();
    for (property, value) in [("retention.ms", "1000"), ("cleanup.policy", "compact")] {
        cluster.alter_topic(TOPIC, property, value).await?;
        let ran = deployment.run(&check).await?.expect_code(3)?;
        ensure(ran.says(property), || format!("{property} is not named: {}", ran.describe()))?;
    }
    deployment.end_cluster().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_without_brokers_answers_503_with_a_time_to_come_again_and_its_memory_does_not_grow() -> Outcome {
    let at_once = REFUSED_AT_ONCE.to_string();
    let options =
        Options::quick(PARTITIONS).with("KAFKA__DELIVERY_TIMEOUT_MS", "2000").with("INGEST__IN_FLIGHT_REQUESTS_MAX", &at_once);
    let Some(deployment) = Deployment::create(1, options).await? else { return Ok(()) };
    let mut door = deployment.ingest(1)?;
    door.start().await?;
    door.ready(READY_WITHIN).await?;
    let body: Arc<str> = (0..REFUSED_EVENTS).map(|n| Event::of("urn:refused", n, "key").json + "\n").collect::<String>().into();
    let sent = post(door.client(), &door.url(), &body).await?;
    ensure(sent.0 == 200, || format!("with a broker the door answers {sent:?}"))?;

    deployment.cluster().kill(1).await?;
    refused(&door, &body, FIRST_REFUSED).await?;
    let before = door.resident_bytes()?;
    let began = Instant::now();
    refused(&door, &body, MORE_REFUSED).await?;
    let after = door.resident_bytes()?;
    let (sent, took) = (MORE_REFUSED * body.len(), began.elapsed());
    println!("{MORE_REFUSED} requests of {sent} bytes refused in {took:.1?}: {before} bytes resident, then {after}");
    ensure(after < before + GROWTH_MAX, || door.describe(&format!("its memory grew from {before} to {after} bytes")))?;
    let (code, reason) = door.get("/readyz").await?;
    ensure(code.as_u16() == 503, || format!("/readyz is {code}: {reason}"))?;

    deployment.cluster().restart(1).await?;
    let patience = Patience::of(READY_WITHIN);
    loop {
        let answer = post(door.client(), &door.url(), &body).await?;
        if answer.0 == 200 {
            break;
        }
        patience.pause(|| door.describe(&format!("with the broker back it answers {answer:?}"))).await?;
    }
    door.ready(READY_WITHIN).await?;
    door.stop(STOPS_WITHIN).await?;
    deployment.end_cluster().await
}

/// Status, Retry-After and code of an answer.
async fn post(client: &Client, url: &str, body: &str) -> Outcome<(u16, Option<u64>, String)> {
    let request = client.post(format!("{url}/v1/events")).header("content-type", "application/x-ndjson");
    let answer = request.body(body.to_owned()).send().await?;
    let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let (status, problem) = (answer.status().as_u16(), answer.json::<Value>().await?);
    Ok((status, retry_after, problem["code"].as_str().unwrap_or_default().to_owned()))
}

/// Sends so many requests, many at a time. Each must be refused for now.
async fn refused(door: &Service, body: &Arc<str>, count: usize) -> Outcome {
    let mut under_way = JoinSet::new();
    for _ in 0..count {
        if under_way.len() == REFUSED_AT_ONCE {
            is_refusal(under_way.join_next().await)?;
        }
        let (client, url, body) = (door.client().clone(), door.url(), Arc::clone(body));
        under_way.spawn(async move { post(&client, &url, &body).await });
    }
    while !under_way.is_empty() {
        is_refusal(under_way.join_next().await)?;
    }
    Ok(())
}

type Posted = Result<Outcome<(u16, Option<u64>, String)>, tokio::task::JoinError>;

fn is_refusal(posted: Option<Posted>) -> Outcome {
    let answer = posted.ok_or("no request is under way")???;
    let is_refusal = answer.0 == 503 && answer.1.is_some() && !answer.2.is_empty();
    ensure(is_refusal, || format!("not a 503 with Retry-After and a code: {answer:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealer_that_is_asked_to_stop_hands_over_at_once_and_the_committed_offsets_are_what_is_sealed() -> Outcome {
    let options = Options::quick(PARTITIONS).with("KAFKA__SESSION_TIMEOUT_MS", LONG_SESSION_MS);
    let Some(deployment) = Deployment::create(1, options).await? else { return Ok(()) };
    let watching = Watching::begin(&deployment.store());
    let (mut door, mut leaving, mut staying) = (deployment.ingest(1)?, deployment.seal(1)?, deployment.seal(2)?);
    for service in [&mut door, &mut leaving, &mut staying] {
        service.start().await?;
        service.ready(READY_WITHIN).await?;
    }
    let doors = Doors::at(vec![door.url()]);
    let keys = (0..20).map(|n| format!("key-{n}")).collect();
    let load = Load::begin(&Plan { seed: 0, senders: 3, keys, pause: Duration::from_millis(50) }, doors.clone())?;
    for sealer in [&leaving, &staying] {
        owns(sealer, READY_WITHIN, |owned| owned > 0 && owned < PARTITIONS as usize).await?;
    }
    let began = Instant::now();
    leaving.stop(STOPS_WITHIN).await?;
    let stopped = began.elapsed();
    let taken = owns(&staying, TAKEN_OVER_WITHIN, |owned| owned == PARTITIONS as usize).await?;
    println!("under load the sealer stopped after {stopped:.1?}, and {taken:.1?} later the other had all partitions");

    load.finish(SEALED_WITHIN).await?;
    deployment.wait_sealed(&[&staying], SEALED_WITHIN).await?;
    committed_are_sealed(&deployment, &staying).await?;
    let verdict = watching.end().await?.audit(&doors.ledger.lock())?;
    println!("{}", verdict.counts);
    verdict.expect_clean()?;
    staying.stop(STOPS_WITHIN).await?;
    door.stop(STOPS_WITHIN).await?;
    deployment.end_cluster().await
}

/// Waits until the number of partitions that a sealer owns is right. How long it took.
async fn owns(sealer: &Service, within: Duration, is_right: impl Fn(usize) -> bool) -> Outcome<Duration> {
    let (patience, began) = (Patience::of(within), Instant::now());
    loop {
        let owned = sealer.owned().await?;
        if is_right(owned.len()) {
            return Ok(began.elapsed());
        }
        patience.pause(|| sealer.describe(&format!("it owns {owned:?}"))).await?;
    }
}

/// What the group committed becomes what the sealer has sealed.
async fn committed_are_sealed(deployment: &Deployment, sealer: &Service) -> Outcome {
    let patience = Patience::of(SEALED_WITHIN);
    loop {
        let committed = deployment.cluster().committed(GROUP, TOPIC, i32::try_from(PARTITIONS)?).await?;
        let sealed = sealer.partitions().await?;
        let sealed: Vec<Option<i64>> = sealed.iter().map(|status| i64::try_from(status.sealed_offset).ok()).collect();
        // A partition without a record has no commit.
        let same = |(committed, sealed): (&i64, &Option<i64>)| Some((*committed).max(0)) == *sealed;
        if committed.len() == sealed.len() && committed.iter().zip(&sealed).all(same) {
            return Ok(());
        }
        patience.pause(|| format!("committed are {committed:?}, sealed {sealed:?}")).await?;
    }
}
