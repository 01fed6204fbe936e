//! What counts.

use serde_json::{Value, json};

use super::fixture::{World, address, attribution, event, inference, recorded};

pub(super) fn review(id: &str, contribution: &str, verdict: &str, validator: u64) -> tributary_schemas::event::Event {
    event(
        "contribution.reviewed",
        id,
        "dev",
        json!({"contribution_id": contribution, "validator": address(validator), "verdict": verdict}),
    )
}

pub(super) fn policy(id: &str, scope: &str, upstream: u64) -> tributary_schemas::event::Event {
    let split = json!({"contributors": 6000, "model": 2000, "node": 1000, "validators": 500, "protocol": 500});
    event("policy.set", id, "dev", json!({"scope": scope, "split_bps": split, "upstream_bps": upstream}))
}

/// A grant as Tributary writes it; no door takes one.
pub(super) fn grant(id: &str, producer: &str, roles: &[&str], revoked: Option<bool>) -> tributary_schemas::event::Event {
    use tributary_schemas::event::{EventData, GrantSet};
    let mut template = recorded(
        json!({"specversion": "1.0", "id": id, "source": "/test", "type": "tributary.model.updated.v1", "time": "2026-10-01T00:00:00Z",
               "data": {"model_id": "m", "version": "1", "weights_hash": format!("0x{}", "00".repeat(32))}})
        .to_string()
        .as_bytes(),
        "tributary",
    );
    let roles = roles.iter().map(|role| tributary_schemas::event::GrantRole::parse(role).unwrap()).collect();
    let producer = tributary_schemas::units::Name::parse(producer).unwrap();
    template.draft.data = EventData::GrantSet(GrantSet { producer, roles, types: Vec::new(), revoked });
    template
}

#[tokio::test]
async fn the_first_registration_of_an_id_counts() {
    let world = World::new(4).await;
    let contribution = |id: &str, contributor: u64| {
        let hash = format!("0x{}", "cd".repeat(32));
        let data = json!({"contribution_id": "c", "datanet_id": "d", "contributor": address(contributor), "content_hash": hash, "bytes": 1});
        event("contribution.submitted", id, "dev", data)
    };
    let model = |id: &str, owner: u64| {
        event(
            "model.registered",
            id,
            "dev",
            json!({"model_id": "m", "kind": "base", "owner": address(owner), "parents": [], "datanets": []}),
        )
    };
    let cut = world.add([contribution("1", 7), model("1", 7)]).await;
    world.add([contribution("2", 8), model("2", 8)]).await;
    for view in ["current_contributions", "current_models"] {
        let who = if view == "current_models" { "owner" } else { "contributor" };
        let expected = [json!({"who": address(7)})];
        assert_eq!(world.ask(&format!("SELECT {who} AS who FROM {view}")).await, expected, "{view}");
        assert_eq!(world.ask_at(&cut, &format!("SELECT {who} AS who FROM {view}")).await, expected, "{view}");
    }
    let columns = world.column(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'current_models' ORDER BY ordinal_position",
    );
    let stored =
        world.column("SELECT column_name FROM information_schema.columns WHERE table_name = 'models' ORDER BY ordinal_position");
    assert_eq!(columns.await, stored.await);
}

#[tokio::test]
async fn the_latest_review_counts_and_a_repeated_one_does_not_come_back() {
    let world = World::new(2).await;
    let cut =
        world.add([review("1", "c", "accepted", 1), review("2", "c", "rejected", 2), review("x", "d", "accepted", 3)]).await;
    // The same identity as the first, at a later place and with other content.
    world.add([review("1", "c", "accepted", 9)]).await;
    let latest = "SELECT contribution_id, validator FROM current_reviews ORDER BY contribution_id";
    let expected =
        [json!({"contribution_id": "c", "validator": address(2)}), json!({"contribution_id": "d", "validator": address(3)})];
    assert_eq!(world.ask(latest).await, expected);
    assert_eq!(world.ask_at(&cut, latest).await, expected);
    world.add([review("3", "c", "accepted", 4)]).await;
    assert_eq!(
        world.ask("SELECT validator FROM current_reviews WHERE contribution_id = 'c'").await,
        [json!({"validator": address(4)})]
    );
    assert_eq!(world.ask_at(&cut, latest).await, expected);
}

#[tokio::test]
async fn the_latest_policy_of_a_scope_counts() {
    let world = World::new(2).await;
    world.add([policy("1", "global", 1), policy("2", "global", 2), policy("3", "m", 3), policy("1", "global", 9)]).await;
    let rows = world.ask("SELECT scope, upstream_bps FROM current_policies ORDER BY scope").await;
    assert_eq!(rows, [json!({"scope": "global", "upstream_bps": 2}), json!({"scope": "m", "upstream_bps": 3})]);
}

#[tokio::test]
async fn the_first_event_of_an_inference_counts() {
    let world = World::new(2).await;
    world.add([inference("a", "n1", "5"), inference("a", "n2", "6"), inference("b", "n1", "7")]).await;
    let rows = world.ask("SELECT inference_id, fee FROM effective_inferences ORDER BY inference_id").await;
    assert_eq!(rows, [json!({"inference_id": "a", "fee": "5"}), json!({"inference_id": "b", "fee": "7"})]);
}

async fn effective(world: &World) -> Vec<Value> {
    world
        .ask("SELECT inference_id, contribution_id, weight FROM effective_attributions ORDER BY inference_id, contribution_id")
        .await
}

#[tokio::test]
async fn the_first_attribution_by_the_node_counts_with_all_its_entries() {
    let world = World::new(4).await;
    let none: Vec<Value> = Vec::new();
    world.add([attribution("0", "a", "stranger", &[("c1", 1)]), attribution("1", "a", "n1", &[("c1", 2), ("c2", 3)])]).await;
    assert_eq!(effective(&world).await, none, "an attribution without its inference does not count");
    world
        .add([attribution("2", "a", "n1", &[("c1", 4)]), inference("a", "n1", "5"), attribution("3", "b", "n1", &[("c1", 9)])])
        .await;
    let row = |c: &str, w: u64| json!({"inference_id": "a", "contribution_id": c, "weight": w});
    assert_eq!(effective(&world).await, [row("c1", 2), row("c2", 3)]);
}

#[tokio::test]
async fn a_strangers_attribution_does_not_become_the_nodes_by_being_repeated() {
    let world = World::new(2).await;
    world.add([inference("a", "n1", "5"), attribution("x", "a", "stranger", &[("c1", 1)])]).await;
    world.add([attribution("x", "a", "n1", &[("c1", 2)]), attribution("y", "a", "n1", &[("c1", 3)])]).await;
    assert_eq!(effective(&world).await, [json!({"inference_id": "a", "contribution_id": "c1", "weight": 3})]);
}

#[tokio::test]
async fn a_tracer_by_its_latest_grant_may_attribute_for_others() {
    let world = World::new(1).await;
    world
        .add([inference("a", "n1", "5"), attribution("0", "a", "t", &[("c1", 1)]), attribution("1", "a", "n1", &[("c1", 2)])])
        .await;
    let row = |w: u64| json!({"inference_id": "a", "contribution_id": "c1", "weight": w});
    assert_eq!(effective(&world).await, [row(2)]);
    let granted = world.add([grant("g1", "t", &["producer", "tracer"], None)]).await;
    assert_eq!(effective(&world).await, [row(1)], "the tracer's came first");
    world.add([grant("g2", "t", &["producer"], None)]).await;
    assert_eq!(effective(&world).await, [row(2)], "the latest grant has no tracer role");
    world.add([grant("g1", "t", &["tracer"], None)]).await;
    assert_eq!(effective(&world).await, [row(2)], "a repeated grant has no effect");
    world.add([grant("g3", "t", &["tracer"], Some(false))]).await;
    assert_eq!(effective(&world).await, [row(1)]);
    world.add([grant("g4", "t", &["tracer"], Some(true))]).await;
    assert_eq!(effective(&world).await, [row(2)], "revoked");
    let rows = world.ask_at(&granted, "SELECT weight FROM effective_attributions").await;
    assert_eq!(rows, [json!({"weight": 1})], "a cut keeps its grants");
}
