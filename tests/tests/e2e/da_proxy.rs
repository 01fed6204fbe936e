//! The flywheel published through EigenDA's own proxy, and by the local backend: in time, settled to the same roots, and from blobs
//! alone there again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tributary_tests::eigenda::Proxy;
use tributary_tests::play::settle;
use tributary_tests::publishers::copy_all;
use tributary_tests::server::{Options, Server};
use tributary_tests::worlds::{self, World};
use tributary_tests::{Outcome, blobs, command, compare, ensure};

/// All that was sent is available within this after its last event was taken.
const AVAILABLE_WITHIN: Duration = Duration::from_secs(30);

/// A settled world and the certificate of its last manifest.
struct Settled {
    server: Server,
    manifest: String,
}

/// Sends, publishes and settles every epoch with the ages that a deployment has by default.
async fn settled(world: &World, options: Options) -> Outcome<Settled> {
    let mut server = Server::fresh(options).await?;
    let mut manifest = None;
    for epoch in &world.epochs {
        server.send(&epoch.lines).await?.expect_code(0)?;
        let began = Instant::now();
        let timeout = format!("{}s", AVAILABLE_WITHIN.as_secs());
        server.remote(&["status", "--wait", "available", "--timeout", &timeout, "--json"]).await?.expect_code(0)?;
        println!("epoch {} of {}: available {:?} after its last event", epoch.number, world.name, began.elapsed());
        let closed = settle(&server).await?;
        compare::figures(world, epoch, &closed)?;
        manifest = closed["manifest"].as_str().map(str::to_owned);
    }
    compare::tables(&server, world).await?;
    server.stop().await?;
    server.job(&["verify", "--json"]).await?.expect_code(0)?;
    let manifest = manifest.ok_or("settle names no manifest")?;
    Ok(Settled { server, manifest })
}

/// Rebuilds from blobs alone while the data directory is out of reach, and compares. `source` is a data directory that has no more
/// than the rebuild may use.
async fn rebuilds_equal(world: &World, settled: &mut Settled, source: &Path, into: &Path) -> Outcome {
    let hidden = settled.server.data().with_extension("hidden");
    std::fs::rename(settled.server.data(), &hidden)?;
    let text = |path: &Path| path.display().to_string();
    let (source, target) = (text(source), text(into));
    let arguments =
        ["rebuild", "--from", "da", "--manifest", &settled.manifest, "--data-dir", &source, "--into", &target, "--json"];
    let env = &settled.server.options().env;
    let ran = command::run(&arguments.map(str::to_owned), env).await;
    std::fs::rename(&hidden, settled.server.data())?;
    let report = ran?.expect_code(0)?.json()?;
    let epochs = report["epochs"].as_array().cloned().unwrap_or_default();
    ensure(epochs.len() == world.epochs.len(), || format!("rebuild lists other epochs: {report}"))?;
    for (epoch, rebuilt) in world.epochs.iter().zip(&epochs) {
        compare::figures(world, epoch, rebuilt)?;
    }
    let mut rebuilt = Server::at(into, Options { partitions: None, ..settled.server.options().clone() })?;
    rebuilt.start().await?;
    settled.server.start().await?;
    compare::same_tables_and_blobs(&settled.server, &rebuilt).await?;
    settled.server.stop().await?;
    rebuilt.stop().await?;
    rebuilt.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}

/// A data directory that has a copy of the archive and nothing else.
fn archive_alone(settled: &Settled, folder: &Path) -> Outcome<PathBuf> {
    let data = folder.join("archive alone");
    copy_all(&settled.server.data().join("store/da/blobs"), &data.join("store/da/blobs"))?;
    Ok(data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flywheel_through_eigendas_proxy_and_from_its_blobs_alone_before_and_after_they_expire() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(&folder.path().join("proxy"), &[]).await? else { return Ok(()) };
    let world = worlds::flywheel()?;
    let options = Options { partitions: Some(4), ..Options::default() };
    let options = options.with("DA__BACKEND", "eigenda").with("DA__PROXY_URL", &proxy.url());
    let mut settled = settled(&world, options).await?;
    let recorded = blobs::tile(&settled.server.data().join("store"))?;
    ensure(recorded.iter().all(|blob| blob.backend == "eigenda"), || format!("not all are on EigenDA: {recorded:?}"))?;
    println!("{} blobs", recorded.len());

    let nothing = folder.path().join("nothing");
    rebuilds_equal(&world, &mut settled, &nothing, &folder.path().join("from the proxy")).await?;

    proxy.forget(&settled.manifest).await?;
    let blob = recorded.first().ok_or("nothing was published")?;
    ensure(!proxy.has(&blob.certificate).await?, || "the proxy still has a blob".to_owned())?;
    let archive = archive_alone(&settled, folder.path())?;
    rebuilds_equal(&world, &mut settled, &archive, &folder.path().join("from the archive")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flywheel_through_the_local_backend_and_from_its_blobs_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let world = worlds::flywheel()?;
    let mut settled = settled(&world, Options { partitions: Some(4), ..Options::default() }).await?;
    let archive = archive_alone(&settled, folder.path())?;
    rebuilds_equal(&world, &mut settled, &archive, &folder.path().join("from the archive")).await
}
