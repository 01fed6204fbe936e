//! A topic that stays away until the sealer has given its partitions up, more than once under one sealer.

use tributary_tests::{Outcome, ensure};

use super::scene::{DAMAGED, OTHER, Scene};

const TIMES: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_away_again_and_again_is_sealed_on_by_the_same_sealer_after_each_decision() -> Outcome {
    let Some(mut scene) = Scene::set(9).await? else { return Ok(()) };
    scene.send(OTHER, 20).await?;
    for time in 0..TIMES {
        let end = scene.send(DAMAGED, 40 + 10 * time).await?;
        scene.sealed().await?;
        let before = scene.journaled()?.len();
        scene.make_topic_again_later().await?;
        scene.send(DAMAGED, 10).await?;
        scene.stopped(DAMAGED).await?;
        scene.stopped(OTHER).await?;
        for partition in [DAMAGED, OTHER] {
            scene.decide_on(partition, &format!("away for the {time}. time"), None).await?.expect_code(0)?;
        }
        scene.send(OTHER, 20).await?;
        scene.sealed().await?;
        let now = scene.journaled()?.len();
        ensure(now == before + 10, || format!("after {end} offsets of the old log, {before} events were sealed, now {now}"))?;
    }
    scene.end_verified().await
}
