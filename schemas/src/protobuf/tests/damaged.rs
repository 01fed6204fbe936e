//! Bytes that are no event are refused with the field, and never with a panic.

use proptest::prelude::*;
use prost::Message;

use super::super::v1::event::Data;
use super::super::{decode, encode, v1};
use crate::samples;

fn event(data: Data) -> v1::Event {
    v1::Event { id: "e".into(), source: "s".into(), producer: "dev".into(), data: Some(data), ..Default::default() }
}

fn attribution(entries: Vec<(&str, u32)>) -> Data {
    let entry = |(id, weight): (&str, u32)| v1::AttributionEntry { contribution_id: id.into(), weight };
    let entries = entries.into_iter().map(entry).collect();
    Data::AttributionTraced(v1::AttributionTraced { inference_id: "i".into(), method: "m".into(), entries })
}

fn inference() -> v1::InferenceCompleted {
    v1::InferenceCompleted {
        inference_id: "i".into(),
        model_id: "m".into(),
        node: vec![1; 20],
        requester: vec![2; 20],
        input_hash: vec![0; 32],
        output_hash: vec![0; 32],
        fee: "0".into(),
        ..Default::default()
    }
}

fn registration() -> v1::ModelRegistered {
    v1::ModelRegistered { model_id: "m".into(), kind: v1::ModelKind::Base.into(), owner: vec![1; 20], ..Default::default() }
}

fn policy(shares: [u32; 5], upstream_bps: u32) -> Data {
    let [contributors_bps, model_bps, node_bps, validators_bps, protocol_bps] = shares;
    let scope = "global".into();
    Data::PolicySet(v1::PolicySet { scope, contributors_bps, model_bps, node_bps, validators_bps, protocol_bps, upstream_bps })
}

#[track_caller]
fn refuses(event: &v1::Event, field: &str) {
    let error = decode(&event.encode_to_vec()).unwrap_err();
    assert_eq!(error.field, field, "{error}");
}

#[test]
fn the_samples_of_this_page_are_events() {
    for data in [attribution(vec![("c", 1)]), Data::InferenceCompleted(inference()), Data::ModelRegistered(registration())] {
        decode(&event(data).encode_to_vec()).unwrap();
    }
}

#[test]
fn an_attribute_that_breaks_its_rule_is_named() {
    let valid = || event(attribution(vec![("c", 1)]));
    refuses(&v1::Event { id: String::new(), ..valid() }, "id");
    refuses(&v1::Event { id: "a b".into(), ..valid() }, "id");
    refuses(&v1::Event { source: String::new(), ..valid() }, "source");
    refuses(&v1::Event { source: "a b".into(), ..valid() }, "source");
    refuses(&v1::Event { time_us: i64::MAX, ..valid() }, "time");
    refuses(&v1::Event { accepted_at_us: i64::MIN, ..valid() }, "accepted_at");
    refuses(&v1::Event { producer: String::new(), ..valid() }, "producer");
    refuses(&v1::Event { traceparent: Some("\n".into()), ..valid() }, "traceparent");
    refuses(&v1::Event { data: None, ..valid() }, "data");
    let extension = |name: &str, value: &str| v1::Extension { name: name.into(), value: value.into() };
    refuses(&v1::Event { extensions: vec![extension("A", "")], ..valid() }, "A");
    refuses(&v1::Event { extensions: vec![extension("subject", "")], ..valid() }, "subject");
    refuses(&v1::Event { extensions: vec![extension("a", "\u{1}")], ..valid() }, "a");
    refuses(&v1::Event { extensions: vec![extension("a", "1"), extension("a", "2")], ..valid() }, "extensions");
    refuses(&v1::Event { extensions: (0..9).map(|n| extension(&format!("e{n}"), "")).collect(), ..valid() }, "");
}

#[test]
fn a_field_that_breaks_its_unit_is_named() {
    let inference_with = |change: fn(&mut v1::InferenceCompleted)| {
        let mut data = inference();
        change(&mut data);
        event(Data::InferenceCompleted(data))
    };
    refuses(&inference_with(|data| data.inference_id.clear()), "data.inference_id");
    refuses(&inference_with(|data| data.node = vec![1; 19]), "data.node");
    refuses(&inference_with(|data| data.requester = vec![0; 20]), "data.requester");
    refuses(&inference_with(|data| data.input_hash.clear()), "data.input_hash");
    refuses(&inference_with(|data| data.input_tokens = 1 << 53), "data.input_tokens");
    refuses(&inference_with(|data| data.fee.clear()), "data.fee");
    refuses(&inference_with(|data| data.fee = "79228162514264337593543950336".into()), "data.fee");
    refuses(&inference_with(|data| data.agent_id = Some("\u{7f}".into())), "data.agent_id");
    refuses(&inference_with(|data| data.parents = Some(v1::Names { names: vec!["a".into(), String::new()] })), "data.parents[1]");
    let review = |verdict, score_millionths| {
        let data = v1::ContributionReviewed { contribution_id: "c".into(), validator: vec![1; 20], verdict, score_millionths };
        event(Data::ContributionReviewed(data))
    };
    refuses(&review(0, None), "data.verdict");
    refuses(&review(3, None), "data.verdict");
    refuses(&review(1, Some(1_000_001)), "data.score");
    let grant = |roles: Vec<i32>, types: Vec<String>| {
        event(Data::GrantSet(v1::GrantSet { producer: "p".into(), roles, types, revoked: None }))
    };
    refuses(&grant(vec![1, 0], vec![]), "data.roles[1]");
    refuses(&grant(vec![9], vec![]), "data.roles[0]");
    refuses(&grant(vec![], vec!["x".into()]), "data.types[0]");
    refuses(&grant(vec![1; 5], vec![]), "data.roles");
}

#[test]
fn fields_that_do_not_agree_are_named() {
    refuses(&event(attribution(vec![])), "data.entries");
    refuses(&event(attribution(vec![("c", 0)])), "data.entries[0].weight");
    refuses(&event(attribution(vec![("c", 1 << 31)])), "data.entries[0].weight");
    refuses(&event(attribution(vec![("c", 1), ("", 1)])), "data.entries[1].contribution_id");
    refuses(&event(attribution(vec![("c", 1), ("b", 1), ("c", 1)])), "data.entries[2].contribution_id");
    refuses(&event(policy([1, 2, 3, 4, 5], 0)), "data.split_bps");
    refuses(&event(policy([10_000, 0, 0, 0, 0], 10_001)), "data.upstream_bps");
    refuses(&event(policy([10_001, 0, 0, 0, 0], 0)), "data.split_bps.contributors");
    let model = |change: fn(&mut v1::ModelRegistered)| {
        let mut data = registration();
        change(&mut data);
        event(Data::ModelRegistered(data))
    };
    refuses(&model(|data| data.model_id = "global".into()), "data.model_id");
    refuses(&model(|data| data.kind = 0), "data.kind");
    refuses(&model(|data| data.parents = vec!["p".into()]), "data.parents");
    refuses(&model(|data| data.kind = v1::ModelKind::Adapter.into()), "data.parents");
    refuses(&model(|data| data.datanets = vec!["d".into(); 65]), "data.datanets");
}

#[test]
fn bytes_that_are_no_protobuf_are_refused() {
    for bytes in [&b"\xff"[..], b"\x0a\x05a", b"{\"id\":1}", &[0x0a, 0x01, 0xff]] {
        assert_eq!(decode(bytes).unwrap_err().field, "");
    }
    assert_eq!(decode(b"").unwrap_err().field, "data");
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    let mut bytes = event(attribution(vec![("c", 1)])).encode_to_vec();
    let before = decode(&bytes).unwrap();
    // Field 500, a text.
    bytes.extend_from_slice(&[0xa2, 0x1f, 0x03, b'n', b'e', b'w']);
    assert_eq!(decode(&bytes), Ok(before));
    // A payload of a type that this version does not know is no payload.
    let unknown = v1::Event { data: None, ..event(attribution(vec![])) };
    let mut bytes = unknown.encode_to_vec();
    bytes.extend_from_slice(&[0xfa, 0x01, 0x00]);
    assert_eq!(decode(&bytes).unwrap_err().field, "data");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_or_cut_event_is_another_valid_one_or_none(
        event in samples::event(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = encode(&event).to_vec();
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] = byte;
        }
        if let Ok(event) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&event)), Ok(event));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}
