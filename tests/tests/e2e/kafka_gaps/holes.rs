//! Somebody else's transaction leaves a record that is no event, and behind it the mark of its end, which no reader is given.

use tributary_tests::services::TOPIC;
use tributary_tests::{Outcome, ensure};

use super::scene::{DAMAGED, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mark_of_a_transaction_stops_the_partition_and_is_gone_over_like_the_record_before_it() -> Outcome {
    let Some(mut scene) = Scene::set(10).await? else { return Ok(()) };
    let sealed = scene.send(DAMAGED, 40).await?;
    scene.sealed().await?;
    scene.cluster().transaction(TOPIC, i32::try_from(DAMAGED)?, b"no event").await?;
    scene.stopped_at(sealed, "not a valid event").await?;
    scene.decide("somebody wrote into the topic", Some(sealed + 1)).await?.expect_code(0)?;
    // The mark is the last of the log.
    scene.stopped_at(sealed + 1, "no record is there").await?;
    let refused = scene.decide("somebody wrote into the topic", Some(sealed + 3)).await?;
    ensure(refused.code == Some(1), || format!("an offset beyond the hole was taken: {}", refused.describe()))?;
    scene.decide("the mark of its end", Some(sealed + 2)).await?.expect_code(0)?;
    scene.send(DAMAGED, 20).await?;
    scene.sealed().await?;

    // Events lie before and behind the second, and what lies before it is sealed.
    scene.pause_sealer()?;
    let before = scene.send(DAMAGED, 30).await?;
    scene.cluster().transaction(TOPIC, i32::try_from(DAMAGED)?, b"no event").await?;
    scene.send(DAMAGED, 30).await?;
    scene.resume_sealer()?;
    scene.stopped_at(before, "not a valid event").await?;
    scene.decide("again", Some(before + 1)).await?.expect_code(0)?;
    scene.stopped_at(before + 1, "no record is there").await?;
    scene.decide("and its mark", Some(before + 2)).await?.expect_code(0)?;
    scene.sealed().await?;
    let events = scene.journaled()?.len();
    ensure(events == 120, || format!("{events} events are sealed, not 120"))?;
    scene.end_verified().await
}
