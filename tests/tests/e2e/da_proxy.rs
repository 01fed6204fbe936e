//! The flywheel published through EigenDA's own proxy, and by the local backend: in time, settled to the same roots, and from blobs
//! alone there again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tributary_tests::compare::{self, Digest};
use tributary_tests::eigenda::Proxy;
use tributary_tests::play::settle;
use tributary_tests::publishers::copy_all;
use tributary_tests::server::{Options, Server};
use tributary_tests::worlds::{self, World};
use tributary_tests::{Outcome, blobs, command, ensure};

/// All that was sent is available within this after its last event was taken.
const AVAILABLE_WITHIN: Duration = Duration::from_secs(30);

/// A settled world, whose server is stopped.
struct Settled {
    world: World,
    server: Server,
    /// The certificate of its last manifest.
    manifest: String,
    tables: BTreeMap<&'static str, Digest>,
}

impl Settled {
    /// Sends, publishes and settles every epoch with the ages that a deployment has by default.
    async fn new(world: World, options: Options) -> Outcome<Self> {
        let mut server = Server::fresh(options).await?;
        let mut manifest = None;
        for epoch in &world.epochs {
            server.send(&epoch.lines).await?.expect_code(0)?;
            let began = Instant::now();
            let timeout = format!("{}s", AVAILABLE_WITHIN.as_secs());
            server.remote(&["status", "--wait", "available", "--timeout", &timeout, "--json"]).await?.expect_code(0)?;
            println!("{}, epoch {}: available {:?} after its last event", world.name, epoch.number, began.elapsed());
            let closed = settle(&server).await?;
            compare::figures(&world, epoch, &closed)?;
            manifest = closed["manifest"].as_str().map(str::to_owned);
        }
        compare::tables(&server, &world).await?;
        let tables = compare::digests(&server).await?;
        server.stop().await?;
        server.job(&["verify", "--json"]).await?.expect_code(0)?;
        let manifest = manifest.ok_or("settle names no manifest")?;
        Ok(Self { world, server, manifest, tables })
    }

    /// Rebuilds from blobs alone while the data directory is out of reach, and compares. `source` is a data directory that has no more
    /// than the rebuild may use. Returns how many payloads the archive had alone.
    async fn rebuilds_equal(&self, source: &Path, into: &Path) -> Outcome<u64> {
        let (data, hidden) = (self.server.data(), self.server.data().with_extension("hidden"));
        std::fs::rename(data, &hidden)?;
        let (source, target) = (source.display().to_string(), into.display().to_string());
        let arguments =
            ["rebuild", "--from", "da", "--manifest", &self.manifest, "--data-dir", &source, "--into", &target, "--json"];
        let ran = command::run(&arguments.map(str::to_owned), &self.server.options().env).await;
        std::fs::rename(&hidden, data)?;
        let report = ran?.expect_code(0)?.json()?;
        let epochs = report["epochs"].as_array().cloned().unwrap_or_default();
        ensure(epochs.len() == self.world.epochs.len(), || format!("rebuild lists other epochs: {report}"))?;
        for (epoch, rebuilt) in self.world.epochs.iter().zip(&epochs) {
            compare::figures(&self.world, epoch, rebuilt)?;
        }
        let mut rebuilt = Server::at(into, Options { partitions: None, ..self.server.options().clone() })?;
        rebuilt.start().await?;
        let tables = compare::digests(&rebuilt).await?;
        rebuilt.stop().await?;
        ensure(tables == self.tables, || format!("the tables differ: {:?} before, now {tables:?}", self.tables))?;
        rebuilt.job(&["verify", "--json"]).await?.expect_code(0)?;
        report["blobs_from_archive"].as_u64().ok_or_else(|| format!("nothing is said of the archive: {report}").into())
    }

    /// A data directory that has a copy of the archive and nothing else.
    fn archive_alone(&self, folder: &Path) -> Outcome<PathBuf> {
        let data = folder.join("archive alone");
        copy_all(&self.server.data().join("store/da/blobs"), &data.join("store/da/blobs"))?;
        Ok(data)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flywheel_through_eigendas_proxy_and_from_its_blobs_alone_before_and_after_they_expire() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(&folder.path().join("proxy"), &[]).await? else { return Ok(()) };
    let options = Options { partitions: Some(4), ..Options::default() };
    let options = options.with("DA__BACKEND", "eigenda").with("DA__PROXY_URL", &proxy.url());
    let settled = Settled::new(worlds::flywheel()?, options).await?;
    let recorded = blobs::tile(&settled.server.data().join("store"))?;
    ensure(recorded.iter().all(|blob| blob.backend == "eigenda"), || format!("not all are on EigenDA: {recorded:?}"))?;
    println!("{} blobs", recorded.len());

    let nothing = folder.path().join("nothing");
    let archived = settled.rebuilds_equal(&nothing, &folder.path().join("from the proxy")).await?;
    ensure(archived == 0, || format!("{archived} payloads were from an archive that is not there"))?;

    proxy.forget(&settled.manifest).await?;
    for blob in &recorded {
        ensure(!proxy.has(&blob.certificate).await?, || format!("the proxy still has {blob:?}"))?;
    }
    let archive = settled.archive_alone(folder.path())?;
    let archived = settled.rebuilds_equal(&archive, &folder.path().join("from the archive")).await?;
    let checked = settled.server.job(&["verify", "--json"]).await?.expect_code(0)?.json()?;
    let of_verify = checked["blobs_from_archive"].as_u64().unwrap_or(0);
    ensure(archived == of_verify && archived > recorded.len() as u64 && checked["archive_reason"].is_string(), || {
        format!("{archived} payloads were from the archive, verify says: {checked}")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flywheel_through_the_local_backend_and_from_its_blobs_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let settled = Settled::new(worlds::flywheel()?, Options { partitions: Some(4), ..Options::default() }).await?;
    let archive = settled.archive_alone(folder.path())?;
    let archived = settled.rebuilds_equal(&archive, &folder.path().join("from the archive")).await?;
    ensure(archived == 0, || format!("the local backend has its payloads there, and did not give {archived}"))
}
