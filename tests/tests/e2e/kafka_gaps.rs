//! Every way in which a log can stop fitting the journal, made real on a broker: the partition stops and says why, the others
//! go on, an operator accepts the gap, and it goes on with what the log holds. What was lost is exactly what the log lost.

mod away;
mod backlog;
mod holes;
mod scene;

use scene::{DAMAGED, OTHER, Scene, WITHIN};
use tributary_tests::patience::Patience;
use tributary_tests::services::TOPIC;
use tributary_tests::{Outcome, ensure};

/// Records are kept so long where retention is not what is tested: a week.
const KEPT_MS: &str = "604800000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_took_records_before_they_were_sealed_stops_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set(1).await? else { return Ok(()) };
    let sealed = scene.send(DAMAGED, 40).await?;
    scene.send(OTHER, 10).await?;
    scene.sealed().await?;
    scene.stop_sealer().await?;
    let earliest = scene.send(DAMAGED, 30).await?;
    let log = scene.logged().await?;

    let cluster = scene.cluster();
    cluster.alter_topic(TOPIC, "retention.ms", "1").await?;
    let patience = Patience::of(WITHIN);
    loop {
        let (begins, _) = cluster.bounds(TOPIC, 0).await?;
        if u64::try_from(begins)? == earliest {
            break;
        }
        patience.pause(|| format!("retention has taken the records before {begins}, not all before {earliest}")).await?;
    }
    cluster.alter_topic(TOPIC, "retention.ms", KEPT_MS).await?;
    scene.send(DAMAGED, 20).await?;
    scene.start_sealer().await?;
    let next = scene.stands_still(|next| vec![next, earliest]).await?;
    ensure(next == sealed, || format!("the journal ends at {next}, not at {sealed}"))?;
    scene.accept("retention was too short", None).await?;
    scene.end("retention was too short", &log, |gap| gap.first_offset..earliest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_deleted_while_the_sealer_was_paused_stop_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set(2).await? else { return Ok(()) };
    let sealed = scene.send(DAMAGED, 40).await?;
    scene.sealed().await?;
    // It may have a few of the next records in hand already, and seals them when it wakes.
    scene.pause_sealer()?;
    let end = scene.send(DAMAGED, 60).await?;
    let log = scene.logged().await?;
    let earliest = end - 7;
    scene.cluster().delete_records(TOPIC, 0, i64::try_from(earliest)?).await?;
    scene.resume_sealer()?;
    let next = scene.stands_still(|next| vec![next, earliest]).await?;
    ensure((sealed..earliest).contains(&next), || format!("the journal ends at {next}"))?;
    scene.accept("somebody deleted records", None).await?;
    scene.end("somebody deleted records", &log, |gap| gap.first_offset..earliest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_deleted_and_made_again_empty_stops_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set(3).await? else { return Ok(()) };
    let sealed = scene.send(DAMAGED, 40).await?;
    scene.sealed().await?;
    scene.stop_sealer().await?;
    let end = scene.send(DAMAGED, 15).await?;
    let log = scene.logged().await?;
    scene.make_topic_again().await?;
    scene.start_sealer().await?;
    let next = scene.stands_still(|next| vec![0, next]).await?;
    ensure(next == sealed, || format!("the journal ends at {next}, not at {sealed}"))?;
    scene.accept("the topic was deleted", None).await?;
    scene.end("the topic was deleted", &log, |gap| gap.first_offset..end).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_again_and_filled_beyond_the_journal_stops_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set(4).await? else { return Ok(()) };
    let sealed = scene.send(DAMAGED, 20).await?;
    scene.sealed().await?;
    scene.stop_sealer().await?;
    let log = scene.logged().await?;
    scene.make_topic_again().await?;
    let end = scene.send(DAMAGED, 35).await?;
    ensure(end > sealed, || format!("the new log ends at {end} only"))?;
    scene.start_sealer().await?;
    scene.stands_before_another_log().await?;
    // From its first record on, or what the new log holds below the journal's end would be left out.
    scene.accept("the topic was made again", Some(0)).await?;
    scene.end("the topic was made again", &log, |gap| gap.first_offset..sealed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_cut_off_under_a_running_sealer_stops_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set(5).await? else { return Ok(()) };
    let sealed = scene.send(DAMAGED, 40).await?;
    scene.sealed().await?;
    scene.pause_sealer()?;
    let end = scene.send(DAMAGED, 10).await?;
    let log = scene.logged().await?;
    scene.cluster().stop(1).await?;
    let cut = u64::try_from(scene.cluster().cut_log(1, TOPIC, 0, i64::try_from(sealed / 2)?)?)?;
    ensure(0 < cut && cut < sealed, || format!("the log was cut at {cut}"))?;
    scene.cluster().restart(1).await?;
    scene.resume_sealer()?;
    scene.stands_still(|next| vec![cut, next]).await?;
    scene.accept("the broker lost its last writes", None).await?;
    scene.end("the broker lost its last writes", &log, |gap| gap.first_offset..end).await
}
