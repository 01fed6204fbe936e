//! One cut per query, while rows are being added.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::TryStreamExt;
use serde_json::Value;

use super::fixture::{World, attribution, inference, objects};

/// So often queries must see rows added.
const MOVES: u64 = 4;

/// Every round adds inferences and their attributions with two entries each. At any cut the tables must agree with each other
/// and with the headers of the journal.
#[tokio::test(flavor = "multi_thread")]
async fn all_tables_of_a_query_are_of_one_cut_during_indexing() {
    let world = Arc::new(World::new(4).await);
    let done = Arc::new(AtomicBool::new(false));
    let moved = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn({
        let (world, done, moved) = (Arc::clone(&world), Arc::clone(&done), Arc::clone(&moved));
        async move {
            let mut round = 0;
            // Until the queries have seen the cut move, however slow they are.
            while round < 25 || (moved.load(Ordering::Acquire) < MOVES && round < 1_000) {
                let events = (0..8).flat_map(|n| {
                    let id = format!("{round}-{n}");
                    [inference(&id, "dev", "5"), attribution(&format!("a-{id}"), &id, "dev", &[("c1", 1), ("c2", 2)])]
                });
                world.add(events).await;
                round += 1;
            }
            done.store(true, Ordering::Release);
            round
        }
    });
    let sql = "SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM inferences) AS inferences, \
               (SELECT count(*) FROM attributions) AS entries, (SELECT CAST(coalesce(sum(events), 0) AS BIGINT) FROM batches) AS sealed, \
               (SELECT count(DISTINCT inference_id) FROM attributions) AS attributed";
    let mut last = 0;
    while !done.load(Ordering::Acquire) {
        let row = world.ask(sql).await.remove(0);
        let n = |name: &str| row[name].as_u64().unwrap();
        assert_eq!(n("events"), n("sealed"), "{row}");
        assert_eq!(n("entries"), 2 * n("attributed"), "{row}");
        assert_eq!(n("inferences") + n("attributed"), n("events"), "{row}");
        assert!(n("events") >= last, "{row} after {last}");
        moved.fetch_add(u64::from(n("events") > last), Ordering::AcqRel);
        last = n("events");
    }
    let rounds = writer.await.unwrap();
    assert!(moved.load(Ordering::Acquire) >= MOVES, "the cut moved {moved:?} times in {rounds} rounds");
    let end: Value = world.ask("SELECT count(*) AS n FROM effective_attributions").await.remove(0);
    assert_eq!(end["n"], rounds * 8 * 2);
}

/// What a session saw it sees to its end, whatever is sealed and indexed meanwhile: also rows that were fresh when it began.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_cut_while_the_head_moves() {
    let world = World::new(2).await;
    let round = |name: &'static str| {
        (0..6).flat_map(move |n| {
            let id = format!("{name}-{n}");
            [inference(&id, "dev", "5"), attribution(&format!("a-{id}"), &id, "dev", &[("c1", 1)])]
        })
    };
    world.add(round("indexed")).await;
    world.seal(round("fresh"), 4).await;
    let session = world.engine.session_at_head().await.unwrap();
    let questions = [
        "SELECT inference_id FROM effective_inferences ORDER BY inference_id",
        "SELECT inference_id, contribution_id FROM effective_attributions ORDER BY inference_id",
        "SELECT fee FROM inferences WHERE inference_id IN ('fresh-1', 'later-1', 'indexed-1')",
        "SELECT count(*) AS n FROM events",
        "SELECT partition, seq, events FROM batches ORDER BY partition, seq",
    ];
    let mut before = Vec::new();
    for sql in questions {
        before.push(objects(&session.collect(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))));
    }
    assert_eq!((before[0].len(), before[2].len()), (12, 2));
    let mut begun = session.sql("SELECT DISTINCT inference_id FROM inferences UNION ALL SELECT key FROM events").await.unwrap();
    let mut rows = begun.try_next().await.unwrap().map_or(0, |rows| rows.num_rows());
    assert!(rows > 0);
    // The fresh batches are indexed and later ones come.
    world.add(round("later")).await;
    while let Some(more) = begun.try_next().await.unwrap() {
        rows += more.num_rows();
    }
    assert_eq!(rows, 12 + 24);
    for (sql, before) in questions.into_iter().zip(before) {
        assert_eq!(objects(&session.collect(sql).await.unwrap()), before, "{sql}");
    }
    assert_eq!(world.ask("SELECT count(*) AS n FROM events").await[0]["n"], 36);
}
