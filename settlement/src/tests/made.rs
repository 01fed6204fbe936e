//! Made worlds with several producers, tracers, repeated identities: both ways must agree on each.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tributary_schemas::cloudevents;
use tributary_schemas::event::{Draft, Event, EventData, EventType, GrantRole, GrantSet};
use tributary_schemas::ids::Clock;
use tributary_schemas::units::Name;

use super::stack::Stack;
use super::world::noon;

const HASH: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

fn event(id: &str, kind: &str, data: &str, producer: &str) -> Event {
    let json = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"urn:made\",\"type\":\"tributary.{kind}.v1\",\
         \"time\":\"2026-10-01T00:00:00Z\",\"data\":{data}}}"
    );
    let draft = cloudevents::parse(json.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {json}"));
    Event { draft, producer: Name::parse(producer).unwrap(), accepted_at: noon().now() }
}

fn inference(id: &str, inference_id: &str, model: &str, fee: u64, producer: &str) -> Event {
    let data = format!(
        "{{\"inference_id\":\"{inference_id}\",\"model_id\":\"{model}\",\"node\":\"0x{:040x}\",\"requester\":\"0x{:040x}\",\
         \"input_hash\":\"{HASH}\",\"output_hash\":\"{HASH}\",\"input_tokens\":1,\"output_tokens\":1,\"latency_us\":1,\
         \"fee\":\"{fee}\"}}",
        0xa0 + fee % 3,
        0xb0
    );
    event(id, "inference.completed", &data, producer)
}

fn attribution(id: &str, inference_id: &str, entries: &[(String, u32)], producer: &str) -> Event {
    let entries: Vec<String> =
        entries.iter().map(|(id, weight)| format!("{{\"contribution_id\":\"{id}\",\"weight\":{weight}}}")).collect();
    let data = format!("{{\"inference_id\":\"{inference_id}\",\"method\":\"m\",\"entries\":[{}]}}", entries.join(","));
    event(id, "attribution.traced", &data, producer)
}

fn contribution(id: &str, contribution_id: &str, contributor: u32) -> Event {
    let data = format!(
        "{{\"contribution_id\":\"{contribution_id}\",\"datanet_id\":\"d\",\"contributor\":\"0x{contributor:040x}\",\
         \"content_hash\":\"{HASH}\",\"bytes\":1}}"
    );
    event(id, "contribution.submitted", &data, "p0")
}

fn review(id: &str, contribution_id: &str, validator: u32, accepted: bool) -> Event {
    let verdict = if accepted { "accepted" } else { "rejected" };
    let data =
        format!("{{\"contribution_id\":\"{contribution_id}\",\"validator\":\"0x{validator:040x}\",\"verdict\":\"{verdict}\"}}");
    event(id, "contribution.reviewed", &data, "p0")
}

fn model(id: &str, model_id: &str, parent: Option<&str>, owner: u32) -> Event {
    let (kind, parents) = parent.map_or(("base", String::new()), |parent| ("adapter", format!("\"{parent}\"")));
    let data = format!(
        "{{\"model_id\":\"{model_id}\",\"kind\":\"{kind}\",\"owner\":\"0x{owner:040x}\",\"parents\":[{parents}],\"datanets\":[]}}"
    );
    event(id, "model.registered", &data, "p0")
}

fn policy(id: &str, scope: &str, contributors: u32, upstream: u32) -> Event {
    let data = format!(
        "{{\"scope\":\"{scope}\",\"split_bps\":{{\"contributors\":{contributors},\"model\":{},\"node\":1000,\"validators\":500,\
         \"protocol\":500}},\"upstream_bps\":{upstream}}}",
        8000 - contributors
    );
    event(id, "policy.set", &data, "p0")
}

/// Written by Tributary itself, so made here without a door.
fn grant(id: &str, producer: &str, tracer: bool, revoked: bool) -> Event {
    let draft = Draft {
        id: id.to_owned(),
        source: "urn:tributary".to_owned(),
        time: noon().now(),
        has_subject: false,
        has_datacontenttype: false,
        dataschema: None,
        traceparent: None,
        tracestate: None,
        sig: None,
        signer: None,
        extensions: Default::default(),
        data: EventData::GrantSet(GrantSet {
            producer: Name::parse(producer).unwrap(),
            roles: if tracer { vec![GrantRole::Producer, GrantRole::Tracer] } else { vec![GrantRole::Producer] },
            types: vec![EventType::AttributionTraced],
            revoked: revoked.then_some(true),
        }),
    };
    Event { draft, producer: Name::parse("tributary").unwrap(), accepted_at: noon().now() }
}

/// One event of a small world in which everything meets: few ids, few identities, few producers.
fn any(chance: &mut StdRng) -> Event {
    let id = format!("e{}", chance.random_range(0..12));
    let producer = format!("p{}", chance.random_range(0..3));
    let c = |n: u32| format!("c{n}");
    match chance.random_range(0..20) {
        0 => contribution(&id, &c(chance.random_range(0..6)), chance.random_range(1..4)),
        1 => review(&id, &c(chance.random_range(0..6)), chance.random_range(4..6), chance.random_bool(0.6)),
        2 => model(
            &id,
            &format!("m{}", chance.random_range(0..3)),
            chance.random_bool(0.5).then_some("m0"),
            chance.random_range(6..9),
        ),
        3 => {
            policy(&id, ["global", "m1"][chance.random_range(0..2)], chance.random_range(0..8000), chance.random_range(0..10_000))
        }
        4 => grant(&id, &producer, chance.random_bool(0.6), chance.random_bool(0.3)),
        5..10 => {
            let inference_id = format!("i{}", chance.random_range(0..25));
            inference(&id, &inference_id, &format!("m{}", chance.random_range(0..3)), chance.random_range(0..50), &producer)
        }
        _ => {
            let inference_id = format!("i{}", chance.random_range(0..25));
            let some: Vec<u32> = (0..6).filter(|_| chance.random_bool(0.3)).collect();
            let entries: Vec<(String, u32)> = some.into_iter().map(|n| (c(n), chance.random_range(1..4))).collect();
            let entries = if entries.is_empty() { vec![(c(0), 1)] } else { entries };
            attribution(&id, &inference_id, &entries, &producer)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_and_replay_agree_on_made_worlds_with_many_producers_and_repetitions() {
    for seed in 0..30 {
        let mut chance = StdRng::seed_from_u64(seed);
        let stack = Stack::new(1 + u32::try_from(seed % 3).unwrap()).await;
        for _ in 0..3 {
            let events: Vec<Event> = (0..60).map(|_| any(&mut chance)).collect();
            stack.take(&events).await;
            stack.settle().await.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
        stack.verify().await.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

async fn settled(events: &[Event]) -> Stack {
    let stack = Stack::new(2).await;
    stack.take(events).await;
    stack.settle().await.unwrap();
    stack.verify().await.unwrap();
    stack
}

fn registered() -> Vec<Event> {
    vec![contribution("c1", "c1", 1), contribution("c2", "c2", 2), model("m", "m", None, 3)]
}

async fn paid(stack: &Stack, account: u32) -> bool {
    stack.outcome(super::stack::epoch(1)).await.cumulative.contains_key(&format!("0x{account:040x}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_slipped_in_by_a_stranger_before_the_nodes_own_does_not_count() {
    let mut events = registered();
    events.push(attribution("a1", "i", &[("c1".to_owned(), 1)], "stranger"));
    events.push(inference("i", "i", "m", 1000, "node"));
    events.push(attribution("a2", "i", &[("c2".to_owned(), 1)], "node"));
    let stack = settled(&events).await;
    assert_eq!((paid(&stack, 1).await, paid(&stack, 2).await), (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracers_trace_counts_by_the_latest_grant_of_the_cut_even_if_granted_later() {
    let mut events = registered();
    events.push(attribution("a1", "i", &[("c1".to_owned(), 1)], "tracer"));
    events.push(inference("i", "i", "m", 1000, "node"));
    events.push(attribution("a2", "i", &[("c2".to_owned(), 1)], "node"));
    events.push(grant("g1", "tracer", true, false));
    let stack = settled(&events).await;
    assert_eq!((paid(&stack, 1).await, paid(&stack, 2).await), (true, false));
    events.push(grant("g2", "tracer", true, true));
    // A repetition of the first grant does not give it back.
    events.push(grant("g1", "tracer", true, false));
    let stack = settled(&events).await;
    assert_eq!((paid(&stack, 1).await, paid(&stack, 2).await), (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_identity_of_another_producer_does_not_count_though_the_first_of_it_does_not_count_either() {
    let mut events = registered();
    events.push(inference("i", "i", "m", 1000, "node"));
    events.push(attribution("a1", "i", &[("c1".to_owned(), 1)], "stranger"));
    events.push(attribution("a1", "i", &[("c2".to_owned(), 1)], "node"));
    let stack = settled(&events).await;
    // Untraced: it is not due in its first epoch.
    assert_eq!((paid(&stack, 1).await, paid(&stack, 2).await), (false, false));
}
