//! What the index of places says, compared with the same views in SQL.

use std::sync::Arc;

use serde_json::{Value, json};
use tributary_da::Certificates;
use tributary_schemas::cut::Cut;
use tributary_schemas::event::Event;
use tributary_schemas::ids::SystemClock;

use super::fixture::{World, address, attribution, event, inference, objects};
use super::views::{grant, policy, review};
use tributary_query::{Engine, Settings};

/// A small generator of numbers: the same from the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

const KEYS: &[&str] = &["a", "b", "c", "d", "ä"];
const PRODUCERS: &[&str] = &["n1", "n2", "t1", "t2"];

fn any_event(dice: &mut Dice) -> Event {
    let (key, producer) = (dice.pick(KEYS), dice.pick(PRODUCERS));
    let id = format!("e{}", dice.roll(40));
    let hash = format!("0x{}", "cd".repeat(32));
    let number = dice.roll(3) + 1;
    match dice.roll(11) {
        0 => event("datanet.registered", &id, producer, json!({"datanet_id": key, "owner": address(number), "name": "n"})),
        1 => {
            let data = json!({"contribution_id": key, "datanet_id": "d", "contributor": address(number), "content_hash": hash, "bytes": 1});
            event("contribution.submitted", &id, producer, data)
        }
        2 => {
            let data = json!({"model_id": key, "kind": "base", "owner": address(number), "parents": [], "datanets": []});
            event("model.registered", &id, producer, data)
        }
        3 => review(&id, key, dice.pick(&["accepted", "rejected"]), number),
        4 => policy(&id, dice.pick(&["global", "a"]), number),
        5 => {
            grant(&id, producer, if dice.roll(3) > 0 { &["tracer"] } else { &["producer"] }, (dice.roll(4) == 0).then_some(true))
        }
        6 => event("feedback.recorded", &id, producer, json!({"inference_id": key, "actor": address(number), "score": 0.5})),
        7 => event("agent.acted", &id, producer, json!({"agent_id": key, "action": "paid", "inferences": []})),
        8 => event("model.updated", &id, producer, json!({"model_id": key, "version": "1", "weights_hash": hash})),
        9 => inference(key, producer, &number.to_string()),
        _ => attribution(&id, key, producer, &[("c1", number), ("c2", 1)]),
    }
}

async fn rows(engine: &Arc<Engine>, cut: &Cut, sql: &str) -> Vec<Value> {
    let session = engine.session(cut).await.unwrap();
    objects(&session.collect(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")))
}

fn questions() -> Vec<String> {
    let views = crate::views::VIEWS.iter().filter(|view| view.name != "epochs").map(|view| view.name);
    let tables = ["inferences", "attributions", "grants", "reviews", "agent_actions"];
    let mut all = Vec::new();
    for (name, key) in views.map(|name| (name, key_of(name))).chain(tables.map(|name| (name, key_of(name)))) {
        let order = if name == "attributions" || name == "effective_attributions" {
            "_partition, _seq, _ordinal, contribution_id"
        } else {
            "_partition, _seq, _ordinal"
        };
        all.push(format!("SELECT * FROM {name} ORDER BY {order}"));
        all.push(format!("SELECT count(*) AS n FROM {name}"));
        all.push(format!("SELECT * FROM {name} WHERE {key} = 'a' ORDER BY {order}"));
        all.push(format!(
            "SELECT * FROM {name} WHERE {key} IN ('b', 'ä', 'global', 'n2', 'nobody') AND _seq > 0 ORDER BY {order}"
        ));
        all.push(format!("SELECT * FROM {name} WHERE ({key} = 'c' OR 'd' = {key}) ORDER BY {order}"));
        all.push(format!("SELECT * FROM {name} WHERE ({key} = 'c' OR _seq = 0) ORDER BY {order}"));
        all.push(format!("SELECT * FROM {name} WHERE {key} = 'nobody'"));
    }
    all.push("SELECT * EXCLUDE (attributes) FROM events WHERE key = 'a' ORDER BY _partition, _seq, _ordinal".to_owned());
    all
}

fn key_of(name: &str) -> &'static str {
    match name {
        "current_datanets" => "datanet_id",
        "current_models" | "counted_model_updates" => "model_id",
        "current_contributions" | "current_reviews" | "counted_reviews" | "reviews" => "contribution_id",
        "current_policies" => "scope",
        "counted_agent_actions" | "agent_actions" => "agent_id",
        "grants" => "producer_id",
        _ => "inference_id",
    }
}

/// The world's engine, and one without an index over the same data.
fn engines(world: &World) -> (Arc<Engine>, Arc<Engine>) {
    let settings = Settings { index_bytes_max: 0, threads: 1, ..Settings::default() };
    let certificates = Arc::new(Certificates::new(Arc::clone(&world.store)));
    let without = Engine::new(Arc::clone(&world.lake), Arc::clone(&world.journal), certificates, Arc::new(SystemClock), settings);
    (Arc::clone(&world.engine), without)
}

#[tokio::test(flavor = "multi_thread")]
async fn views_by_place_show_what_the_views_in_sql_show_at_every_cut() {
    for seed in 1..=4 {
        let mut dice = Dice(seed);
        let world = World::new([1, 2, 3, 5][usize::try_from(dice.roll(4)).unwrap()]).await;
        let (with, without) = engines(&world);
        let mut cuts = Vec::new();
        for round in 0..5 {
            let events: Vec<Event> = (0..dice.roll(40) + 10).map(|_| any_event(&mut dice)).collect();
            world.seal(events, 4).await;
            // The index is sometimes filled from the tail and sometimes from the lake.
            if dice.roll(2) == 0 {
                cuts.push(with.head().await.unwrap());
                rows(&with, cuts.last().unwrap(), "SELECT count(*) FROM effective_attributions").await;
            }
            if round < 4 {
                world.indexer.index_available().await.unwrap();
            }
            cuts.push(with.head().await.unwrap());
        }
        for cut in &cuts {
            for question in questions() {
                let (found, expected) = (rows(&with, cut, &question).await, rows(&without, cut, &question).await);
                assert_eq!(found, expected, "seed {seed}, cut {cut}: {question}");
            }
        }
        let events = rows(&without, cuts.last().unwrap(), "SELECT count(*) AS n FROM events").await;
        assert_eq!(events[0]["n"], json!(with.metrics().index_events.get()), "the index was used and is whole");
        assert_eq!(without.metrics().index_events.get(), 0, "the other had none");
    }
}

#[tokio::test]
async fn a_lookup_by_key_reads_only_the_batches_that_hold_it() {
    let world = World::new(1).await;
    for n in 0..20 {
        world.add((0..6).map(|i| inference(&format!("i{n}-{i}"), "n1", "5"))).await;
    }
    let plan = world.ask("EXPLAIN SELECT fee FROM effective_inferences WHERE inference_id = 'i7-3'").await;
    let plan = plan[1]["plan"].as_str().unwrap().to_owned();
    assert!(!plan.contains("Aggregate"), "nothing is grouped: {plan}");
    assert_eq!(plan.matches(".parquet").count(), 1, "of twenty files and more one is read: {plan}");
    let none = format!("{:?}", world.ask("EXPLAIN SELECT fee FROM effective_inferences WHERE inference_id = 'nobody'").await);
    assert!(!none.contains(".parquet"), "{none}");
}

#[tokio::test]
async fn a_record_too_large_for_the_index_is_read_without_it() {
    let world = World::with(1, Settings { threads: 1, index_bytes_max: 3_000, ..Settings::default() }).await;
    world.add((0..4).map(|n| inference(&format!("i{n}"), "n1", "5")).chain([inference("i1", "n2", "6")])).await;
    let count = "SELECT count(*) AS n FROM effective_inferences";
    assert_eq!(world.ask(count).await, [json!({"n": 4})]);
    assert_eq!((world.engine.metrics().index_events.get(), world.engine.metrics().index_given_up.get()), (5, 0));
    let under_way = world.engine.session(world.engine.head().await.unwrap()).await.unwrap();
    world.add((0..500).map(|n| inference(&format!("j{n}"), "n1", "5"))).await;
    assert_eq!(world.ask(count).await, [json!({"n": 504})]);
    // What is under way keeps what it found out.
    for (question, expected) in [(count, 4), ("SELECT count(*) AS n FROM effective_inferences WHERE inference_id = 'i3'", 1)] {
        assert_eq!(objects(&under_way.collect(question).await.unwrap()), [json!({"n": expected})], "{question}");
    }
    drop(under_way);
    assert_eq!((world.engine.metrics().index_events.get(), world.engine.metrics().index_given_up.get()), (0, 1));
}
