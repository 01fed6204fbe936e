//! What only reads changes nothing, so that it works on a copy that cannot be written to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, play};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, command, ensure, worlds};

/// Everything below a directory, itself included, with its length and when it was changed last.
fn state(path: &Path, found: &mut BTreeMap<PathBuf, (u64, SystemTime)>) -> Outcome {
    let about = std::fs::symlink_metadata(path)?;
    found.insert(path.to_path_buf(), (about.len(), about.modified()?));
    if about.is_dir() {
        for entry in std::fs::read_dir(path)? {
            state(&entry?.path(), found)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_claim_a_dry_run_and_the_source_of_a_rebuild_are_only_read() -> Outcome {
    let world = worlds::edge(1)?;
    let mut server = Server::fresh(Options::quick(2)).await?;
    play(&server, &world, Sending::AsRecorded, &mut Chance::of(0)).await?;
    server.stop().await?;
    // What opening for writing would make again.
    std::fs::remove_dir_all(server.data().join("store/.staging"))?;
    std::fs::remove_file(server.data().join("lock"))?;
    std::fs::remove_file(server.data().join("job.lock"))?;
    let last = world.epochs.last().ok_or("a world has epochs")?;
    let account = last.expected.cumulative.first().and_then(|row| row.first()).ok_or("somebody earned something")?;
    let into = tempfile::tempdir()?;
    let into = into.path().join("again").display().to_string();

    let mut before = BTreeMap::new();
    state(server.data(), &mut before)?;
    for arguments in [
        vec!["verify", "--json"],
        vec!["claim", account],
        vec!["settle", "--dry-run", "--json"],
        vec!["rebuild", "--from", "journal", "--into", &into, "--json"],
    ] {
        server.job(&arguments).await?.expect_code(0)?;
        let mut after = BTreeMap::new();
        state(server.data(), &mut after)?;
        let changed: Vec<&PathBuf> =
            before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
        ensure(changed.is_empty(), || format!("{arguments:?} changed {changed:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_without_a_server_leaves_what_the_log_holds_to_the_real_one() -> Outcome {
    let world = worlds::edge(1)?;
    let mut server = Server::fresh(Options::quick(2).with("SEAL__BATCH_AGE_MS", "3600000")).await?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    server.kill().await?;
    let dry = server.job(&["settle", "--dry-run", "--json"]).await?.expect_code(0)?.json()?;
    ensure(dry["epoch"] == 0 && dry["closed"] == false, || format!("it found what nobody sealed: {dry}"))?;
    let settled = server.job(&["settle", "--json"]).await?.expect_code(0)?.json()?;
    tributary_tests::compare::figures(&world, &world.epochs[0], &settled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_without_a_record_is_refused_by_every_job() -> Outcome {
    let empty = tempfile::tempdir()?;
    let directory = empty.path().display().to_string();
    for job in ["verify", "settle"] {
        let ran = command::run(&[job, "--data-dir", &directory].map(str::to_owned), &[]).await?;
        ensure(ran.says("is no data directory"), || format!("another reason: {}", ran.describe()))?;
        ran.expect_code(1)?;
    }
    ensure(std::fs::read_dir(empty.path())?.next().is_none(), || "a job made something there".to_owned())
}
