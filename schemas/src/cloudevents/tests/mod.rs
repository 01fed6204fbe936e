#![allow(clippy::unwrap_used)]

mod attributes;
mod data;
mod json;
mod round_trip;

use serde_json::{Value, json};

use super::parse;
use crate::refusal::{Code, Refusal};

const ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const HASH: &str = "0x4e7422c43d8879116305f31c16ade647156434ffb2e2b0d1cec435602beb6e06";

/// The payloads that a door takes, every optional field given, each with the names of its optional fields.
fn payloads() -> Vec<(&'static str, Value, &'static [&'static str])> {
    let (a, h) = (ADDRESS, HASH);
    vec![
        ("datanet.registered", json!({"datanet_id": "d", "owner": a, "name": "D", "license": "MIT"}), &["license"]),
        (
            "contribution.submitted",
            json!({"contribution_id": "c", "datanet_id": "d", "contributor": a, "content_hash": h, "bytes": 1, "tokens": 2}),
            &["tokens"],
        ),
        (
            "contribution.reviewed",
            json!({"contribution_id": "c", "validator": a, "verdict": "accepted", "score": 0.5}),
            &["score"],
        ),
        (
            "model.registered",
            json!({"model_id": "m", "kind": "adapter", "owner": a, "parents": ["b"], "datanets": ["d"], "weights_hash": h}),
            &["weights_hash"],
        ),
        (
            "model.updated",
            json!({"model_id": "m", "version": "2", "weights_hash": h, "method": "lora", "datanets": ["d"], "steps": 9,
                "previous_version": "1"}),
            &["method", "datanets", "steps", "previous_version"],
        ),
        ("policy.set", policy(), &[]),
        (
            "inference.completed",
            json!({"inference_id": "i", "model_id": "m", "node": a, "requester": a, "agent_id": "g", "parents": ["j"],
                "input_hash": h, "output_hash": h, "input_tokens": 1, "output_tokens": 2, "latency_us": 3, "fee": "4"}),
            &["agent_id", "parents"],
        ),
        (
            "attribution.traced",
            json!({"inference_id": "i", "method": "influence", "entries": [{"contribution_id": "c", "weight": 1}]}),
            &[],
        ),
        ("feedback.recorded", json!({"inference_id": "i", "actor": a, "score": -1, "label": "l"}), &["label"]),
        (
            "agent.acted",
            json!({"agent_id": "g", "action": "swap", "inferences": ["i"], "chain_id": 10, "tx_hash": h, "counterparty": a,
                "value": "5"}),
            &["chain_id", "tx_hash", "counterparty", "value"],
        ),
    ]
}

fn policy() -> Value {
    let split = json!({"contributors": 6000, "model": 2000, "node": 1000, "validators": 500, "protocol": 500});
    json!({"scope": "global", "split_bps": split, "upstream_bps": 3000})
}

fn payload(kind: &str) -> Value {
    payloads().into_iter().find(|(name, ..)| *name == kind).unwrap().1
}

/// An event of this type with these fields, and nothing that may be left out.
fn event(kind: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": "e-1", "source": "urn:test", "type": format!("tributary.{kind}.v1"),
        "time": "2026-10-01T00:00:00Z", "data": data})
}

/// A valid event with one attribute set.
fn with(attribute: &str, value: impl Into<Value>) -> Value {
    let mut event = event("policy.set", policy());
    event[attribute] = value.into();
    event
}

/// A valid payload with the field at this JSON pointer set.
fn changed(kind: &str, pointer: &str, value: impl Into<Value>) -> Value {
    let mut data = payload(kind);
    *data.pointer_mut(pointer).unwrap() = value.into();
    event(kind, data)
}

fn outcome(event: &Value) -> Result<(), Refusal> {
    parse(event.to_string().as_bytes()).map(|_| ())
}

#[track_caller]
fn takes(event: &Value) {
    if let Err(refusal) = outcome(event) {
        panic!("{refusal} in {event}");
    }
}

/// The same refusal, whether the payload comes before the type (as serde_json writes it) or after it.
#[track_caller]
fn refuses(event: &Value, code: Code, field: &str) {
    refuses_text(&event.to_string(), code, field);
    refuses_text(&data_last(&event.to_string()), code, field);
}

/// The event with its payload at the end.
fn data_last(event: &str) -> String {
    match (event.find(r#","id":"#), event.strip_prefix('{')) {
        (Some(end), Some(inner)) if inner.starts_with(r#""data":"#) => {
            format!("{{{},{}}}", &event[end + 1..event.len() - 1], &event[1..end])
        }
        _ => event.to_owned(),
    }
}

#[track_caller]
fn refuses_text(event: &str, code: Code, field: &str) {
    match parse(event.as_bytes()) {
        Ok(_) => panic!("taken: {event:.300}"),
        Err(refusal) => {
            assert_eq!((refusal.code, refusal.field.as_str()), (code, field), "{}: {event:.300}", refusal.message);
            assert!(field.is_empty() || refusal.message.contains(&format!("`{field}`")), "{}", refusal.message);
            assert!(refusal.message.len() < 700, "{}", refusal.message);
        }
    }
}
