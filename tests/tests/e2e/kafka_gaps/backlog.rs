//! A topic that is deleted, made again and filled beyond its old end while the sealer is paused and has a backlog. It wakes in a
//! log that has a record where it would go on, and must not go on as if that one followed.

use std::collections::BTreeMap;
use std::time::Duration;

use tributary_tests::auditor::event::Identity;
use tributary_tests::patience::Patience;
use tributary_tests::server::Options;
use tributary_tests::services::SESSION_TIMEOUT;
use tributary_tests::{Outcome, ensure};

use super::scene::{DAMAGED, PARTITIONS, Scene, WITHIN};

/// No pause is as long: the sealer keeps its partitions, and nothing but the disturbance makes it compare log and journal.
const LONG_SESSION: Duration = Duration::from_secs(60);
/// With keys as long as [`long_key`], records for more than three reads of the sealer: while it works on those of one, the client
/// library holds the others.
const BACKLOG: u64 = 8_000;
/// A backlog is hundreds of batches of so many bytes, which takes the sealer seconds.
const BATCH_BYTES_MAX: &str = "4000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_replaced_before_a_paused_sealer_had_read_its_backlog_stops_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set_with(6, options(LONG_SESSION), "key").await? else { return Ok(()) };
    let sealed = scene.send(DAMAGED, 40).await?;
    scene.sealed().await?;
    scene.pause_sealer()?;
    // What it asked of the broker before is answered with the first of these.
    let end = scene.send(DAMAGED, 60).await?;
    let log = scene.logged().await?;
    replace_topic(&mut scene, &log).await?;
    scene.resume_sealer()?;
    let next = scene.stands_before_another_log().await?;
    ensure((sealed..end).contains(&next), || format!("the journal ends at {next}; it ended at {sealed}, the old log at {end}"))?;
    recovers(scene, &log, next, "the topic was replaced before it was read").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_replaced_under_a_paused_sealer_that_had_read_ahead_stops_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set_with(7, options(LONG_SESSION), &long_key()).await? else { return Ok(()) };
    let log = paused_at_work(&mut scene).await?;
    replace_topic(&mut scene, &log).await?;
    scene.resume_sealer()?;
    let next = scene.stands_before_another_log().await?;
    recovers(scene, &log, next, "the topic was replaced while it was read").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_replaced_while_a_sealer_at_work_lost_its_share_stops_the_partition_until_the_gap_is_accepted() -> Outcome {
    let Some(mut scene) = Scene::set_with(8, options(SESSION_TIMEOUT), &long_key()).await? else { return Ok(()) };
    let log = paused_at_work(&mut scene).await?;
    replace_topic(&mut scene, &log).await?;
    // When it wakes it goes on with its work, learns that the partition is not its own any more, and gets it back.
    scene.group_has(0).await?;
    scene.resume_sealer()?;
    scene.group_has(1).await?;
    let next = scene.stands_before_another_log().await?;
    recovers(scene, &log, next, "the topic was replaced while nobody had the partition").await
}

fn options(session: Duration) -> Options {
    let session = session.as_millis().to_string();
    Options::quick(PARTITIONS).with("SEAL__BATCH_BYTES_MAX", BATCH_BYTES_MAX).with("KAFKA__SESSION_TIMEOUT_MS", &session)
}

/// What long keys begin with. They lie in a record twice.
fn long_key() -> String {
    "key-".repeat(50)
}

/// Pauses the sealer while it works on a backlog: some of it is sealed, some is in its hands, and it has not read the rest yet.
/// Gives what the log holds.
async fn paused_at_work(scene: &mut Scene) -> Outcome<BTreeMap<u64, Identity>> {
    scene.send(DAMAGED, 40).await?;
    scene.sealed().await?;
    scene.pause_sealer()?;
    let before = scene.journaled()?.len();
    scene.send_beyond(DAMAGED, BACKLOG).await?;
    let log = scene.logged().await?;
    scene.resume_sealer()?;
    let patience = Patience::of(WITHIN);
    while scene.journaled()?.len() == before {
        patience.pause(|| "nothing of the backlog is sealed".to_owned()).await?;
    }
    scene.pause_sealer()?;
    let sealed = scene.journaled()?.len();
    println!("{sealed} events are sealed when the sealer is paused at work; the log holds {} records", log.len());
    ensure(sealed < log.len() / 2, || format!("{sealed} of {} records are sealed: that is no backlog", log.len()))?;
    Ok(log)
}

/// Deletes the topic, makes it again and fills it with other events, beyond where the old log ended.
async fn replace_topic(scene: &mut Scene, old: &BTreeMap<u64, Identity>) -> Outcome {
    scene.make_topic_again().await?;
    let (ended, ends) = (end_of(old), scene.send_beyond(DAMAGED, end_of(old)).await?);
    println!("the old log ended at {ended}, the new one ends at {ends}");
    Ok(())
}

fn end_of(log: &BTreeMap<u64, Identity>) -> u64 {
    log.last_key_value().map_or(0, |(last, _)| last + 1)
}

/// The journal ends at `next` with what the old log held before that, and nothing else. Once the gap is accepted it goes on with
/// all that the new log holds; lost is what the old one held from there on.
async fn recovers(mut scene: Scene, old: &BTreeMap<u64, Identity>, next: u64, reason: &str) -> Outcome {
    let ended = end_of(old);
    println!("the journal ends at {next}, the old log ended at {ended}");
    ensure(next <= ended, || format!("the journal ends at {next}, beyond {ended}, where the old log ended"))?;
    scene.holds(old, next)?;
    scene.accept(reason, None).await?;
    scene.end(reason, old, |gap| gap.first_offset..ended).await
}
