//! Any event survives its own text, and no text breaks the parser.

use proptest::prelude::*;
use serde_json::Value;

use super::super::{data_json, parse, to_json};
use crate::event::{EventData, EventType, GrantRole, GrantSet};
use crate::samples;
use crate::units::Name;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_draft_is_read_back_from_its_json(draft in samples::draft()) {
        let json = to_json(&draft);
        let parsed = parse(json.as_bytes());
        prop_assert_eq!(parsed.as_ref(), Ok(&draft), "{}", json);
        let value: Value = serde_json::from_str(&json).unwrap();
        let data: Value = serde_json::from_str(&data_json(&draft.data)).unwrap();
        prop_assert_eq!(&value["data"], &data);
    }

    #[test]
    fn what_is_taken_is_json_for_others_too(draft in samples::draft(), changes in mutations()) {
        let mut bytes = to_json(&draft).into_bytes();
        mutate(&mut bytes, &changes);
        match (parse(&bytes), serde_json::from_slice::<Value>(&bytes)) {
            (Ok(draft), Ok(value)) => {
                prop_assert_eq!(parse(to_json(&draft).as_bytes()), Ok(draft));
                prop_assert!(value.is_object());
            }
            (Ok(_), Err(error)) => prop_assert!(false, "taken, but {}: {}", error, String::from_utf8_lossy(&bytes)),
            (Err(refusal), _) => prop_assert!(refusal.message.len() < 1000),
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}

/// What happens to a text: at a place, another byte, one byte less, or the rest cut off.
fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), 0..=4_u8, any::<u8>()), 1..4)
}

fn mutate(bytes: &mut Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) {
    const TELLING: &[u8] = b"{}[]\",:\\0-9eE.+ntu \x00\x80";
    for (place, kind, byte) in changes {
        if bytes.is_empty() {
            return;
        }
        let place = place.index(bytes.len());
        match kind {
            0 => bytes[place] = *byte,
            1 => bytes[place] = TELLING[usize::from(*byte) % TELLING.len()],
            2 => bytes.insert(place, TELLING[usize::from(*byte) % TELLING.len()]),
            3 => drop(bytes.remove(place)),
            _ => bytes.truncate(place.max(1)),
        }
    }
}

#[test]
fn the_json_of_each_payload_is_that_of_the_specification() {
    for (kind, data, _) in super::payloads() {
        let draft = parse(super::event(kind, data.clone()).to_string().as_bytes()).unwrap();
        let mut expected = data;
        // Addresses are written in lower case, as tables have them.
        let lower = super::ADDRESS.to_lowercase();
        for value in expected.as_object_mut().unwrap().values_mut() {
            if value == super::ADDRESS {
                *value = lower.as_str().into();
            }
        }
        assert_eq!(serde_json::from_str::<Value>(&data_json(&draft.data)).unwrap(), expected, "{kind}");
    }
}

#[test]
fn a_grant_is_written_though_no_door_takes_it() {
    let grant = GrantSet {
        producer: Name::parse("p").unwrap(),
        roles: vec![GrantRole::Tracer, GrantRole::Governor],
        types: vec![EventType::PolicySet],
        revoked: Some(false),
    };
    let expected = r#"{"producer":"p","roles":["tracer","governor"],"types":["tributary.policy.set.v1"],"revoked":false}"#;
    assert_eq!(data_json(&EventData::GrantSet(grant)), expected);
}
