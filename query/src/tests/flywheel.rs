//! The recorded flywheel: the views against a plain fold of its events, and how long they take.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde_json::json;
use tributary_schemas::event::{Event, EventData};

use super::fixture::{World, flywheel};

/// What counts, by folding the events one after the other. (The flywheel has no grants, and one producer.)
#[derive(Default)]
struct Fold {
    inferences: BTreeMap<String, u128>,
    attributions: HashMap<String, Vec<u64>>,
    models: usize,
    contributions: usize,
    reviews: BTreeMap<String, String>,
    seen: std::collections::HashSet<(String, String, String)>,
}

impl Fold {
    fn take(&mut self, event: &Event) {
        let draft = &event.draft;
        let identity = (draft.source.clone(), draft.id.clone(), format!("{:?}{}", draft.event_type(), draft.key()));
        let new = self.seen.insert(identity);
        match &draft.data {
            EventData::InferenceCompleted(data) => {
                self.inferences.entry(draft.key().to_owned()).or_insert(data.fee.get());
            }
            EventData::AttributionTraced(data) => {
                let weights = || data.entries.iter().map(|entry| u64::from(entry.weight.get())).collect();
                self.attributions.entry(draft.key().to_owned()).or_insert_with(weights);
            }
            EventData::ModelRegistered(_) => self.models += usize::from(new),
            EventData::ContributionSubmitted(_) => self.contributions += usize::from(new),
            EventData::ContributionReviewed(data) if new => {
                self.reviews.insert(draft.key().to_owned(), format!("{:?}", data.verdict).to_lowercase());
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_agree_with_a_fold_of_the_events() {
    let world = World::new(4).await;
    let mut fold = Fold::default();
    for epoch in 1..=3 {
        let events = flywheel(epoch);
        events.iter().for_each(|event| fold.take(event));
        world.seal(events, 400).await;
        world.indexer.index_available().await.unwrap();
    }
    let fees: u128 = fold.inferences.values().sum();
    let entries: Vec<&Vec<u64>> =
        fold.attributions.iter().filter(|(id, _)| fold.inferences.contains_key(*id)).map(|(_, w)| w).collect();
    let rejected = fold.reviews.values().filter(|verdict| *verdict == "rejected").count();
    for (sql, expected) in [
        (
            "SELECT count(*) AS n, sum(fee) AS x FROM effective_inferences",
            json!({"n": fold.inferences.len(), "x": fees.to_string()}),
        ),
        (
            "SELECT count(*) AS n, CAST(sum(weight) AS VARCHAR) AS x FROM effective_attributions",
            json!({"n": entries.iter().map(|w| w.len()).sum::<usize>(), "x": entries.iter().flat_map(|w| w.iter()).sum::<u64>().to_string()}),
        ),
        ("SELECT count(*) AS n FROM current_models", json!({"n": fold.models})),
        ("SELECT count(*) AS n FROM current_contributions", json!({"n": fold.contributions})),
        (
            "SELECT count(*) AS n, count(*) FILTER (WHERE verdict = 'rejected') AS x FROM current_reviews",
            json!({"n": fold.reviews.len(), "x": rejected}),
        ),
        ("SELECT count(*) AS n FROM current_policies", json!({"n": 2})),
    ] {
        let began = Instant::now();
        assert_eq!(world.ask(sql).await, [expected], "{sql}");
        println!("{:>6} ms  {sql}", began.elapsed().as_millis());
    }
    let id = world.column("SELECT min(inference_id) AS id FROM effective_attributions").await.remove(0);
    for sql in [
        format!("SELECT * FROM effective_inferences WHERE inference_id = '{id}'"),
        format!("SELECT * FROM effective_attributions WHERE inference_id = '{id}'"),
    ] {
        let began = Instant::now();
        assert!(!world.ask(&sql).await.is_empty());
        println!("{:>6} ms  {sql}", began.elapsed().as_millis());
    }
}

/// How the views and typical questions fare on forty flywheels with rewritten ids. Prints; run with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; prints figures"]
async fn figures_on_two_million_events() {
    let world = World::new(4).await;
    let events: Vec<Event> = (1..=3).flat_map(flywheel).collect();
    let began = Instant::now();
    for round in 0..40 {
        world.seal(events.iter().map(|event| renamed(event, round)), 400).await;
        world.indexer.index_available().await.unwrap();
    }
    println!("{:>7} ms  sealed and indexed", began.elapsed().as_millis());
    let id = world.column("SELECT max(inference_id) AS id FROM inferences").await.remove(0);
    for sql in [
        "SELECT count(*) FROM events".to_owned(),
        "SELECT type, count(*) AS n FROM events GROUP BY type ORDER BY n DESC".to_owned(),
        "SELECT model_id, sum(fee) AS fees, count(*) AS n FROM inferences GROUP BY model_id ORDER BY fees DESC LIMIT 10"
            .to_owned(),
        "SELECT contribution_id, sum(weight) AS w FROM attributions GROUP BY contribution_id ORDER BY w DESC LIMIT 10".to_owned(),
        "SELECT count(*), sum(fee) FROM effective_inferences".to_owned(),
        "SELECT count(*), sum(weight) FROM effective_attributions".to_owned(),
        "SELECT count(*) FROM current_contributions".to_owned(),
        format!("SELECT * FROM inferences WHERE inference_id = '{id}'"),
        format!("SELECT * FROM effective_inferences WHERE inference_id = '{id}'"),
        format!("SELECT * FROM effective_attributions WHERE inference_id = '{id}'"),
        "SELECT * FROM inferences ORDER BY event_time DESC LIMIT 50".to_owned(),
    ] {
        for _ in 0..2 {
            let began = Instant::now();
            let session = world.engine.session(&world.engine.head().await.unwrap()).await.unwrap();
            let rows = session.collect(&sql).await;
            let rows = rows.map(|rows| rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>());
            println!("{:>7} ms  {rows:?}  {sql}", began.elapsed().as_millis());
        }
    }
}

/// The event with its inference under another id, so that the round's inferences are new ones.
fn renamed(event: &Event, round: u32) -> Event {
    use tributary_schemas::units::Name;
    let mut event = event.clone();
    let renamed = |id: &Name| Name::parse(&format!("{round:02}{}", &id.as_str()[2..])).unwrap();
    match &mut event.draft.data {
        EventData::InferenceCompleted(data) => data.inference_id = renamed(&data.inference_id),
        EventData::AttributionTraced(data) => data.inference_id = renamed(&data.inference_id),
        EventData::FeedbackRecorded(data) => data.inference_id = renamed(&data.inference_id),
        _ => {}
    }
    event
}
