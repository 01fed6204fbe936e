//! A job that is killed at any step of publishing its epoch's manifest leaves one that the next job completes, and paid for at most twice.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use tributary_tests::eigenda::{Proxy, SMALL};
use tributary_tests::forwarder::Forwarder;
use tributary_tests::play::{WAIT_AT_MOST, settle, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::storefault::{Moment, StoreFaults};
use tributary_tests::worlds::{self, EpochInput, World};
use tributary_tests::{Outcome, blobs, command, compare, ensure};

/// Where a job dies, and how many payloads reach the proxy beyond the one page.
type Death = (Moment, &'static str, u64);

const DEATHS: [[Death; 3]; 2] = [
    [
        (Moment::Before, "*/da/manifests/*", 0),
        (Moment::After, "*/da/outbox/*.sent.json", 0),
        (Moment::After, "*/da/manifests/*", 0),
    ],
    [
        (Moment::After, "*/settlement/epochs/*", 0),
        (Moment::Before, "*/da/outbox/*.certified.json", 1),
        (Moment::After, "*/da/outbox/*.certified.json", 0),
    ],
];

/// A server that publishes through a forwarder, and the faults of its jobs.
struct Scene {
    server: Server,
    between: Forwarder,
    faults: StoreFaults,
}

impl Scene {
    async fn new(folder: &std::path::Path, proxy: &Proxy) -> Outcome<Self> {
        let between = Forwarder::start(&proxy.url()).await?;
        let options = Options::quick(1).with("DA__BACKEND", "eigenda").with("DA__PROXY_URL", between.url());
        // A job has no name that outlives it, so that the next waits for the end of its attempts.
        let server = Server::fresh(options.with("DA__PUT_TIMEOUT_MS", "5000")).await?;
        let faults = StoreFaults::build(folder, &server.data().join("store")).await?;
        Ok(Self { server, between, faults })
    }

    /// Closes an epoch by a job that dies and another one.
    async fn close(&self, world: &World, epoch: &EpochInput, (moment, at, extra): Death) -> Outcome {
        self.server.send(&epoch.lines).await?.expect_code(0)?;
        for stage in ["available", "indexed"] {
            wait(&self.server, stage, WAIT_AT_MOST).await?;
        }
        let before = self.between.puts();
        let data = self.server.data().display().to_string();
        let mut env = self.server.options().env.clone();
        env.extend(self.faults.deadly(moment, at, 1));
        let arguments = ["settle", "--json", "--data-dir", &data].map(str::to_owned);
        let died = command::prepare(&arguments, &env).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let died = tokio::time::timeout(WAIT_AT_MOST, died).await.map_err(|_| "a job that is to die does not end")??;
        ensure(died.signal() == Some(9), || format!("a job that was to be killed ended with {died}"))?;
        compare::figures(world, epoch, &settle(&self.server).await?)?;
        let puts = self.between.puts() - before;
        ensure(puts == 1 + extra, || format!("{puts} payloads reached the proxy for one page, {extra} more expected"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_killed_at_any_step_of_its_manifest_leaves_it_to_the_next() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(&folder.path().join("proxy"), &SMALL).await? else { return Ok(()) };
    for deaths in DEATHS {
        let world = worlds::edge(8)?;
        let mut scene = Scene::new(folder.path(), &proxy).await?;
        for (epoch, death) in world.epochs.iter().zip(deaths) {
            let closed = scene.close(&world, epoch, death).await;
            closed.map_err(|error| format!("epoch {}, {death:?}: {error}", epoch.number))?;
        }
        compare::tables(&scene.server, &world).await?;
        scene.server.stop().await?;
        scene.server.job(&["verify", "--json"]).await?.expect_code(0)?;
        let pages = blobs::manifest_pages(&scene.server.data().join("store"))?;
        ensure(pages == world.epochs.len() as u64, || format!("{pages} pages are recorded"))?;
    }
    Ok(())
}
