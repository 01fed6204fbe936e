//! One cut per query, while rows are being added.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::fixture::{World, attribution, inference};

/// Every round adds inferences and their attributions with two entries each. At any cut the tables must agree with each other
/// and with the headers of the journal.
#[tokio::test(flavor = "multi_thread")]
async fn all_tables_of_a_query_are_of_one_cut_during_indexing() {
    let world = Arc::new(World::new(4).await);
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        async move {
            for round in 0..25 {
                let events = (0..8).flat_map(|n| {
                    let id = format!("{round}-{n}");
                    [inference(&id, "dev", "5"), attribution(&format!("a-{id}"), &id, "dev", &[("c1", 1), ("c2", 2)])]
                });
                world.add(events).await;
            }
            done.store(true, Ordering::Release);
        }
    });
    let sql = "SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM inferences) AS inferences, \
               (SELECT count(*) FROM attributions) AS entries, (SELECT CAST(coalesce(sum(events), 0) AS BIGINT) FROM batches) AS sealed, \
               (SELECT count(DISTINCT inference_id) FROM attributions) AS attributed";
    let mut cuts = 0;
    let mut last = 0;
    while !done.load(Ordering::Acquire) {
        let row = world.ask(sql).await.remove(0);
        let n = |name: &str| row[name].as_u64().unwrap();
        assert_eq!(n("events"), n("sealed"), "{row}");
        assert_eq!(n("entries"), 2 * n("attributed"), "{row}");
        assert_eq!(n("inferences") + n("attributed"), n("events"), "{row}");
        assert!(n("events") >= last, "{row} after {last}");
        cuts += u64::from(n("events") > last);
        last = n("events");
    }
    writer.await.unwrap();
    assert!(cuts > 3, "the cut moved {cuts} times");
    let end: Value = world.ask("SELECT count(*) AS n FROM effective_attributions").await.remove(0);
    assert_eq!(end["n"], 25 * 8 * 2);
}
