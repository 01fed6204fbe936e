//! What is decided before a request runs, and how subscriptions run.

use futures::StreamExt;
use serde_json::{Value, json};

use super::ask::{answer, code, data, graphql, none};
use crate::fixture::{World, event, inference};
use tributary_graphql::{Answer, Ask, Graphql};

const LONG_MAX: u64 = (1 << 53) - 1;

#[tokio::test]
async fn a_variable_that_does_not_fit_its_type_refuses_the_request_and_is_named() {
    let world = World::new(1).await;
    let graphql = graphql(&world);
    let by_where = "query($w: InferenceWhere) { __typename inferences(where: $w) { totalCount } }";
    for (query, variables, named) in [
        ("query($id: ID!) { __typename node(id: $id) { id } }", json!({}), "`$id` is missing"),
        ("query($id: ID!) { __typename node(id: $id) { id } }", json!({"id": null}), "`$id` is null"),
        ("query($id: ID!) { __typename node(id: $id) { id } }", json!({"id": 1.5}), "`$id`"),
        ("query($n: Long!) { __typename epoch(number: $n) { root } }", json!({"n": "a"}), "`$n`"),
        ("query($n: Int) { inferences(first: $n) { totalCount } }", json!({"n": 2_147_483_648_u64}), "`$n`"),
        ("query($n: String) { inferences(first: $n) { totalCount } }", json!({}), "`$n` is String, and stands where Int"),
        ("query($n: Long) { epoch(number: $n) { root } }", json!({"n": 1}), "`$n` is Long, and stands where Long! is expected"),
        (
            "query($s: String) { ...F } fragment F on Query { meta @skip(if: $s) { cut } }",
            json!({}),
            "where Boolean! is expected",
        ),
        (
            "query($a: [Hash]) { inferences(where: {outputHash: {in: $a}}) { totalCount } }",
            json!({}),
            "where [Hash!] is expected",
        ),
        ("query($a: [Wei!]) { inferences(where: {fee: {in: $a}}) { totalCount } }", json!({}), "WeiFilter has no field `in`"),
        (by_where, json!({"w": {"fee": {"gt": 5}}}), "`$w.fee.gt`"),
        (by_where, json!({"w": {"outputHash": {"in": [format!("0x{}", "ab".repeat(32)), "x"]}}}), "`$w.outputHash.in[1]`"),
        (by_where, json!({"w": {"and": [{"node": {"eq": "0x12"}}]}}), "`$w.and[0].node.eq`"),
        (by_where, json!({"w": {"feee": {"eq": "1"}}}), "no field `feee`"),
        (by_where, json!({"w": 3}), "`$w` is no object"),
        (
            "query($m: Metric!) { series(metric: $m, interval: DAY, from: \"2026-10-01T00:00:00Z\", to: \"2026-10-02T00:00:00Z\") { value } }",
            json!({"m": "NOTHING"}),
            "`$m` is \"NOTHING\"",
        ),
    ] {
        let answer = answer(&graphql, query, variables).await;
        let error = &answer.body["errors"][0];
        assert!(answer.refused.is_some() && answer.body.get("data").is_none(), "{query}: {}", answer.body);
        assert!(matches!(error["extensions"]["code"].as_str(), Some("bad_input" | "bad_graphql")), "{error}");
        assert!(error["message"].as_str().unwrap().contains(named), "{query}: {error}");
    }
    for query in ["query($n: Long = 1) { epoch(number: $n) { root } }", "query($n: Long!) { epoch(number: $n) { root } }"] {
        assert_eq!(data(&graphql, query, json!({"n": 1})).await, json!({"epoch": null}), "{query}");
    }
    // What fits, is null, left out or has a default is taken.
    for variables in
        [json!({}), json!({"w": null}), json!({"w": {"or": [], "fee": {"gt": "5"}, "modelId": {"in": "m"}, "node": null}})]
    {
        data(&graphql, by_where, variables).await;
    }
    let with_default = "query($id: ID! = \"x\") { node(id: $id) { id } }";
    assert_eq!(data(&graphql, with_default, none()).await, json!({"node": null}));
}

async fn first(graphql: &Graphql, query: &str) -> Answer {
    let ask = Ask { query: Some(query.to_owned()), ..Ask::default() };
    graphql.follow(graphql.check(ask).unwrap_or_else(|error| panic!("{query}: {error}"))).next().await.unwrap()
}

#[tokio::test]
async fn a_subscription_is_followed_however_its_only_field_is_written_and_says_where_it_goes_on() {
    let world = World::new(1).await;
    let graphql = graphql(&world);
    world.seal([inference("i1", "dev", "5")], 3).await;
    let plain = first(&graphql, "subscription { events(after: \"start\") { cursor event { key } } }").await;
    assert_eq!(plain.body["data"]["events"]["event"]["key"], "i1");
    let cursor = plain.body["data"]["events"]["cursor"].as_str().map(str::to_owned);
    assert!(cursor.is_some());
    assert_eq!(plain.cursor, cursor);
    for query in [
        "subscription { ...F } fragment F on Subscription { events(after: \"start\") { event { key } } }",
        "subscription { ... on Subscription { events(after: \"start\") { c: cursor event { key } } } }",
        "subscription { ...F } fragment F on Subscription { ...G } fragment G on Subscription { events(after: \"start\") { ...H } } \
         fragment H on LiveEvent { event { key } }",
        "subscription { e: events(after: \"start\") { event { key } } e: events(after: \"start\") { event { type } } }",
    ] {
        let answer = first(&graphql, query).await;
        assert_eq!(answer.cursor, cursor, "{query}");
        let live = answer.body["data"].as_object().unwrap().values().next().unwrap();
        assert_eq!(live["event"]["key"], "i1", "{query}");
        assert!(!answer.body.to_string().contains("__"), "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_subscription_has_one_field_at_its_root_that_is_never_left_out() {
    let world = World::new(1).await;
    let graphql = graphql(&world);
    for query in [
        "subscription { events { cursor } epochs { number } }",
        "subscription { a: events { cursor } b: events { cursor } }",
        "subscription { events(after: \"start\") { cursor } events { cursor } }",
        "subscription { ...F epochs { number } } fragment F on Subscription { events { cursor } }",
        "subscription { __typename }",
        "subscription($s: Boolean!) { events @skip(if: $s) { cursor } }",
        "subscription { ... on Query { meta { cut } } }",
        "subscription { ...F }",
    ] {
        let ask = Ask { query: Some(query.to_owned()), variables: json_object(json!({"s": false})), ..Ask::default() };
        let Err(error) = graphql.check(ask) else { panic!("{query} is taken") };
        assert_eq!(error.code.as_str(), "bad_graphql", "{query}");
    }
    // A field that needs a selection is refused when it has none, and unused fragments are told.
    for query in ["subscription { events }", "subscription { events { cursor } } fragment F on LiveEvent { cursor }"] {
        assert!(first(&graphql, query).await.refused.is_some(), "{query}");
    }
}

fn json_object(value: Value) -> serde_json::Map<String, Value> {
    if let Value::Object(object) = value { object } else { panic!("an object") }
}

#[tokio::test]
async fn a_page_of_no_rows_says_whether_there_are_any() {
    let world = World::new(1).await;
    let graphql = graphql(&world);
    let query = "{ a: inferences(first: 0) { pageInfo { hasNextPage } nodes { fee } } b: inferences(last: 0) { pageInfo { hasPreviousPage } } }";
    let none_there =
        json!({"a": {"pageInfo": {"hasNextPage": false}, "nodes": []}, "b": {"pageInfo": {"hasPreviousPage": false}}});
    assert_eq!(data(&graphql, query, none()).await, none_there);
    world.add([inference("i1", "dev", "5")]).await;
    let one_there = json!({"a": {"pageInfo": {"hasNextPage": true}, "nodes": []}, "b": {"pageInfo": {"hasPreviousPage": true}}});
    assert_eq!(data(&graphql, query, none()).await, one_there);
}

#[tokio::test]
async fn only_an_answer_of_a_named_point_is_fixed() {
    let world = World::new(1).await;
    let graphql = graphql(&world);
    world.add([inference("i1", "dev", "5")]).await;
    for query in ["{ __schema { queryType { name } } }", "{ __typename }", "{ meta { cut } }", "{ inferences { totalCount } }"] {
        assert!(!answer(&graphql, query, none()).await.fixed, "{query}");
    }
    let cut = world.engine.head().await.unwrap();
    let named = format!("{{ inferences(asOf: {{cut: \"{cut}@0\"}}) {{ totalCount }} }}");
    assert!(answer(&graphql, &named, none()).await.fixed);
}

#[tokio::test]
async fn a_total_that_a_long_cannot_hold_is_an_error_of_its_field_alone() {
    let world = World::new(1).await;
    let graphql = graphql(&world);
    let hash = format!("0x{}", "cd".repeat(32));
    let large = |id: &str| {
        event(
            "inference.completed",
            id,
            "dev",
            json!({"inference_id": id, "model_id": "m", "node": "0x00000000000000000000000000000000000000a1",
                   "requester": "0x00000000000000000000000000000000000000a2", "input_hash": hash, "output_hash": hash,
                   "input_tokens": LONG_MAX, "output_tokens": 2, "latency_us": 3, "fee": "5"}),
        )
    };
    world.add([large("i1"), large("i2")]).await;
    let model = event(
        "model.registered",
        "m",
        "dev",
        json!({"model_id": "m", "kind": "base", "weights_hash": hash,
        "owner": "0x00000000000000000000000000000000000000a1", "parents": [], "datanets": []}),
    );
    world.add([model]).await;
    let ask = |field: &str| format!("{{ model(modelId: \"m\") {{ stats {{ {field} }} }} }}");
    assert_eq!(data(&graphql, &ask("outputTokens"), none()).await["model"]["stats"]["outputTokens"], 4);
    assert_eq!(code(&graphql, &ask("inputTokens"), none()).await, "evaluation");
}
