//! The attributes around `data`.

use serde_json::json;

use super::*;
use crate::cloudevents::check_window;
use crate::event::EventType;
use crate::ids::Timestamp;

#[test]
fn an_event_without_any_optional_attribute_is_taken() {
    for (kind, data, _) in payloads() {
        takes(&event(kind, data));
    }
}

#[test]
fn a_missing_attribute_is_named() {
    for attribute in ["specversion", "id", "source", "type", "time", "data"] {
        let mut event = event("policy.set", policy());
        event.as_object_mut().unwrap().remove(attribute);
        refuses(&event, Code::FieldMissing, attribute);
    }
    refuses_text("{}", Code::FieldMissing, "specversion");
}

#[test]
fn a_null_or_an_object_is_no_attribute() {
    let attributes = [
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "datacontenttype",
        "dataschema",
        "traceparent",
        "tracestate",
        "sig",
        "signer",
        "myextension",
    ];
    for attribute in attributes {
        refuses(&with(attribute, Value::Null), Code::FieldNull, attribute);
        refuses(&with(attribute, json!({})), Code::FieldType, attribute);
        refuses(&with(attribute, json!(["x"])), Code::FieldType, attribute);
        if attribute != "myextension" {
            refuses(&with(attribute, 1), Code::FieldType, attribute);
            refuses(&with(attribute, true), Code::FieldType, attribute);
        }
    }
}

#[test]
fn an_attribute_given_twice_is_named() {
    for (attribute, value) in with("myext", "x").as_object().unwrap() {
        let text = with("myext", "x").to_string();
        let twice = format!("{},\"{attribute}\":{value}}}", text.strip_suffix('}').unwrap());
        refuses_text(&twice, Code::FieldDuplicate, attribute);
        let escaped = format!("\\u{:04x}{}", attribute.as_bytes()[0], &attribute[1..]);
        let hidden = format!("{},\"{escaped}\":{value}}}", text.strip_suffix('}').unwrap());
        refuses_text(&hidden, Code::FieldDuplicate, attribute);
    }
}

#[test]
fn specversion_is_exactly_1_0() {
    for version in ["1", "1.0.2", "0.3", "1.0 ", ""] {
        refuses(&with("specversion", version), Code::SpecversionUnsupported, "specversion");
    }
}

#[test]
fn an_id_has_1_to_128_visible_ascii_characters() {
    for id in ["!", "~", "a/b?c", &"x".repeat(128)] {
        takes(&with("id", id));
    }
    for id in ["", " ", "a b", "a\n", "é", "\u{7f}", &"x".repeat(129)] {
        refuses(&with("id", id), Code::ValueInvalid, "id");
    }
}

#[test]
fn a_source_is_a_uri_reference_of_1_to_256_characters() {
    for source in ["/", "urn:a", "https://example.org/a?b#c", "%20", &"x".repeat(256)] {
        takes(&with("source", source));
    }
    for source in ["", "a b", "é", "%2", "http://[x]", &"x".repeat(257)] {
        refuses(&with("source", source), Code::ValueInvalid, "source");
    }
}

#[test]
fn a_type_is_one_of_the_known_ones_and_no_grant() {
    for kind in EventType::ALL {
        assert_eq!(EventType::parse(kind.as_str()), Some(*kind));
    }
    for kind in
        ["", "policy.set", "tributary.policy.set.v2", "tributary.policy.set", "Tributary.policy.set.v1", &"x".repeat(1000)]
    {
        refuses(&with("type", kind), Code::TypeUnknown, "type");
    }
    let data = json!({"producer": "p", "roles": ["tracer"], "types": []});
    refuses(&event("grant.set", data), Code::TypeReserved, "type");
}

#[test]
fn a_time_is_rfc_3339_with_at_most_six_decimals() {
    for time in ["2026-10-01T00:00:00Z", "2026-10-01t02:00:00.123456+02:00", "1970-01-01T00:00:00z"] {
        takes(&with("time", time));
    }
    for time in ["", "now", "2026-10-01", "2026-10-01T00:00:00", "2026-10-01T00:00:00.1234567Z", "2026-12-31T23:59:60Z"] {
        refuses(&with("time", time), Code::TimeInvalid, "time");
    }
}

#[test]
fn a_live_event_lies_between_7_days_ago_and_5_minutes_ahead() {
    let draft = parse(with("time", "2026-10-08T00:00:00Z").to_string().as_bytes()).unwrap();
    for (now, code) in [
        ("2026-10-15T00:00:00Z", None),
        ("2026-10-15T00:00:00.000001Z", Some(Code::TimeOutOfWindow)),
        ("2026-10-07T23:55:00Z", None),
        ("2026-10-07T23:54:59.999999Z", Some(Code::TimeOutOfWindow)),
    ] {
        let outcome = check_window(&draft, Timestamp::parse_rfc3339(now).unwrap());
        assert_eq!(outcome.as_ref().err().map(|refusal| refusal.code), code, "{now}");
        assert!(outcome.is_ok_and(|()| true) || code.is_some());
    }
    let refusal = check_window(&draft, Timestamp::parse_rfc3339("2030-01-01T00:00:00Z").unwrap()).unwrap_err();
    assert_eq!(refusal.field, "time");
}

#[test]
fn a_subject_equals_the_key() {
    for (kind, data, _) in payloads() {
        let event_type = EventType::parse(&format!("tributary.{kind}.v1")).unwrap();
        let mut event = event(kind, data);
        let key = event["data"][event_type.key_field()].clone();
        event["subject"] = key;
        takes(&event);
        event["subject"] = "other".into();
        refuses(&event, Code::SubjectMismatch, "subject");
        event["subject"] = "".into();
        refuses(&event, Code::SubjectMismatch, "subject");
    }
}

#[test]
fn the_payload_is_json_and_never_base64() {
    takes(&with("datacontenttype", "application/json"));
    for other in ["", "text/plain", "application/json; charset=utf-8", "application/cloudevents+json"] {
        refuses(&with("datacontenttype", other), Code::DataContentTypeUnsupported, "datacontenttype");
    }
    refuses(&with("data_base64", "e30="), Code::DataBase64Unsupported, "data_base64");
}

#[test]
fn named_attributes_are_kept_as_they_came() {
    let mut sent = with("dataschema", "https://example.org/s");
    sent["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
    sent["tracestate"] = "a=1,b=2".into();
    sent["sig"] = "".into();
    sent["signer"] = "Zoë \u{1f600}".into();
    let draft = parse(sent.to_string().as_bytes()).unwrap();
    let kept = [&draft.dataschema, &draft.traceparent, &draft.tracestate, &draft.sig, &draft.signer];
    for (name, value) in ["dataschema", "traceparent", "tracestate", "sig", "signer"].into_iter().zip(kept) {
        assert_eq!(value.as_deref(), sent[name].as_str(), "{name}");
        takes(&with(name, "x".repeat(8192)));
        for bad in ["x".repeat(8193), "\u{1}".to_owned(), "\u{85}".to_owned(), "\u{fffe}".to_owned(), "\u{fdd0}".to_owned()] {
            refuses(&with(name, bad), Code::ValueInvalid, name);
        }
    }
}

#[test]
fn extensions_are_kept_in_their_string_form() {
    for (sent, kept) in [
        (json!("text é"), "text é"),
        (json!(""), ""),
        (json!(true), "true"),
        (json!(false), "false"),
        (json!(0), "0"),
        (json!(-2_147_483_648_i64), "-2147483648"),
        (json!(2_147_483_647), "2147483647"),
    ] {
        let draft = parse(with("myext1", sent).to_string().as_bytes()).unwrap();
        assert_eq!(draft.extensions["myext1"], kept);
    }
    for bad in [json!(2_147_483_648_i64), json!(-2_147_483_649_i64), json!(1.5), json!(1.0), json!(1e3)] {
        refuses(&with("myext1", bad), Code::ValueInvalid, "myext1");
    }
    refuses(&with("myext1", "x".repeat(8193)), Code::ValueInvalid, "myext1");
    refuses(&with("myext1", "a\u{7f}"), Code::ValueInvalid, "myext1");
}

#[test]
fn an_extension_is_named_by_lower_case_letters_and_digits() {
    for name in ["a", "0", "a1b2", "averylongextensionname21", &"x".repeat(64)] {
        takes(&with(name, "v"));
    }
    for name in ["", "A", "myExt", "my_ext", "my-ext", "é", "a b", "dataContentType"] {
        refuses(&with(name, "v"), Code::ExtensionNameInvalid, name);
    }
    refuses(&with(&"x".repeat(65), "v"), Code::ExtensionNameInvalid, &format!("{}…", "x".repeat(64)));
}

#[test]
fn eight_extensions_are_kept_besides_the_named_ones() {
    let mut event = with("traceparent", "t");
    for number in 1..=8 {
        event[format!("ext{number}")] = "v".into();
    }
    takes(&event);
    event["ext9"] = "v".into();
    refuses(&event, Code::ExtensionsTooMany, "");
}
