//! Everything that can be killed, paused or broken is, by chance and several at once, under load: every acknowledged event is
//! in the journal once, its chains are unbroken, and no sequence number was written twice. An independent auditor says so.

mod schedule;
mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use schedule::{Fault, schedule};
use stage::Stage;
use tokio::task::JoinSet;
use tributary_tests::auditor::Watching;
use tributary_tests::chance::{Chance, named_seed};
use tributary_tests::load::{Doors, Load, Plan};
use tributary_tests::server::Options;
use tributary_tests::services::Deployment;
use tributary_tests::{Outcome, ensure, long};

const BROKERS: usize = 3;
const PARTITIONS: u32 = 6;
/// So many faults overlap at most.
const AT_ONCE: usize = 3;
/// So many happen in the short form, and in the long one.
const FAULTS: (usize, usize) = (12, 60);
/// Once no fault is left, everything is acknowledged and sealed within this.
const RECOVERS_WITHIN: Duration = Duration::from_secs(120);
/// A run that sent less than this proves nothing.
const EVENTS_MIN: usize = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_is_in_the_journal_once_whatever_is_killed_paused_or_broken() -> Outcome {
    // The short form is the same each time; the long one looks for what nobody thought of.
    let seed = named_seed().unwrap_or_else(|| if long() { rand::random_range(0..1_000_000) } else { 0 });
    println!("faults of seed {seed}; TRIBUTARY_E2E_SEED={seed} repeats them");
    survives(seed).await.map_err(|error| format!("seed {seed}: {error}").into())
}

async fn survives(seed: u64) -> Outcome {
    let options = Options { partitions: Some(PARTITIONS), ..Options::default() }.with("SEAL__BATCH_AGE_MS", "200");
    let Some(deployment) = Deployment::create(BROKERS, options).await? else { return Ok(()) };
    let watching = Watching::begin(&deployment.store());
    let stage = Arc::new(Stage::set(deployment, seed).await?);
    let doors = Doors::at(stage.doors().await);
    let keys = (0..40).map(|n| format!("key-{n}")).collect();
    let load = Load::begin(&Plan { seed, senders: 4, keys, pause: Duration::from_millis(100) }, doors.clone())?;

    let count = if long() { FAULTS.1 } else { FAULTS.0 };
    suffer(&stage, schedule(count, &mut Chance::of(seed))).await?;
    stage.say("no fault is left");
    stage.recover(RECOVERS_WITHIN).await?;
    load.finish(RECOVERS_WITHIN).await?;
    stage.say("everything is acknowledged");
    stage.wait_sealed(RECOVERS_WITHIN).await?;
    stage.say("everything is sealed");

    let mut auditor = watching.end().await?;
    let ledger = Arc::clone(&doors.ledger);
    let verdict = tokio::task::spawn_blocking(move || auditor.audit(&ledger.lock())).await??;
    println!("{count} faults of seed {seed}: {}", verdict.counts);
    let (acknowledged, failed) = (doors.tally.acknowledged.load(Ordering::Relaxed), doors.tally.failed.load(Ordering::Relaxed));
    let repeated = doors.tally.repeated.load(Ordering::Relaxed);
    println!("{acknowledged} requests acknowledged ({repeated} of them repetitions), {failed} attempts failed");
    println!("faults of the store: {:?}", stage.store_faults()?);
    verdict.expect_clean()?;
    ensure(verdict.gaps.is_empty(), || format!("nobody accepted a gap: {:?}", verdict.gaps))?;
    ensure(verdict.counts.acknowledged >= EVENTS_MIN, || format!("too little was sent: {}", verdict.counts))?;
    ensure(!stage.store_faults()?.is_empty(), || "the store never failed, so it proved nothing".to_owned())?;
    stage.end().await
}

/// Lets the faults happen while everything that ends is looked after.
async fn suffer(stage: &Arc<Stage>, faults: Vec<Fault>) -> Outcome {
    let mut keepers = JoinSet::new();
    for slot in 0..stage.slots() {
        let stage = Arc::clone(stage);
        keepers.spawn(async move { stage.keep(slot).await });
    }
    tokio::select! {
        happened = inflict_all(stage, faults) => happened?,
        // A keeper ends before it is told to with an error alone.
        Some(ended) = keepers.join_next() => return ended?,
    }
    stage.end_keeping();
    while let Some(ended) = keepers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn inflict_all(stage: &Arc<Stage>, faults: Vec<Fault>) -> Outcome {
    let mut happening: JoinSet<Outcome> = JoinSet::new();
    for fault in faults {
        tokio::time::sleep(fault.after).await;
        while happening.len() >= AT_ONCE {
            happening.join_next().await.transpose()?.transpose()?;
        }
        let stage = Arc::clone(stage);
        happening.spawn(async move { stage.inflict(&fault).await });
    }
    while let Some(happened) = happening.join_next().await {
        happened??;
    }
    Ok(())
}
