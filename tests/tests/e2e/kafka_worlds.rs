//! Worlds through Kafka: two doors, two sealers, then settlement over the same journal. The figures are those of the oracle,
//! and so the same as with everything in one process.

use std::time::Duration;

use serde_json::Value;
use tributary_tests::auditor::Watching;
use tributary_tests::auditor::event::Identity;
use tributary_tests::auditor::ledger::{Ledger, Sent};
use tributary_tests::play::WAIT_AT_MOST;
use tributary_tests::server::Options;
use tributary_tests::services::{Deployment, Service};
use tributary_tests::worlds::{self, EpochInput, World, key_of};
use tributary_tests::{Outcome, command, compare, ensure, long};

const PARTITIONS: u32 = 4;
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(10);

async fn settles_as_the_oracle(world: World) -> Outcome {
    let Some(deployment) = Deployment::create(1, Options::quick(PARTITIONS)).await? else { return Ok(()) };
    let mut doors = [deployment.ingest(1)?, deployment.ingest(2)?];
    let mut sealers = [deployment.seal(1)?, deployment.seal(2)?];
    for service in doors.iter_mut().chain(&mut sealers) {
        service.start().await?;
        service.ready(READY_WITHIN).await?;
    }
    let watching = Watching::begin(&deployment.store());
    let mut ledger = Ledger::default();
    for epoch in &world.epochs {
        send(&deployment, epoch, &doors).await?;
        epoch.lines.iter().try_for_each(|line| note(&mut ledger, line))?;
        let [one, two] = &sealers;
        deployment.wait_sealed(&[one, two], WAIT_AT_MOST).await?;
        let settled = job(&deployment, &["settle", "--json"]).await?;
        ensure(settled["closed"] == Value::Bool(true), || format!("{}: nothing was closed: {settled}", world.name))?;
        compare::figures(&world, epoch, &settled)?;
    }
    for service in doors.iter_mut().chain(&mut sealers) {
        service.stop(STOPS_WITHIN).await?;
    }
    let verdict = watching.end().await?.audit(&ledger)?;
    println!("{}: {}", world.name, verdict.counts);
    verdict.expect_clean()?;
    job(&deployment, &["verify", "--json"]).await?;
    deployment.end_cluster().await
}

/// Sends an epoch, the first half to one door and the second to the other, then all of it the other way round: keys stay in
/// order, and every event comes twice.
async fn send(deployment: &Deployment, epoch: &EpochInput, doors: &[Service; 2]) -> Outcome {
    let (first, second) = epoch.lines.split_at(epoch.lines.len() / 2);
    let [one, two] = doors;
    for (door, lines) in [(one, first), (two, second), (two, first), (one, second)] {
        let answer = command::send(&door.url(), lines, &deployment.options().env).await?.expect_code(0)?.json()?;
        ensure(answer["accepted"].as_u64() == Some(lines.len() as u64), || format!("not all were taken: {answer}"))?;
    }
    Ok(())
}

/// Notes a recorded event as acknowledged.
fn note(ledger: &mut Ledger, line: &str) -> Outcome {
    let event: Value = serde_json::from_str(line)?;
    let text = |name: &str| event[name].as_str().ok_or_else(|| format!("an event without {name}: {line:.300}"));
    let identity = Identity::of(text("source")?, text("type")?, text("id")?, &key_of(line)?);
    ledger.sends(identity.clone(), Sent { content: None, sender: 0, turn: 0, is_acknowledged: false });
    ledger.acknowledge(&identity);
    Ok(())
}

/// A job over the store that the services share, which must succeed.
async fn job(deployment: &Deployment, arguments: &[&str]) -> Outcome<Value> {
    let folder = deployment.folder().display().to_string();
    let arguments: Vec<String> = arguments.iter().copied().chain(["--data-dir", &folder]).map(str::to_owned).collect();
    command::run(&arguments, &deployment.options().env).await?.expect_code(0)?.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_world_through_kafka_settles_as_the_oracle() -> Outcome {
    settles_as_the_oracle(worlds::edge(1)?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flywheel_through_kafka_settles_as_the_oracle() -> Outcome {
    let mut flywheel = worlds::flywheel()?;
    if !long() {
        flywheel.epochs.truncate(1);
    }
    settles_as_the_oracle(flywheel).await
}
