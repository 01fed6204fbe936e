//! Everything but the journal and the epoch records can be thrown away.

use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, WAIT_AT_MOST, play, settle, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::worlds::{self, World};
use tributary_tests::{Outcome, compare, ensure, long};

/// Settles all epochs but the last, sends that too, rebuilds, compares, and settles the last on the rebuilt record.
async fn rebuilds_equal(mut world: World, partitions: u32) -> Outcome {
    let last = world.epochs.pop().ok_or("a world has epochs")?;
    let mut server = Server::fresh(Options::quick(partitions)).await?;
    play(&server, &world, Sending::AsRecorded, &mut Chance::of(0)).await?;
    server.send(&last.lines).await?.expect_code(0)?;
    for stage in ["available", "indexed"] {
        wait(&server, stage, WAIT_AT_MOST).await?;
    }
    server.stop().await?;

    let into = server.data().join("rebuilt here");
    let report = server.job(&["rebuild", "--from", "journal", "--into", &into.display().to_string(), "--json"]).await?;
    let report = report.expect_code(0)?.json()?;
    let epochs = report["epochs"].as_array().cloned().unwrap_or_default();
    ensure(epochs.len() == world.epochs.len(), || format!("rebuild lists other epochs: {report}"))?;
    for (epoch, rebuilt) in world.epochs.iter().zip(&epochs) {
        compare::figures(&world, epoch, rebuilt)?;
    }

    let mut rebuilt = Server::at(&into, Options { partitions: None, ..Options::quick(partitions) })?;
    rebuilt.start().await?;
    server.start().await?;
    wait(&rebuilt, "indexed", WAIT_AT_MOST).await?;
    compare::same_tables(&server, &rebuilt).await?;
    server.stop().await?;

    wait(&rebuilt, "available", WAIT_AT_MOST).await?;
    compare::figures(&world, &last, &settle(&rebuilt).await?)?;
    // What was sent before is known to the rebuilt record: sending it again adds nothing.
    let events = rebuilt.count("SELECT count(*) FROM events").await?;
    rebuilt.send(&last.lines).await?.expect_code(0)?;
    wait(&rebuilt, "indexed", WAIT_AT_MOST).await?;
    let after = rebuilt.count("SELECT count(*) FROM events").await?;
    ensure(events == after, || format!("a repetition after the rebuild added {} events", after - events))?;
    world.epochs.push(last);
    compare::tables(&rebuilt, &world).await?;
    rebuilt.stop().await?;
    rebuilt.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_from_the_journal_has_equal_tables_and_roots_and_goes_on() -> Outcome {
    rebuilds_equal(worlds::edge(8)?, 4).await?;
    if long() {
        rebuilds_equal(worlds::flywheel()?, 4).await?;
        for number in 1..=worlds::EDGE_WORLDS {
            rebuilds_equal(worlds::edge(number)?, 16).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_into_a_directory_that_is_not_empty_is_refused() -> Outcome {
    let mut server = Server::fresh(Options::quick(1)).await?;
    play(&server, &worlds::edge(9)?, Sending::AsRecorded, &mut Chance::of(0)).await?;
    server.stop().await?;
    let ran = server.job(&["rebuild", "--from", "journal", "--into", &server.data().display().to_string(), "--json"]).await?;
    ensure(matches!(ran.code, Some(1 | 2)), || format!("the data directory itself was taken: {}", ran.describe()))?;
    server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_cut_off_before_its_log_was_made_is_finished_by_the_next_and_the_rebuilt_record_goes_on() -> Outcome {
    let mut world = worlds::edge(9)?;
    let last = world.epochs.pop().ok_or("a world has epochs")?;
    let mut server = Server::fresh(Options::quick(4)).await?;
    play(&server, &world, Sending::AsRecorded, &mut Chance::of(0)).await?;
    server.stop().await?;
    let into = server.data().join("again");
    let rebuild = ["rebuild", "--from", "journal", "--into", &into.display().to_string(), "--json"].map(str::to_owned);
    let rebuild: Vec<&str> = rebuild.iter().map(String::as_str).collect();
    // A kill leaves the folder behind before the log in it is one.
    std::fs::create_dir_all(into.join("log"))?;
    server.job(&rebuild).await?.expect_code(0)?;
    server.job(&rebuild).await?.expect_code(0)?;

    let mut rebuilt = Server::at(&into, Options { partitions: None, ..Options::quick(4) })?;
    rebuilt.start().await?;
    rebuilt.send(&last.lines).await?.expect_code(0)?;
    wait(&rebuilt, "available", WAIT_AT_MOST).await?;
    compare::figures(&world, &last, &settle(&rebuilt).await?)?;
    rebuilt.stop().await
}
