//! Answers, the point they are read at, and how many queries they cost.

use serde_json::{Value, json};
use tributary_da::EventProof;
use tributary_schemas::event::Event;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units::keccak256;

use super::ask::{answer, code, data, graphql, none};
use crate::fixture::{World, address, attribution, event, inference};

fn hash(byte: &str) -> String {
    format!("0x{}", byte.repeat(32))
}

fn datanet(id: &str) -> Event {
    event("datanet.registered", &format!("d-{id}"), "dev", json!({"datanet_id": id, "owner": address(7), "name": "A datanet"}))
}

fn contribution(id: &str, datanet: &str) -> Event {
    let data =
        json!({"contribution_id": id, "datanet_id": datanet, "contributor": address(8), "content_hash": hash("cd"), "bytes": 10});
    event("contribution.submitted", &format!("c-{id}"), "dev", data)
}

fn model(id: &str, parents: &[&str]) -> Event {
    let kind = if parents.is_empty() { "base" } else { "adapter" };
    let data = json!({"model_id": id, "kind": kind, "owner": address(9), "parents": parents, "datanets": ["net"]});
    event("model.registered", &format!("m-{id}"), "dev", data)
}

fn child(id: &str, parents: &[&str]) -> Event {
    let hash = hash("ab");
    let data = json!({
        "inference_id": id, "model_id": "m", "node": address(1), "requester": address(2), "agent_id": "scout", "parents": parents,
        "input_hash": hash, "output_hash": hash, "input_tokens": 1, "output_tokens": 2, "latency_us": 3, "fee": "5",
    });
    event("inference.completed", &format!("i-{id}"), "dev", data)
}

fn review(n: u32, contribution: &str, verdict: &str) -> Event {
    let data = json!({"contribution_id": contribution, "validator": address(4), "verdict": verdict, "score": 0.25});
    event("contribution.reviewed", &format!("r-{n}"), "dev", data)
}

fn feedback(n: u32, inference: &str, score: f64) -> Event {
    let data = json!({"inference_id": inference, "actor": address(5), "score": score, "label": "fine"});
    event("feedback.recorded", &format!("f-{n}"), "dev", data)
}

/// A little of everything, on two partitions.
async fn small_world() -> World {
    let world = World::new(2).await;
    let events = [
        datanet("net"),
        contribution("a", "net"),
        contribution("b", "net"),
        contribution("lost", "nowhere"),
        review(1, "a", "rejected"),
        review(2, "a", "accepted"),
        model("m", &[]),
        model("tuned", &["m", "unknown"]),
        inference("i1", "dev", "100"),
        inference("i1", "dev", "999"),
        attribution("t1", "i1", "dev", &[("b", 3), ("a", 1)]),
        child("i2", &["i1", "gone"]),
        child("i3", &["i2", "i1"]),
        feedback(1, "i1", 0.5),
        feedback(2, "i1", -0.25),
    ];
    world.add(events).await;
    world
}

#[tokio::test]
async fn an_inference_is_told_with_all_that_belongs_to_it() {
    let world = small_world().await;
    let graphql = graphql(&world);
    let query = r#"{ inference(inferenceId: "i1") {
        fee latencyMicros finality
        node { address earned }
        model { modelId policy { scope contributors } children { nodes { modelId parents { modelId } } } }
        attribution { method entries { totalCount nodes { contributionId weight share
            contribution { contributor { address } datanet { name } review { verdict score } } } } event { key type } }
        feedback { totalCount nodes { score label } }
        children { nodes { inferenceId agent { agentId } } }
        pathway(direction: DESCENDANTS) { depth inference { inferenceId } via { inferenceId } }
        event { eventId batch { partition events blob { backend } } }
    } }"#;
    let found = data(&graphql, query, none()).await["inference"].clone();
    assert_eq!(found["fee"], "100", "of two events with one id the first counts");
    assert_eq!((&found["latencyMicros"], &found["finality"]), (&json!(3), &json!("SEALED")));
    assert_eq!(found["node"], json!({"address": address(1), "earned": "0"}));
    assert_eq!(found["model"]["policy"], json!({"scope": "", "contributors": 6000}));
    assert_eq!(found["model"]["children"]["nodes"], json!([{"modelId": "tuned", "parents": [{"modelId": "m"}]}]));
    let entry = |id: &str, weight: i64, share: f64, review: Value| {
        json!({"contributionId": id, "weight": weight, "share": share, "contribution": {
            "contributor": {"address": address(8)}, "datanet": {"name": "A datanet"}, "review": review}})
    };
    let nodes = json!([entry("a", 1, 0.25, json!({"verdict": "ACCEPTED", "score": 0.25})), entry("b", 3, 0.75, Value::Null)]);
    assert_eq!(found["attribution"]["entries"], json!({"totalCount": 2, "nodes": nodes}));
    assert_eq!(found["attribution"]["event"], json!({"key": "i1", "type": "tributary.attribution.traced.v1"}));
    assert_eq!(found["feedback"]["totalCount"], json!(2));
    assert_eq!(found["children"]["nodes"].as_array().unwrap().len(), 2);
    let steps = json!([
        {"depth": 1, "inference": {"inferenceId": "i2"}, "via": {"inferenceId": "i1"}},
        {"depth": 1, "inference": {"inferenceId": "i3"}, "via": {"inferenceId": "i1"}},
    ]);
    assert_eq!(found["pathway"], steps);
    assert_eq!(found["event"]["batch"]["blob"], Value::Null);
}

#[tokio::test]
async fn things_are_found_by_id_search_and_filter_in_any_case_and_unknown_ids_give_null() {
    let world = small_world().await;
    let graphql = graphql(&world);
    let ids = data(&graphql, r#"{ inference(inferenceId: "i2") { id event { id batch { id } } } account(address: "0x0000000000000000000000000000000000000008") { id } }"#, none()).await;
    let asked = [
        ids["inference"]["id"].clone(),
        ids["inference"]["event"]["id"].clone(),
        ids["inference"]["event"]["batch"]["id"].clone(),
        ids["account"]["id"].clone(),
        json!("bm8"),
    ];
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Inference { inferenceId } } }";
    let nodes = data(&graphql, query, json!({"ids": asked})).await["nodes"].clone();
    let names: Vec<&Value> = nodes.as_array().unwrap().iter().map(|node| &node["__typename"]).collect();
    assert_eq!(names, [&json!("Inference"), &json!("Event"), &json!("Batch"), &json!("Account"), &Value::Null]);
    assert_eq!(nodes[0]["inferenceId"], "i2");
    let nothing = r#"{ inference(inferenceId: "x") { id } model(modelId: "x") { id } event(source: "/test", eventId: "x") { id }
        batch(partition: 9, seq: 0) { id } epoch(number: 4) { id } node(id: "??") { id } agent(agentId: "x") { agentId } }"#;
    for (name, value) in data(&graphql, nothing, none()).await.as_object().unwrap() {
        assert_eq!(value, &Value::Null, "{name}");
    }
    let hits = data(&graphql, r#"{ search(text: "NET") { __typename ... on Datanet { datanetId } } }"#, none()).await;
    assert_eq!(hits["search"], json!([{"__typename": "Datanet", "datanetId": "net"}]));
    let filter = json!({"w": {"contributor": {"eq": address(8).to_uppercase()}, "verdict": {"eq": "ACCEPTED"}}});
    let query = "query($w: ContributionWhere) { contributions(where: $w) { totalCount nodes { contributionId } } }";
    let found = data(&graphql, query, filter).await["contributions"].clone();
    assert_eq!(found, json!({"totalCount": 1, "nodes": [{"contributionId": "a"}]}));
    let not = json!({"w": {"not": {"verdict": {"eq": "ACCEPTED"}}}});
    assert_eq!(data(&graphql, query, not).await["contributions"]["totalCount"], 2, "what has no review is not accepted");
    let parents = r#"{ inferences(where: {parent: {eq: "i1"}, attributed: {eq: false}}) { nodes { inferenceId } } }"#;
    let found = data(&graphql, parents, none()).await["inferences"]["nodes"].clone();
    assert_eq!(found, json!([{"inferenceId": "i2"}, {"inferenceId": "i3"}]));
}

#[tokio::test]
async fn an_event_comes_with_its_bytes_and_a_proof_that_holds() {
    let world = small_world().await;
    let graphql = graphql(&world);
    let query = r#"{ event(source: "/test", eventId: "t1") { raw data attributes ordinal proof { leaf path batchRoot batchHeader opening { blobSymbols } }
        batch { root } } }"#;
    let event = data(&graphql, query, none()).await["event"].clone();
    assert_eq!(event["data"]["entries"][0], json!({"contribution_id": "b", "weight": 3}));
    let parse = |value: &Value| tributary_schemas::units::parse_hash(value.as_str().unwrap()).unwrap();
    let path: Vec<_> = event["proof"]["path"].as_array().unwrap().iter().map(parse).collect();
    let (leaf, root) = (parse(&event["proof"]["leaf"]), parse(&event["proof"]["batchRoot"]));
    assert!(tributary_journal::merkle::verify(root, leaf, &path));
    assert_eq!(event["batch"]["root"], event["proof"]["batchRoot"]);
    assert_eq!(event["proof"]["batchHeader"].as_str().unwrap().len(), 2 + 2 * 248);
    assert_eq!(event["proof"]["opening"], Value::Null);
    let twice = [feedback(1, "i2", 0.0)];
    world.add(twice).await;
    assert_eq!(code(&graphql, r#"{ event(source: "/test", eventId: "f-1") { key } }"#, none()).await, "ambiguous_event");
    let named = r#"{ event(source: "/test", eventId: "f-1", type: "tributary.feedback.recorded.v1", key: "i2") { key } }"#;
    assert_eq!(data(&graphql, named, none()).await["event"]["key"], "i2");
}

#[tokio::test]
async fn the_answer_about_an_available_event_is_a_proof_that_holds_without_the_server() {
    let world = small_world().await;
    world.publish().await;
    let graphql = graphql(&world);
    let query = "{ events(first: 40) { nodes { raw ordinal batch { seq } proof { leaf path batchRoot batchHeader blob { certificate } opening {
        symbolIndexes symbols proofs blobSymbols prelude { symbolIndex symbol proof } } } } } }";
    let events = data(&graphql, query, none()).await["events"]["nodes"].clone();
    assert!(events.as_array().unwrap().iter().any(|event| event["batch"]["seq"] == 1), "blobs have several batches");
    for event in events.as_array().unwrap() {
        let proof = EventProof::parse(json!({ "data": { "event": event } }).to_string().as_bytes()).unwrap();
        let blob_id = keccak256(&proof.proof.blob.certificate.0);
        let proved = proof.verify(&blob_id).unwrap();
        assert_eq!(event["batch"]["seq"], proved.header.seq.get());
        assert_eq!(proof.proof.opening.symbol_indexes[0], 2 + 8 * proved.batch_in_blob);
    }
    assert_eq!(data(&graphql, query, none()).await["events"]["nodes"], events, "made or kept, it is the same");
    let many = "{ events(first: 1000) { nodes { proof { opening { blobSymbols } } } } }";
    assert_eq!(code(&graphql, many, none()).await, "too_complex");
}

#[tokio::test]
async fn what_is_sealed_and_not_yet_indexed_is_seen_once() {
    let world = small_world().await;
    let graphql = graphql(&world);
    let count = "{ inferences { totalCount } events(first: 1) { totalCount } meta { cut partitions { sealedSeq indexedSeq } } }";
    let before = data(&graphql, count, none()).await;
    world.seal([inference("i9", "dev", "1"), inference("i2", "dev", "7")], 1).await;
    let fresh = data(&graphql, count, none()).await;
    assert_eq!(before["inferences"]["totalCount"].as_i64().unwrap() + 1, fresh["inferences"]["totalCount"].as_i64().unwrap());
    assert_eq!(before["events"]["totalCount"].as_i64().unwrap() + 2, fresh["events"]["totalCount"].as_i64().unwrap());
    world.indexer.index_available().await.unwrap();
    let indexed = data(&graphql, count, none()).await;
    assert_eq!(indexed["inferences"], fresh["inferences"]);
    assert_eq!(indexed["meta"]["cut"], fresh["meta"]["cut"]);
    let at = json!({"cut": before["meta"]["cut"]});
    let then = data(&graphql, "query($cut: String) { inferences(asOf: {cut: $cut}) { totalCount } }", at).await;
    assert_eq!(then["inferences"], before["inferences"]);
}

#[tokio::test]
async fn a_deeper_list_costs_as_many_queries_as_a_single_thing() {
    let world = World::new(2).await;
    world.add([datanet("net"), model("m", &[])]).await;
    let query = "query($first: Int) { inferences(first: $first) { totalCount nodes { finality model { modelId policy { node } }
        attribution { entries(first: 2) { totalCount nodes { share contribution { earned datanet { name } review { verdict } } } } }
        feedback(first: 1) { nodes { score } } children(first: 1) { totalCount } parents { model { modelId } } } } }";
    let mut plans = Vec::new();
    // Up to eight attributions bring their entries with them, which saves some; beyond, the number is the same.
    for (many, range) in [(2, 0..2), (9, 2..9), (40, 9..40)] {
        let events = range.flat_map(|n| {
            let id = format!("i{n}");
            let (a, b) = (format!("a{n}"), format!("b{n}"));
            [
                contribution(&a, "net"),
                contribution(&b, "net"),
                review(n, &a, "accepted"),
                child(&id, &[]),
                attribution(&format!("t{n}"), &id, "dev", &[(&a, 1), (&b, 2)]),
                feedback(n, &id, 0.5),
            ]
        });
        world.add(events.collect::<Vec<_>>()).await;
        let graphql = graphql(&world);
        let answer = answer(&graphql, query, json!({"first": many})).await;
        assert_eq!(answer.body["data"]["inferences"]["nodes"].as_array().unwrap().len(), many, "{}", answer.body);
        plans.push(answer.plans);
    }
    assert_eq!(plans[1], plans[2]);
    assert!(plans[0] < plans[1] && plans[1] <= 20, "{plans:?}");
}

#[tokio::test]
async fn a_series_has_every_interval_and_the_greatest_groups() {
    let world = small_world().await;
    let graphql = graphql(&world);
    let query = r#"query($m: Metric!, $g: SeriesGroup) { series(metric: $m, interval: DAY, from: "2026-09-30T00:00:00Z",
        to: "2026-10-03T00:00:00Z", groupBy: $g) { at group value } }"#;
    let point =
        |day: &str, group: Value, value: &str| json!({"at": format!("{day}T00:00:00.000000Z"), "group": group, "value": value});
    let values = |metric: &str, value: &str| {
        json!([
            point("2026-09-30", Value::Null, "0"),
            point("2026-10-01", Value::Null, value),
            point("2026-10-02", Value::Null, "0")
        ])
        .as_array()
        .map(|points| (metric.to_owned(), json!(points)))
        .unwrap()
    };
    for (metric, points) in [
        values("INFERENCES", "3"),
        values("FEES", "110"),
        values("OUTPUT_TOKENS", "6"),
        values("ATTRIBUTIONS", "1"),
        values("CONTRIBUTIONS", "3"),
        values("FEEDBACK", "0.125"),
        values("LATENCY_P50", "3"),
        values("LATENCY_P99", "3"),
        values("REWARDS", "0"),
    ] {
        assert_eq!(data(&graphql, query, json!({"m": metric})).await["series"], points, "{metric}");
    }
    for (group, first, value) in [("MODEL", "m", "110"), ("AGENT", "scout", "10"), ("DATANET", "net", "100")] {
        let points = data(&graphql, query, json!({"m": "FEES", "g": group})).await["series"].clone();
        assert_eq!(points[1], point("2026-10-01", json!(first), value), "{group}");
        assert_eq!(points.as_array().unwrap().len(), 3, "{group}");
    }
    assert_eq!(code(&graphql, query, json!({"m": "FEES", "g": "ROLE"})).await, "bad_series");
}

#[tokio::test]
async fn an_object_of_which_nothing_is_selected_is_empty_and_not_null() {
    let world = small_world().await;
    let graphql = graphql(&world);
    let query = r#"query($yes: Boolean!) { meta { cut @skip(if: $yes) } search(text: "i1") { ... on Datanet { name } }
        node(id: "x") { id @skip(if: $yes) } inference(inferenceId: "i1") @skip(if: $yes) { fee } }"#;
    let found = data(&graphql, query, json!({"yes": true})).await;
    assert_eq!(found, json!({"meta": {}, "search": [{}], "node": null}));
    assert_eq!(data(&graphql, "{ meta @skip(if: true) { cut } }", none()).await, json!({}));
}

#[tokio::test]
async fn the_certificate_of_a_blob_is_read_once_and_fails_alone_if_it_is_gone() {
    let world = World::new(2).await;
    world.add((0..12).map(|n| inference(&format!("i{n}"), "dev", "5"))).await;
    world.publish().await;
    let graphql = graphql(&world);
    let blobs = "{ blobs { nodes { id partition certificate } } }";
    let nodes = data(&graphql, blobs, none()).await["blobs"]["nodes"].clone();
    let ids: Vec<Value> = nodes.as_array().unwrap().iter().map(|node| node["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    for partition in [0, 1] {
        let name = tributary_da::names::certificate(Partition::new(partition).unwrap(), Seq::FIRST);
        object_store::ObjectStoreExt::delete(&world.store, &name).await.unwrap();
        assert_eq!(data(&graphql, blobs, none()).await["blobs"]["nodes"], nodes, "they are kept");
        // Another one has kept nothing.
        let other = super::ask::graphql(&world);
        let one = "query($id: ID!) { node(id: $id) { ... on Blob { certificate } } }";
        let gone = code(&other, one, json!({"id": ids[partition as usize]})).await;
        assert_eq!(gone, "corrupt");
        if partition == 0 {
            let there = data(&other, one, json!({"id": ids[1]})).await;
            assert_eq!(there["node"]["certificate"], nodes[1]["certificate"]);
            // Both in one wave.
            let both =
                answer(&other, "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Blob { certificate } } }", json!({"ids": ids}))
                    .await;
            assert_eq!(both.body["data"]["nodes"][1]["certificate"], nodes[1]["certificate"], "{}", both.body);
            assert_eq!(both.body["data"]["nodes"][0], Value::Null, "{}", both.body);
        }
    }
}

#[tokio::test]
async fn a_field_that_fails_is_null_and_what_may_not_be_null_takes_the_nearest_thing_around_it_with_it() {
    let world = World::new(1).await;
    world.add([inference("i1", "dev", "5"), inference("i2", "dev", "5")]).await;
    world.publish().await;
    let name = tributary_da::names::certificate(Partition::new(0).unwrap(), Seq::FIRST);
    let graphql = graphql(&world);
    // The session remembers the blob, whose record is gone.
    data(&graphql, "{ blobs { totalCount } }", none()).await;
    object_store::ObjectStoreExt::delete(&world.store, &name).await.unwrap();
    for (query, expected) in [
        // `certificate` is String!, `blob` may be null.
        ("{ batch(partition: 0, seq: 0) { seq blob { backend certificate } } }", json!({"batch": {"seq": 0, "blob": null}})),
        ("{ b: batch(partition: 0, seq: 0) { seq x: blob { certificate } } }", json!({"b": {"seq": 0, "x": null}})),
        (
            "{ batch(partition: 0, seq: 0) { ...F ...G } } fragment F on Batch { blob { c: certificate } } fragment G on Batch { blob { backend } seq }",
            json!({"batch": {"seq": 0, "blob": null}}),
        ),
        // The nodes of a list may not be null, nor may the list.
        ("{ meta { cut } blobs { totalCount nodes { certificate } } }", json!(null)),
        (
            "{ batches { totalCount nodes { seq blob { ... { certificate } } } } }",
            json!({"batches": {"totalCount": 1, "nodes": [{"seq": 0, "blob": null}]}}),
        ),
    ] {
        let answer = answer(&graphql, query, none()).await;
        assert_eq!(answer.body["errors"][0]["extensions"]["code"], "corrupt", "{query}: {}", answer.body);
        assert_eq!(answer.body["data"], expected, "{query}");
    }
    let id = data(&graphql, "{ blobs { nodes { id } } }", none()).await["blobs"]["nodes"][0]["id"].clone();
    let both = "query($id: ID!) { node(id: $id) { __typename ... on Event { key } ... on Blob { certificate } } nodes(ids: [$id, \"x\"]) { ... on Blob { certificate } } }";
    let found = answer(&graphql, both, json!({"id": id})).await;
    assert_eq!(found.body["data"], json!({"node": null, "nodes": [null, null]}), "{}", found.body);
    // Under one name on types that exclude each other lie fields of several types.
    let names = "query($id: ID!) { nodes(ids: [$id]) { ... on Batch { x: seq } ... on Event { y: batch { z: seq } }
        ... on Blob { y: id x: lastSeq z: certificate } } }";
    let found = answer(&graphql, names, json!({"id": id})).await;
    assert_eq!(found.body["errors"][0]["path"], json!(["nodes", 0, "z"]), "{}", found.body);
    assert_eq!(found.body["data"], json!({"nodes": [null]}), "{}", found.body);
    // A field that may be null fails alone, and is there.
    world.add([feedback(1, "i1", 0.5), feedback(1, "i2", 0.0)]).await;
    let one = answer(&graphql, "{ e: event(source: \"/test\", eventId: \"f-1\") { key } __typename }", none()).await;
    assert_eq!(one.body["errors"][0]["extensions"]["code"], "ambiguous_event", "{}", one.body);
    assert_eq!(one.body["data"], json!({"e": null, "__typename": "Query"}));
}
