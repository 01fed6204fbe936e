//! A full disk, a second server, a pause, bad input: a clear error, nothing lost, and it goes on.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, WAIT_AT_MOST, play, settle, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, command, compare, ensure, worlds};

/// How many lines one request of the full-disk test has.
const REQUEST_LINES: usize = 500;
const DISK_MIB: u64 = 256;
/// The log keeps an eighth of a small disk free for sealing; with this much more the door closes while events come in.
const NEARLY_FULL: u64 = (DISK_MIB / 8 + 6) << 20;

/// A small file system of its own, taken down when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this process may not mount; a failure where every test is required.
    async fn mount() -> Outcome<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let options = format!("size={DISK_MIB}m");
        let mount = tokio::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .output()
            .await;
        match mount {
            Ok(output) if output.status.success() => Ok(Some(Self(folder))),
            refused => {
                ensure(std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(), || {
                    format!(
                        "TRIBUTARY_REQUIRE_ALL is set, but a tmpfs cannot be mounted here ({refused:?}): run the tests as root with \
                         CAP_SYS_ADMIN, or unset it to have them skipped"
                    )
                })?;
                eprintln!("SKIPPED: a full disk needs a tmpfs, which this process may not mount: {refused:?}");
                Ok(None)
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Fills it until `left` bytes are free. Others write at the same time, so it may be full before.
    fn fill(&self, left: u64) -> Outcome {
        let stat = rustix::fs::statvfs(self.0.path())?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let filler = vec![0x5a; usize::try_from(free.saturating_sub(left))?];
        match std::fs::write(self.filler(), filler) {
            Err(full) if full.kind() != std::io::ErrorKind::StorageFull => Err(full.into()),
            _ => Ok(()),
        }
    }

    fn make_room(&self) -> Outcome {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.path().display());
        }
    }
}

/// Posts the lines until the door answers 503; how many it had taken.
async fn send_until_refused(server: &Server, lines: &[String]) -> Outcome<Option<usize>> {
    let mut taken = 0;
    for request in lines.chunks(REQUEST_LINES) {
        let post = server.client().post(server.route("/v1/events")).header("content-type", "application/x-ndjson");
        let answer = post.body(request.join("\n")).send().await?;
        match answer.status().as_u16() {
            200 => taken += request.len(),
            503 => {
                ensure(answer.headers().contains_key("retry-after"), || "a 503 without Retry-After".to_owned())?;
                let problem: Value = answer.json().await?;
                ensure(problem["code"].is_string(), || format!("a 503 without a code: {problem}"))?;
                return Ok(Some(taken));
            }
            other => return Err(server.describe(&format!("the door answered {other}: {}", answer.text().await?)).into()),
        }
    }
    Ok(None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_answered_with_503_loses_nothing_and_the_server_goes_on_when_there_is_room() -> Outcome {
    let Some(disk) = SmallDisk::mount().await? else { return Ok(()) };
    let world = worlds::flywheel()?;
    let mut server = Server::at(&disk.0.path().join("data"), Options::quick(4))?;
    server.start().await?;

    // The door closes before the stages behind it have no room left; they go on, and so does the door with room again.
    disk.fill(NEARLY_FULL)?;
    let first = &world.epochs[0];
    let taken = send_until_refused(&server, &first.lines).await?.ok_or("the disk never was full; it must be smaller")?;
    println!("the door closed after {taken} of {} events", first.lines.len());
    still_alive(&mut server).await?;
    wait(&server, "sealed", WAIT_AT_MOST).await?;
    disk.make_room()?;
    server.send(&first.lines).await?.expect_code(0)?;
    wait(&server, "available", WAIT_AT_MOST).await?;
    compare::figures(&world, first, &settle(&server).await?)?;

    // Nothing at all is free while events are under way through the stages; then a kill.
    let second = &world.epochs[1];
    let (half, rest) = second.lines.split_at(second.lines.len() / 2);
    server.send(half).await?.expect_code(0)?;
    disk.fill(0)?;
    send_until_refused(&server, rest).await?.ok_or("the door takes events on a full disk")?;
    still_alive(&mut server).await?;
    server.kill().await?;
    disk.make_room()?;
    server.start().await?;
    server.send(rest).await?.expect_code(0)?;
    wait(&server, "sealed", WAIT_AT_MOST).await?;
    compare::figures(&world, second, &settle(&server).await?)?;
    server.stop().await?;
    server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}

async fn still_alive(server: &mut Server) -> Outcome {
    ensure(!server.ended()?, || server.describe("it ended when the disk was full"))?;
    let alive = server.client().get(server.route("/livez")).send().await?;
    ensure(alive.status().is_success(), || server.describe("it is not alive when the disk is full"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on() -> Outcome {
    let mut server = Server::fresh(Options::quick(4)).await?;
    let directory = server.data().display().to_string();
    let arguments = ["dev", "--port", "0", "--data-dir", &directory].map(str::to_owned);
    let second = command::run(&arguments, &server.options().env).await?;
    ensure(second.code == Some(1), || format!("the second server: {}", second.describe()))?;
    ensure(second.says(&directory), || format!("the directory is not named: {}", second.describe()))?;
    let world = worlds::edge(10)?;
    play(&server, &world, Sending::AsRecorded, &mut Chance::of(0)).await?;
    server.stop().await?;
    // Another partition count than it was born with is wrong usage, or at least an error; nothing changes.
    let arguments = ["dev", "--port", "0", "--partitions", "5", "--data-dir", &directory].map(str::to_owned);
    let other = command::run(&arguments, &server.options().env).await?;
    ensure(matches!(other.code, Some(1 | 2)), || format!("another partition count: {}", other.describe()))?;
    server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_data_availability_is_paused_nothing_becomes_available_and_nothing_settles() -> Outcome {
    let world = worlds::edge(4)?;
    let options = Options::quick(4).with("DA__PAUSED", "true").with("SETTLEMENT__WAIT_MS", "1500");
    let mut server = Server::fresh(options).await?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    wait(&server, "sealed", WAIT_AT_MOST).await?;
    wait(&server, "indexed", WAIT_AT_MOST).await?;
    let waited = server.remote(&["status", "--wait", "available", "--timeout", "3s", "--json"]).await?;
    waited.expect_code(1)?;
    ensure(server.count("SELECT count(*) FROM blobs").await? == 0, || "a blob was certified during the pause".to_owned())?;
    server.job(&["settle", "--json"]).await?.expect_code(1)?;
    ensure(server.count("SELECT count(*) FROM epochs").await? == 0, || "an epoch was closed during the pause".to_owned())?;

    server.restart_with("DA__PAUSED", "false").await?;
    wait(&server, "available", Duration::from_secs(60)).await?;
    ensure(server.count("SELECT count(*) FROM blobs").await? > 0, || "available without a blob".to_owned())?;
    compare::figures(&world, &world.epochs[0], &settle(&server).await?)?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_events_are_refused_by_name_while_good_ones_of_the_same_request_are_taken() -> Outcome {
    let mut server = Server::fresh(Options::quick(1)).await?;
    let good = worlds::edge(1)?.epochs[0].lines[0].clone();
    let unknown = good.replacen("\"specversion\"", "\"specversion\":\"1.0\",\"specversion\"", 1);
    let lines = [good.as_str(), "{", &unknown, "[]"].join("\n");
    let post = |content_type: &'static str, body: Vec<u8>| {
        server.client().post(server.route("/v1/events")).header("content-type", content_type).body(body).send()
    };
    let answer = post("application/x-ndjson", lines.into_bytes()).await?;
    ensure(answer.status().as_u16() == 200, || format!("one of four was good: {}", answer.status()))?;
    let answer: Value = answer.json().await?;
    ensure(answer["accepted"] == 1, || format!("one of four was good: {answer}"))?;
    let rejected = answer["rejected"].as_array().cloned().unwrap_or_default();
    let indices: Vec<u64> = rejected.iter().filter_map(|r| r["index"].as_u64()).collect();
    ensure(indices == [1, 2, 3], || format!("the other three are refused: {answer}"))?;
    ensure(rejected.iter().all(|r| r["code"].is_string() && r["message"].is_string()), || format!("without a reason: {answer}"))?;
    for (content_type, body, status) in [
        ("application/x-ndjson", vec![0xff, 0xfe], 400),
        ("application/cloudevents-batch+json", b"{}".to_vec(), 400),
        ("text/plain", b"x".to_vec(), 415),
        ("application/x-ndjson", b"{}\n".to_vec(), 422),
        ("application/x-ndjson", vec![b'\n'; (16 << 20) + 1], 413),
    ] {
        let answer = post(content_type, body).await?;
        ensure(answer.status().as_u16() == status, || format!("{content_type}: {} instead of {status}", answer.status()))?;
    }
    server.stop().await
}
