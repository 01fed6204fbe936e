//! The oracle's roots and tables, whatever the partition count, the order across keys and the repetitions.

use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, WAIT_AT_MOST, play, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::worlds::{self, EDGE_WORLDS, World};
use tributary_tests::{Outcome, compare, crowd, long};

/// Partition counts under which everything must come out the same.
const PARTITIONS: [u32; 3] = [1, 4, 16];

async fn settles_as_the_oracle(world: World, partitions: u32, sending: Sending, seed: u64) -> Outcome {
    let run = format!("{} with {partitions} partitions, {sending:?}, seed {seed}", world.name);
    let checked = async {
        let mut server = Server::fresh(Options::quick(partitions)).await?;
        play(&server, &world, sending, &mut Chance::of(seed)).await?;
        compare::tables(&server, &world).await?;
        server.stop().await
    };
    let checked: Outcome = checked.await;
    checked.map_err(|e| format!("{run}: {e}").into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_edge_world_reordered_and_sent_twice_settles_as_the_oracle_with_1_4_and_16_partitions() -> Outcome {
    let rounds = if long() { 5 } else { 1 };
    let runs = (0..rounds).flat_map(|round| (1..=EDGE_WORLDS).flat_map(move |number| PARTITIONS.map(|p| (round, number, p))));
    crowd::run_all(runs.map(|(round, number, partitions)| async move {
        let seed = round * 1_000 + number * 100 + u64::from(partitions);
        settles_as_the_oracle(worlds::edge(number)?, partitions, Sending::ReorderedTwice, seed).await
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_world_as_recorded_settles_as_the_oracle() -> Outcome {
    settles_as_the_oracle(worlds::edge(1)?, 4, Sending::AsRecorded, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flywheel_reordered_and_sent_twice_settles_as_the_oracle() -> Outcome {
    settles_as_the_oracle(worlds::flywheel()?, 4, Sending::ReorderedTwice, 4).await?;
    if long() {
        for partitions in PARTITIONS {
            settles_as_the_oracle(worlds::flywheel()?, partitions, Sending::AsRecorded, 0).await?;
            settles_as_the_oracle(worlds::flywheel()?, partitions, Sending::ReorderedTwice, u64::from(partitions)).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_default_settings_what_is_sent_is_available_within_seconds() -> Outcome {
    let mut server = Server::fresh(Options::default()).await?;
    let world = worlds::edge(1)?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    for stage in ["sealed", "indexed", "available"] {
        wait(&server, stage, WAIT_AT_MOST).await?;
    }
    server.stop().await
}
