//! Any event survives its bytes, and the bytes are those that prost would write.

use proptest::prelude::*;
use prost::Message;

use super::super::{decode, encode, file_descriptor_set, v1};
use crate::cloudevents::parse;
use crate::event::{Draft, Event, EventType};
use crate::identity::{ContentDigest, Identity};
use crate::ids::Timestamp;
use crate::limits::{EVENT_JSON_MAX, EVENT_PROTOBUF_MAX};
use crate::samples;
use crate::units::Name;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_event_is_read_back_from_its_bytes(event in samples::event()) {
        let bytes = encode(&event);
        prop_assert_eq!(decode(&bytes), Ok(event));
    }

    #[test]
    fn the_bytes_are_those_of_prost(event in samples::event()) {
        let bytes = encode(&event);
        let message = v1::Event::decode(bytes.clone()).unwrap();
        prop_assert_eq!(message.encode_to_vec(), bytes);
    }

    #[test]
    fn a_digest_tells_other_data_and_other_times_apart(one in samples::draft(), other in samples::draft()) {
        let mut later = one.clone();
        later.id = format!("{}x", &one.id[..one.id.len() - 1]);
        prop_assert_eq!(ContentDigest::of(&one), ContentDigest::of(&later));
        later.time = Timestamp::from_micros(one.time.micros() ^ 1).unwrap();
        prop_assert_ne!(ContentDigest::of(&one), ContentDigest::of(&later));
        prop_assert_eq!(one.data == other.data && one.time == other.time, ContentDigest::of(&one) == ContentDigest::of(&other));
        let parts = |draft: &Draft| (draft.source.clone(), draft.event_type(), draft.id.clone(), draft.key().to_owned());
        let same = parts(&one) == parts(&other);
        prop_assert_eq!(same, Identity::of(&one) == Identity::of(&other));
    }
}

/// The most bytes for the least JSON: single characters everywhere, the longest producer.
fn worst(json: &str) -> usize {
    let draft = parse(json.as_bytes()).unwrap();
    let event = Event {
        draft,
        producer: Name::parse(&"p".repeat(256)).unwrap(),
        accepted_at: Timestamp::from_micros(253_402_300_799_999_999).unwrap(),
    };
    let bytes = encode(&event);
    assert_eq!(decode(&bytes), Ok(event));
    bytes.len()
}

#[test]
fn an_event_of_256_kib_of_json_has_less_than_400_kib_of_protobuf() {
    let head = r#"{"specversion":"1.0","id":"i","source":"s","time":"9999-12-31T23:59:59.999999Z","#;
    let kind = r#""type":"tributary.attribution.traced.v1","#;
    // As many entries as fit, with ids that have no escapes, the longest that still leave room for all 4096.
    for width in [1_usize, 4, 20, 31, 256] {
        let mut text = format!(r#"{head}{kind}"data":{{"inference_id":"i","method":"m","entries":["#);
        for number in 0..4096_u32 {
            let id = char::from_u32(0x1_0000 + number).unwrap().to_string().repeat(width.div_ceil(4).min(64));
            let entry = format!(r#"{{"contribution_id":"{id}","weight":2147483647}},"#);
            if text.len() + entry.len() + 2 > EVENT_JSON_MAX {
                break;
            }
            text.push_str(&entry);
        }
        text.pop();
        text.push_str("]}}");
        let size = worst(&text);
        assert!(size < EVENT_PROTOBUF_MAX && size < text.len() + 512, "{size} of {}", text.len());
    }
    // Extensions at their limits, with characters of three bytes.
    let long = "\u{4e00}".repeat(2730);
    let kept = ["dataschema", "traceparent", "tracestate", "sig", "signer", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8"];
    let kept: String = kept.iter().map(|name| format!(r#""{name}":"{long}","#)).collect();
    let data = r#""type":"tributary.agent.acted.v1","data":{"agent_id":"a","action":"b","inferences":["c","d"]}"#;
    let text = format!("{head}{kept}{data}}}");
    let size = worst(&text);
    assert!(size < EVENT_PROTOBUF_MAX && size < text.len() + 512, "{size} of {}", text.len());
}

#[test]
fn the_schema_can_be_served() {
    let set = prost_types::FileDescriptorSet::decode(file_descriptor_set()).unwrap();
    let names: Vec<&str> = set.file[0].message_type.iter().map(prost_types::DescriptorProto::name).collect();
    assert_eq!((set.file[0].package(), names[0]), ("tributary.v1", "Event"));
    // Each type of event has its field, named as the schema says.
    let payloads = set.file[0].message_type[0].field.iter().filter(|field| field.number() >= 20);
    let types: Vec<String> = payloads.map(|field| format!("tributary.{}.v1", field.name().replacen('_', ".", 1))).collect();
    assert_eq!(types, EventType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
}
