//! SIGKILL at random moments of sending, sealing, indexing and settling changes no root.

use std::time::Duration;

use tributary_tests::chance::{Chance, named_seed};
use tributary_tests::play::{WAIT_AT_MOST, settle, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::worlds::{self, EDGE_WORLDS, EpochInput, World};
use tributary_tests::{Outcome, command, compare, crowd, ensure, long};

/// How often a sender that gave up begins again.
const SENDINGS_MAX: u32 = 8;

/// How long after the start of each thing it is killed at the latest.
#[derive(Clone, Copy)]
struct Moments {
    sending: Duration,
    behind: Duration,
    settling: Duration,
}

const SMALL: Moments =
    Moments { sending: Duration::from_millis(250), behind: Duration::from_millis(400), settling: Duration::from_millis(1_200) };
const LARGE: Moments =
    Moments { sending: Duration::from_secs(3), behind: Duration::from_secs(3), settling: Duration::from_secs(4) };

async fn survives(world: World, partitions: u32, moments: Moments, seed: u64) -> Outcome {
    let run = format!("{} with {partitions} partitions, killed with seed {seed}", world.name);
    println!("{run}");
    let killed = async {
        let mut chance = Chance::of(seed);
        let mut server = Server::fresh(Options::quick(partitions)).await?;
        for epoch in &world.epochs {
            send_under_kill(&mut server, epoch, moments, &mut chance).await?;
            tokio::time::sleep(chance.up_to(moments.behind)).await;
            server.kill_and_restart().await?;
            wait(&server, "sealed", WAIT_AT_MOST).await?;
            settle_under_kill(&mut server, moments, &mut chance).await?;
            compare::figures(&world, epoch, &settle(&server).await?)?;
        }
        compare::tables(&server, &world).await?;
        server.stop().await?;
        server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
    };
    let killed: Outcome = killed.await;
    killed.map_err(|e| format!("{run}: {e}").into())
}

/// Sends while the server is killed and started again. The sender goes on by itself, or is started again.
async fn send_under_kill(server: &mut Server, epoch: &EpochInput, moments: Moments, chance: &mut Chance) -> Outcome {
    let (url, env) = (server.url(), server.options().env.clone());
    let lines = epoch.reordered(chance)?;
    let sender = tokio::spawn(async move {
        for _ in 0..SENDINGS_MAX {
            let ran = command::send(&url, &lines, &env).await?;
            if ran.code == Some(0) {
                return Ok(());
            }
        }
        Outcome::Err(format!("the sender gave up {SENDINGS_MAX} times").into())
    });
    tokio::time::sleep(chance.up_to(moments.sending)).await;
    server.kill_and_restart().await?;
    sender.await?
}

/// Kills the job, the server, or both, while the job settles.
async fn settle_under_kill(server: &mut Server, moments: Moments, chance: &mut Chance) -> Outcome {
    let mut job = server.spawn_job(&["settle", "--json"])?;
    tokio::time::sleep(chance.up_to(moments.settling)).await;
    let (job_dies, server_dies) = *chance.one_of(&[(true, false), (false, true), (true, true)]);
    if job_dies {
        job.kill().await?;
    }
    if server_dies {
        server.kill_and_restart().await?;
    }
    let ended =
        tokio::time::timeout(WAIT_AT_MOST, job.wait()).await.map_err(|_| server.describe("a settle job does not end"))??;
    ensure(job_dies || ended.success(), || server.describe(&format!("a settle job that was not killed ended with {ended}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_edge_worlds_killed_at_random_settle_as_if_nothing_had_happened() -> Outcome {
    let first = named_seed().unwrap_or(0);
    let seeds = if long() { 200 } else { 20 };
    crowd::run_all((first..first + seeds).map(|seed| async move {
        let partitions = *Chance::of(seed).one_of(&[1, 4, 16]);
        survives(worlds::edge(1 + seed % EDGE_WORLDS)?, partitions, SMALL, seed).await
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flywheel_killed_at_random_settles_as_if_nothing_had_happened() -> Outcome {
    for seed in 0..if long() { 10 } else { 1 } {
        survives(worlds::flywheel()?, 4, LARGE, seed).await?;
    }
    Ok(())
}
