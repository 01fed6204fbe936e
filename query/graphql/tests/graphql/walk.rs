//! Relay walks: page after page, every row comes once, in order, whatever is written meanwhile.

use serde_json::{Value, json};

use super::ask::{code, data, graphql};
use crate::fixture::{World, address, event, inference};
use tributary_graphql::Graphql;

/// Walks a list to its end; between pages `meanwhile` happens.
async fn walk(graphql: &Graphql, query: &str, backward: bool, mut meanwhile: impl AsyncFnMut()) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let variables = if backward { json!({"last": 7, "before": cursor}) } else { json!({"first": 7, "after": cursor}) };
        let page = data(graphql, query, variables).await["list"].clone();
        let edges = page["edges"].as_array().unwrap();
        assert!(edges.len() <= 7);
        let ids = edges.iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned());
        if backward {
            seen.extend(ids.rev())
        } else {
            seen.extend(ids)
        }
        let (more, end) = if backward { ("hasPreviousPage", "startCursor") } else { ("hasNextPage", "endCursor") };
        assert_eq!(page["pageInfo"][if backward { "hasNextPage" } else { "hasPreviousPage" }], json!(!cursor.is_null()));
        if page["pageInfo"][more] == json!(false) {
            return seen;
        }
        cursor = page["pageInfo"][end].clone();
        meanwhile().await;
    }
}

fn query(arguments: &str) -> String {
    format!(
        "query($first: Int, $after: String, $last: Int, $before: String) {{ list: inferences(first: $first, after: $after, \
         last: $last, before: $before{arguments}) {{ edges {{ cursor node {{ id: inferenceId fee at }} }} \
         pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    )
}

#[tokio::test]
async fn a_walk_gives_each_row_once_in_every_order_and_both_ways() {
    let world = World::new(3).await;
    let events = (0..60).map(|n| inference(&format!("i{n:03}"), "dev", &format!("{}", n % 7)));
    world.add(events).await;
    let graphql = graphql(&world);
    let mut written = 0;
    for (order, filter) in [
        ("", ""),
        (", orderBy: {field: FEE, direction: DESC}", ""),
        (", orderBy: {field: FEE}", ", where: {fee: {gte: \"2\"}}"),
        (", orderBy: {field: AT, direction: DESC}", ", where: {or: [{fee: {eq: \"3\"}}, {inferenceId: {startsWith: \"i00\"}}]}"),
        (", orderBy: {field: INFERENCE_ID, direction: DESC}", ", where: {not: {inferenceId: {contains: \"5\"}}}"),
    ] {
        let query = query(&format!("{order}{filter}"));
        let all = data(&graphql, &query, json!({"first": 1000})).await["list"]["edges"].clone();
        let expected: Vec<String> =
            all.as_array().unwrap().iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()).collect();
        assert!(expected.len() > 14, "{order}{filter}");
        let mut more = async || {
            written += 1;
            world.seal([inference(&format!("new{written}"), "dev", "3")], 1).await;
        };
        assert_eq!(walk(&graphql, &query, false, &mut more).await, expected, "{order}{filter}");
        let query = query.clone();
        let now = data(&graphql, &query, json!({"first": 1000})).await["list"]["edges"].clone();
        let mut expected: Vec<String> =
            now.as_array().unwrap().iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()).collect();
        expected.reverse();
        assert_eq!(walk(&graphql, &query, true, &mut more).await, expected, "{order}{filter}, backwards");
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_and_pages_out_of_range_are_refused() {
    let world = World::new(1).await;
    world.add((0..3).map(|n| inference(&format!("i{n}"), "dev", "1"))).await;
    let graphql = graphql(&world);
    let page = data(&graphql, &query(""), json!({"first": 1})).await["list"].clone();
    let cursor = page["edges"][0]["cursor"].clone();
    let by_fee = query(", orderBy: {field: FEE}");
    assert_eq!(code(&graphql, &by_fee, json!({"after": cursor})).await, "bad_cursor");
    assert_eq!(code(&graphql, &query(""), json!({"after": "bm9uc2Vuc2U"})).await, "bad_cursor");
    for bad in [json!({"first": -1}), json!({"first": 1001}), json!({"last": 1001})] {
        assert_eq!(code(&graphql, &query(""), bad).await, "bad_page");
    }
    let both = data(&graphql, &query(""), json!({"first": 2, "last": 1})).await["list"].clone();
    assert_eq!(both["edges"][0]["node"]["id"], "i1");
    assert_eq!(both["pageInfo"]["hasPreviousPage"], json!(true));
}

/// Every list of the root, walked in small pages, gives what one large page gives; forwards, and backwards where it can.
#[tokio::test]
async fn every_list_of_the_root_is_walked_whole() {
    let world = World::new(3).await;
    let mut events = Vec::new();
    for n in 0..9 {
        let (net, piece, model) = (format!("net{n}"), format!("c{n}"), format!("m{n}"));
        let hash = format!("0x{}", "cd".repeat(32));
        events.push(event(
            "datanet.registered",
            &net,
            "dev",
            json!({"datanet_id": net, "owner": address(7), "name": format!("n{}", n % 3)}),
        ));
        let data = json!({"contribution_id": piece, "datanet_id": "net0", "contributor": address(8), "content_hash": hash, "bytes": n % 4});
        events.push(event("contribution.submitted", &piece, "dev", data));
        let data = json!({"model_id": model, "kind": "base", "owner": address(9), "parents": [], "datanets": ["net0"]});
        events.push(event("model.registered", &model, "dev", data));
        let data = json!({"agent_id": format!("agent{n}"), "action": "pay", "inferences": ["i1"]});
        events.push(event("agent.acted", &format!("act{n}"), "dev", data));
        events.push(inference(&format!("i{n}"), "dev", &(n % 2).to_string()));
    }
    world.add(events).await;
    world.publish().await;
    let graphql = graphql(&world);
    for (list, orders, backwards) in [
        ("datanets", &["DATANET_ID", "NAME", "REGISTERED_AT", "EARNED"][..], true),
        ("contributions", &["CONTRIBUTION_ID", "SUBMITTED_AT", "BYTES", "EARNED"], true),
        ("models", &["MODEL_ID", "REGISTERED_AT", "INFERENCES", "FEES"], true),
        ("inferences", &["INFERENCE_ID", "AT", "FEE", "OUTPUT_TOKENS", "LATENCY"], true),
        ("agents", &[], true),
        ("events", &[], true),
        ("batches", &[], false),
        ("blobs", &[], false),
    ] {
        let by =
            orders.iter().flat_map(|field| ["ASC", "DESC"].map(|way| format!(", orderBy: {{field: {field}, direction: {way}}}")));
        for order in by.chain([String::new()]) {
            let back = if backwards { "last: $last, before: $before, " } else { "" };
            let declared = if backwards { ", $last: Int, $before: String" } else { "" };
            let query = format!(
                "query($first: Int, $after: String{declared}) {{ list: {list}({back}first: $first, after: $after{order}) {{ totalCount \
                 edges {{ node {{ id }} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
            );
            let all = data(&graphql, &query, json!({"first": 1000})).await["list"].clone();
            let mut expected: Vec<String> =
                all["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()).collect();
            assert!(expected.len() >= 3, "{list}");
            assert_eq!(all["totalCount"], json!(expected.len()), "{list}");
            assert_eq!(walk(&graphql, &query, false, async || {}).await, expected, "{list}{order}");
            if backwards {
                expected.reverse();
                assert_eq!(walk(&graphql, &query, true, async || {}).await, expected, "{list}{order}, backwards");
            }
        }
    }
}
