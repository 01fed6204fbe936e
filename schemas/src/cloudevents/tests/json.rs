//! The text itself: what is JSON, what is not, how large it may be.

use super::*;
use crate::cloudevents::id_of;
use crate::limits::EVENT_JSON_MAX;

fn valid() -> String {
    event("policy.set", policy()).to_string()
}

#[test]
fn blanks_may_surround_an_event_and_nothing_else_may() {
    parse(format!(" \t\r\n{} \r\n", valid()).as_bytes()).unwrap();
    for text in [format!("{}x", valid()), format!("{0}{0}", valid()), format!("{},", valid()), format!("\u{feff}{}", valid())] {
        refuses_text(&text, Code::JsonInvalid, "");
    }
}

#[test]
fn text_that_is_no_object_is_refused() {
    for text in
        ["", " ", "null", "1", "\"x\"", "true", "[]", &format!("[{}]", valid()), "{", "}", "{\"id\"}", "{id:1}", "{'id':1}"]
    {
        refuses_text(text, Code::JsonInvalid, "");
    }
}

#[test]
fn every_cut_of_an_event_is_refused_as_json() {
    for (kind, data, _) in payloads() {
        let text = event(kind, data).to_string();
        for end in 0..text.len() {
            let refusal = parse(&text.as_bytes()[..end]).unwrap_err();
            assert_eq!(refusal.code, Code::JsonInvalid, "{}", &text[..end]);
        }
    }
}

#[test]
fn broken_json_wins_over_a_mistake_before_it() {
    refuses_text(r#"{"specversion":"0.3","id":tru"#, Code::JsonInvalid, "");
    refuses_text(r#"{"id":5} x"#, Code::JsonInvalid, "");
    refuses_text(r#"{"id":5,}"#, Code::JsonInvalid, "");
    refuses_text(r#"{"id":5}"#, Code::FieldType, "id");
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_wherever_they_stand() {
    let text = valid();
    for place in [1, 20, text.len() / 2, text.len()] {
        let mut bytes = text.clone().into_bytes();
        bytes.insert(place, 0xff);
        assert_eq!(parse(&bytes).unwrap_err().code, Code::JsonInvalid);
    }
    assert_eq!(parse(b"\xed\xa0\x80").unwrap_err().code, Code::JsonInvalid);
}

#[test]
fn lone_surrogates_and_raw_control_characters_are_refused() {
    for bad in [r"\ud800", r"\udc00", r"\ud800\u0041", r"\ud800x", r"\uZZZZ", r"\x41", "\n", "\u{0}"] {
        let text = changed("policy.set", "/scope", "SCOPE").to_string().replace("SCOPE", bad);
        refuses_text(&text, Code::JsonInvalid, "");
        // Also where the payload waits for the type.
        let late = format!(r#"{{"data":{{"scope":"{bad}"}},"type":"tributary.policy.set.v1"}}"#);
        refuses_text(&late, Code::JsonInvalid, "");
    }
    let pair = changed("policy.set", "/scope", "SCOPE").to_string().replace("SCOPE", r"\ud83d\ude00");
    assert_eq!(parse(pair.as_bytes()).unwrap().key(), "\u{1f600}");
}

#[test]
fn the_order_of_attributes_does_not_matter() {
    for (kind, data, _) in payloads() {
        let event = event(kind, data);
        let mut parts: Vec<String> = event.as_object().unwrap().iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let draft = parse(event.to_string().as_bytes()).unwrap();
        for _ in 0..parts.len() {
            parts.rotate_left(1);
            assert_eq!(parse(format!("{{{}}}", parts.join(",")).as_bytes()).as_ref(), Ok(&draft));
        }
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for depth in [201, 1000, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        refuses_text(&valid().replace("3000", &deep), Code::JsonInvalid, "");
        refuses_text(&format!("{{\"data\":{deep}}}"), Code::JsonInvalid, "");
        refuses_text(&deep, Code::JsonInvalid, "");
    }
    refuses_text(&valid().replace("3000", "[[[[]]]]"), Code::FieldType, "data.upstream_bps");
}

#[test]
fn an_event_has_at_most_256_kib_of_json() {
    let text = valid();
    let padded = |size: usize| format!("{}{text}", " ".repeat(size - text.len()));
    parse(padded(EVENT_JSON_MAX).as_bytes()).unwrap();
    refuses_text(&padded(EVENT_JSON_MAX + 1), Code::TooLarge, "");
}

#[test]
fn a_refusal_never_repeats_more_than_64_characters_of_what_was_sent() {
    let long = "é".repeat(50_000);
    for event in [
        with("specversion", long.as_str()),
        with("id", long.as_str()),
        with("source", long.as_str()),
        with("type", long.as_str()),
        with("time", long.as_str()),
        with("subject", long.as_str()),
        with(&long, "x"),
        changed("policy.set", "/scope", long.as_str()),
        changed("model.registered", "/kind", long.as_str()),
        event("policy.set", serde_json::json!({ long.as_str(): 1 })),
    ] {
        let refusal = outcome(&event).unwrap_err();
        assert!(refusal.message.chars().filter(|c| *c == 'é').count() <= 2 * 64, "{}", refusal.message.len());
        assert!(refusal.field.chars().count() <= 80, "{}", refusal.field.len());
    }
}

#[test]
fn the_id_is_found_in_an_event_that_is_refused() {
    assert_eq!(id_of(br#"{"type":null,"data":{"id":"inner"},"id":"e-1","#).as_deref(), Some("e-1"));
    assert_eq!(id_of(format!(r#"{{"id":"{}"}}"#, "x".repeat(500)).as_bytes()), Some("x".repeat(128)));
    for none in ["", "[]", "{}", r#"{"id":1}"#, r#"{"id":null}"#, "{"] {
        assert_eq!(id_of(none.as_bytes()), None, "{none}");
    }
    assert_eq!(id_of(b"\xff"), None);
}
