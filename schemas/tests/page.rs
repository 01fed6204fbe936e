//! The page for producers says what is so: its examples are events, its table names every type, key and field.
#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::Value;
use tributary_schemas::cloudevents::{data_json, parse};
use tributary_schemas::event::EventType;
use tributary_schemas::refusal::Code;

const PAGE: &str = include_str!("../../docs/events.md");

/// The bodies that the examples of the page send, by content type.
fn bodies() -> Vec<(&'static str, &'static str)> {
    let example = |block: &'static str| {
        let kind = block.split("Content-Type: ").nth(1)?.split('\'').next()?;
        let body = match block.split_once("<<'END'\n") {
            Some((_, body)) => body.split("\nEND").next()?,
            None => block.split_once("-d '")?.1.rsplit_once('\'')?.0,
        };
        Some((kind, body))
    };
    PAGE.split("```sh\n").skip(1).filter_map(|block| example(block.split("```").next()?)).collect()
}

#[test]
fn every_example_is_taken() {
    let mut kinds = Vec::new();
    for (kind, body) in bodies() {
        let events: Vec<String> = match kind {
            "application/cloudevents+json" => vec![body.to_owned()],
            "application/cloudevents-batch+json" => {
                serde_json::from_str::<Vec<Value>>(body).unwrap().iter().map(Value::to_string).collect()
            }
            "application/x-ndjson" => body.lines().map(str::to_owned).collect(),
            other => panic!("{other}"),
        };
        for event in events {
            parse(event.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}: {event}"));
        }
        kinds.push(kind);
    }
    assert_eq!(kinds, ["application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"]);
}

#[test]
fn the_table_names_every_type_and_its_key() {
    for kind in EventType::ALL {
        assert!(PAGE.contains(&format!("\n| `{}` | `{}` | ", kind.as_str(), kind.key_field())), "{}", kind.as_str());
    }
}

/// The fields that the parser knows in this type, as its refusal of an unknown one lists them: `license?` may be left out.
fn known_fields(kind: EventType) -> Vec<String> {
    let head = r#""specversion":"1.0","id":"e","source":"s","time":"2026-10-01T00:00:00Z""#;
    let event = format!(r#"{{{head},"type":"{}","data":{{"no such field":1}}}}"#, kind.as_str());
    let refusal = parse(event.as_bytes()).unwrap_err();
    assert_eq!(refusal.code, Code::FieldUnknown);
    refusal.message.split("it has: ").nth(1).unwrap().split(' ').map(str::to_owned).collect()
}

#[test]
fn the_table_has_the_fields_of_the_parser_and_no_others() {
    // What the rows also write as code: values, and the fields of nested objects.
    let others =
        "accepted rejected global base fine_tune adapter contributors model node validators protocol contribution_id weight";
    for kind in EventType::ALL.iter().filter(|kind| **kind != EventType::GrantSet) {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{}` |", kind.as_str()))).unwrap();
        let row = row.split(" | ").nth(2).unwrap();
        let known = known_fields(*kind);
        for field in &known {
            let written = field.strip_suffix('?').map_or(format!("`{field}` "), |name| format!("`{name}`? "));
            assert!(row.contains(&written), "{written} of {}", kind.as_str());
        }
        for word in row.split('`').skip(1).step_by(2) {
            let field = known.iter().any(|field| field.trim_end_matches('?') == word);
            assert!(field || others.split(' ').any(|other| other == word), "{word} of {}", kind.as_str());
        }
    }
}

#[test]
fn the_first_example_is_kept_as_it_was_sent() {
    let (_, body) = bodies()[0];
    let sent: Value = serde_json::from_str(body).unwrap();
    let draft = parse(body.as_bytes()).unwrap();
    let data: Value = serde_json::from_str(&data_json(&draft.data)).unwrap();
    assert_eq!(data["name"], sent["data"]["name"]);
    assert_eq!(draft.key(), "birds");
}
