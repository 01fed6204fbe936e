//! A check by sample, from the real binary.

use serde_json::Value;
use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, play};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, ensure, worlds};

const KINDS: [&str; 4] = ["batches", "blobs", "files", "epochs"];

/// What was drawn of each kind, and of how many.
fn drawn(report: &Value) -> Vec<(u64, u64)> {
    let count = |kind: &str, what: &str| report["sample"][kind][what].as_u64().unwrap_or_default();
    KINDS.iter().map(|kind| (count(kind, "checked"), count(kind, "of"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_says_what_it_drew_draws_the_same_by_its_seed_and_ends_with_exit_code_3_at_a_difference() -> Outcome {
    let mut server = Server::fresh(Options::quick(2)).await?;
    play(&server, &worlds::edge(4)?, Sending::AsRecorded, &mut Chance::of(1)).await?;
    server.stop().await?;
    let whole = server.job(&["verify", "--json"]).await?.expect_code(0)?.json()?;
    let all = server.job(&["verify", "--sample", "4000000000", "--json"]).await?.expect_code(0)?.json()?;
    ensure(drawn(&all).iter().all(|(checked, of)| checked == of && *of > 1), || format!("not all was drawn: {all}"))?;
    for count in ["batches", "events", "blobs", "rows", "manifests", "epochs"] {
        ensure(all[count] == whole[count], || format!("{count}: {} by sample, {} in full", all[count], whole[count]))?;
    }

    let sample = ["verify", "--sample", "2", "--json"];
    let first = server.job(&sample).await?.expect_code(0)?;
    let report = first.json()?;
    let seed = report["sample"]["seed"].to_string();
    ensure(first.stderr.contains(&format!("--sample 2 --seed {seed}")), || format!("no seed: {}", first.describe()))?;
    ensure(drawn(&report).iter().all(|(checked, of)| *checked == 2 && *of > 2), || format!("not two of each: {report}"))?;
    let again = server.job(&[&sample[..], &["--seed", &seed]].concat()).await?.expect_code(0)?.json()?;
    ensure(again == report, || format!("by the same seed {again}, before {report}"))?;
    let text = server.job(&["verify", "--sample", "2", "--seed", &seed]).await?.expect_code(0)?;
    ensure(text.says(&format!("seed {seed}")) && text.says("not checked:"), || text.describe())?;

    // Records are checked in full, whatever is drawn.
    let plan = server.data().join("store/da/plans/p-00001/00000000000000000000.json");
    let good = std::fs::read(&plan)?;
    let mut bad = good.clone();
    bad[40] ^= 1;
    std::fs::write(&plan, bad)?;
    let found = server.job(&sample).await?.expect_code(3)?;
    ensure(found.says("da/plans/p-00001/00000000000000000000.json"), || found.describe())?;
    std::fs::write(&plan, good)?;
    for wrong in [&["--sample", "0"][..], &["--seed", "1"], &["--sample", "1", "--epoch", "1"], &["--sample", "x"]] {
        server.job(&[&["verify"], wrong].concat()).await?.expect_code(2)?;
    }
    Ok(())
}
