//! `tributary da` as a process: what it tells, how it stands still, and what it leaves alone.

use std::time::Duration;

use tributary_tests::patience::Patience;
use tributary_tests::publishers::Sealed;
use tributary_tests::services::Service;
use tributary_tests::{Outcome, blobs, command, ensure, worlds};

const SOON: Duration = Duration::from_secs(60);

/// Settings of a publisher that needs no network.
const LOCAL: [(&str, &str); 1] = [("DA__BACKEND", "local")];

async fn status(publisher: &Service, arguments: &[&str]) -> Outcome<command::Ran> {
    let url = publisher.url();
    let arguments: Vec<String> =
        ["status", "--url", &url].into_iter().chain(arguments.iter().copied()).map(str::to_owned).collect();
    command::run(&arguments, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_tells_how_far_it_is_and_why_a_partition_stands_still() -> Outcome {
    let sealed = Sealed::of(&worlds::edge(8)?, 2).await?;
    let place = sealed.copy("http://127.0.0.1:1")?;
    // Nothing can be published behind a plan that is none.
    let plan = place.store().join("da/plans/p-00001/00000000000000000000.json");
    std::fs::create_dir_all(plan.parent().ok_or("a plan lies in a folder")?)?;
    std::fs::write(&plan, "{}")?;
    let mut publisher = place.publisher("publisher", &LOCAL, Vec::new())?;
    publisher.start().await?;
    let patience = Patience::of(SOON);
    let unready = loop {
        let (status, text) = publisher.get("/readyz").await?;
        if !status.is_success() {
            break text;
        }
        patience.pause(|| publisher.describe("it is ready")).await?;
    };
    ensure(unready.starts_with("stands still, partition 1: not available: da/plans/p-00001/"), || unready.clone())?;
    ensure(publisher.get("/livez").await?.0.is_success(), || "it is not alive".to_owned())?;
    ensure(publisher.metric("tributary_da_stopped{partition=\"1\"}").await? == 1, || "it does not count that".to_owned())?;
    let dead_end = status(&publisher, &["--wait", "available"]).await?.expect_code(1)?;
    ensure(dead_end.says("partition 1 stands still") && dead_end.says("da/plans/p-00001/"), || dead_end.describe())?;
    let shown = status(&publisher, &[]).await?.expect_code(0)?;
    ensure(shown.says("publishes on local") && shown.says("stands still: "), || shown.describe())?;
    status(&publisher, &["--wait", "indexed"]).await?.expect_code(2)?;
    publisher.stop(SOON).await?;

    std::fs::remove_file(&plan)?;
    publisher.start().await?;
    place.available(&publisher).await?;
    publisher.ready(SOON).await?;
    let report = status(&publisher, &["--json"]).await?.expect_code(0)?.json()?;
    let partitions = report["partitions"].as_array().cloned().unwrap_or_default();
    let all =
        partitions.iter().all(|of| of["lag"] == 0 && of["available_seq"] == of["sealed_seq"] && of["waits_since"].is_null());
    ensure(partitions.len() == 2 && all, || format!("not all is available: {report}"))?;
    publisher.stop(SOON).await?;
    blobs::tile(&place.store())?;
    let bill = place.run(&["da", "cost", "--json"]).await?.expect_code(0)?.json()?;
    ensure(bill["recorded"]["blobs"] == 0 && bill["day"]["of"] == "recorded", || {
        format!("the local backend bills nothing: {bill}")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_is_paused_publishes_nothing_and_says_so() -> Outcome {
    let place = Sealed::of(&worlds::edge(8)?, 1).await?.copy("http://127.0.0.1:1")?;
    let mut publisher = place.publisher("publisher", &[("DA__BACKEND", "local"), ("DA__PAUSED", "true")], Vec::new())?;
    publisher.start().await?;
    let late = status(&publisher, &["--wait", "available", "--timeout", "300ms"]).await?.expect_code(1)?;
    let shown = status(&publisher, &[]).await?.expect_code(0)?;
    ensure(shown.says("publishes on local, paused"), || shown.describe())?;
    publisher.stop(SOON).await?;
    ensure(blobs::recorded(&place.store())?.is_empty(), || format!("something was published: {}", late.describe()))
}
