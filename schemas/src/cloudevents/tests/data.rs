//! The payloads: their fields, their units, their limits.

use serde_json::json;

use super::*;

const ADDRESSES: &[(&str, &str)] = &[
    ("datanet.registered", "owner"),
    ("contribution.submitted", "contributor"),
    ("contribution.reviewed", "validator"),
    ("model.registered", "owner"),
    ("inference.completed", "node"),
    ("inference.completed", "requester"),
    ("feedback.recorded", "actor"),
    ("agent.acted", "counterparty"),
];

const HASHES: &[(&str, &str)] = &[
    ("contribution.submitted", "content_hash"),
    ("model.registered", "weights_hash"),
    ("model.updated", "weights_hash"),
    ("inference.completed", "input_hash"),
    ("inference.completed", "output_hash"),
    ("agent.acted", "tx_hash"),
];

const COUNTS: &[(&str, &str)] = &[
    ("contribution.submitted", "bytes"),
    ("contribution.submitted", "tokens"),
    ("model.updated", "steps"),
    ("inference.completed", "input_tokens"),
    ("inference.completed", "output_tokens"),
    ("inference.completed", "latency_us"),
    ("agent.acted", "chain_id"),
];

const NAMES: &[(&str, &str)] = &[
    ("datanet.registered", "/datanet_id"),
    ("datanet.registered", "/name"),
    ("datanet.registered", "/license"),
    ("contribution.submitted", "/contribution_id"),
    ("contribution.submitted", "/datanet_id"),
    ("contribution.reviewed", "/contribution_id"),
    ("model.registered", "/model_id"),
    ("model.registered", "/parents/0"),
    ("model.registered", "/datanets/0"),
    ("model.updated", "/model_id"),
    ("model.updated", "/version"),
    ("model.updated", "/method"),
    ("model.updated", "/datanets/0"),
    ("model.updated", "/previous_version"),
    ("policy.set", "/scope"),
    ("inference.completed", "/inference_id"),
    ("inference.completed", "/model_id"),
    ("inference.completed", "/agent_id"),
    ("inference.completed", "/parents/0"),
    ("attribution.traced", "/inference_id"),
    ("attribution.traced", "/method"),
    ("attribution.traced", "/entries/0/contribution_id"),
    ("feedback.recorded", "/inference_id"),
    ("feedback.recorded", "/label"),
    ("agent.acted", "/agent_id"),
    ("agent.acted", "/action"),
    ("agent.acted", "/inferences/0"),
];

/// `/entries/0/weight` as a refusal writes it: `data.entries[0].weight`.
fn path(pointer: &str) -> String {
    let segment = |part: &str| if part.parse::<u32>().is_ok() { format!("[{part}]") } else { format!(".{part}") };
    format!("data{}", pointer[1..].split('/').map(segment).collect::<String>())
}

/// A payload with a literal that serde_json would not write.
fn literal(kind: &str, field: &str, literal: &str) -> String {
    changed(kind, &format!("/{field}"), "LITERAL").to_string().replace("\"LITERAL\"", literal)
}

#[test]
fn a_missing_field_is_named_unless_it_may_be_missing() {
    for (kind, data, optional) in payloads() {
        for field in data.as_object().unwrap().keys() {
            let mut less = data.clone();
            less.as_object_mut().unwrap().remove(field);
            if optional.contains(&field.as_str()) {
                takes(&event(kind, less));
            } else {
                refuses(&event(kind, less), Code::FieldMissing, &format!("data.{field}"));
            }
        }
        refuses(&event(kind, json!({"x": 1})), Code::FieldUnknown, "data.x");
    }
    let mut split = policy();
    split["split_bps"].as_object_mut().unwrap().remove("node");
    refuses(&event("policy.set", split), Code::FieldMissing, "data.split_bps.node");
    refuses(
        &changed("attribution.traced", "/entries/0", json!({"weight": 1})),
        Code::FieldMissing,
        "data.entries[0].contribution_id",
    );
}

#[test]
fn a_null_a_wrong_type_and_a_second_key_are_named() {
    for (kind, data, _) in payloads() {
        for (field, value) in data.as_object().unwrap() {
            let at = format!("data.{field}");
            refuses(&changed(kind, &format!("/{field}"), Value::Null), Code::FieldNull, &at);
            refuses(&changed(kind, &format!("/{field}"), true), Code::FieldType, &at);
            let twice = data.to_string().replacen('{', &format!("{{\"{field}\":{value},"), 1);
            refuses_text(&event(kind, json!("DATA")).to_string().replace("\"DATA\"", &twice), Code::FieldDuplicate, &at);
        }
        let mut more = data.clone();
        more["Extra"] = json!(1);
        refuses(&event(kind, more), Code::FieldUnknown, "data.Extra");
        for other in [json!([]), json!("x"), json!(1)] {
            refuses(&event(kind, other), Code::FieldType, "data");
        }
        refuses(&event(kind, Value::Null), Code::FieldNull, "data");
    }
}

#[test]
fn a_mistake_deep_inside_is_named_with_its_path() {
    for (kind, pointer) in [
        ("policy.set", "/split_bps/validators"),
        ("attribution.traced", "/entries/0"),
        ("attribution.traced", "/entries/0/weight"),
        ("model.registered", "/parents/0"),
        ("agent.acted", "/inferences/0"),
    ] {
        refuses(&changed(kind, pointer, Value::Null), Code::FieldNull, &path(pointer));
        refuses(&changed(kind, pointer, json!([])), Code::FieldType, &path(pointer));
    }
    let entry = json!({"contribution_id": "c", "weight": 1, "share": 1});
    refuses(&changed("attribution.traced", "/entries/0", entry), Code::FieldUnknown, "data.entries[0].share");
    let twice = literal("attribution.traced", "entries", r#"[{"weight":1,"contribution_id":"c","weight":1}]"#);
    refuses_text(&twice, Code::FieldDuplicate, "data.entries[0].weight");
}

#[test]
fn every_address_keeps_the_rule_of_addresses() {
    let lower = ADDRESS.to_lowercase();
    for (kind, field) in ADDRESSES {
        let (pointer, at) = (format!("/{field}"), format!("data.{field}"));
        takes(&changed(kind, &pointer, lower.as_str()));
        takes(&changed(kind, &pointer, format!("0x{}", lower[2..].to_uppercase())));
        refuses(&changed(kind, &pointer, ADDRESS.replace("aA", "aa")), Code::ChecksumInvalid, &at);
        for bad in [
            "",
            "0x",
            &lower[2..],
            &lower[..41],
            &format!("{lower}0"),
            &lower.replace("5a", "5g"),
            "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        ] {
            refuses(&changed(kind, &pointer, bad), Code::ValueInvalid, &at);
        }
        refuses(&changed(kind, &pointer, format!("0x{}", "0".repeat(40))), Code::ValueInvalid, &at);
    }
}

#[test]
fn every_hash_keeps_the_rule_of_hashes() {
    for (kind, field) in HASHES {
        let (pointer, at) = (format!("/{field}"), format!("data.{field}"));
        takes(&changed(kind, &pointer, format!("0x{}", "0".repeat(64))));
        takes(&changed(kind, &pointer, format!("0x{}", "aB".repeat(32))));
        for bad in ["", "0x", &HASH[2..], &HASH[..65], &format!("{HASH}0"), &HASH.replace("4e", "4z")] {
            refuses(&changed(kind, &pointer, bad), Code::ValueInvalid, &at);
        }
    }
}

#[test]
fn every_count_is_an_exact_integer_from_0_to_2_pow_53_less_1() {
    for (kind, field) in COUNTS {
        let at = format!("data.{field}");
        for good in ["0", "1", "9007199254740991"] {
            takes(&serde_json::from_str(&literal(kind, field, good)).unwrap());
        }
        for bad in ["9007199254740992", "18446744073709551616", "-1", "-0", "1.0", "1e3", "0.5", &"9".repeat(4000)] {
            refuses_text(&literal(kind, field, bad), Code::ValueInvalid, &at);
        }
        refuses_text(&literal(kind, field, "\"1\""), Code::FieldType, &at);
        // A number that no parser should walk is refused where it is met: in a payload before the type, that is `data`.
        let endless = literal(kind, field, &"9".repeat(5000));
        refuses_text(&endless, Code::ValueInvalid, "data");
        refuses_text(&data_last(&endless), Code::ValueInvalid, &at);
    }
}

#[test]
fn every_amount_is_a_decimal_string_below_2_pow_96() {
    for (kind, field) in [("inference.completed", "fee"), ("agent.acted", "value")] {
        let (pointer, at) = (format!("/{field}"), format!("data.{field}"));
        takes(&changed(kind, &pointer, "0"));
        takes(&changed(kind, &pointer, "79228162514264337593543950335"));
        for bad in ["", "00", "01", "-1", "+1", "1.0", "1e3", "79228162514264337593543950336", "٣"] {
            refuses(&changed(kind, &pointer, bad), Code::ValueInvalid, &at);
        }
        refuses(&changed(kind, &pointer, 1), Code::FieldType, &at);
    }
}

#[test]
fn every_score_is_exact_to_six_decimals() {
    for (kind, field) in [("contribution.reviewed", "score"), ("feedback.recorded", "score")] {
        let at = format!("data.{field}");
        for good in ["0", "-0", "1", "-1", "0.123456", "-0.999999", "1e-6", "0.5000000000000000000000", "5E-1", "100e-2"] {
            takes_text(&literal(kind, field, good));
        }
        for bad in ["1.000001", "-2", "0.1234567", "1e-7", "1e400", "0.12345600000000000001"] {
            refuses_text(&literal(kind, field, bad), Code::ValueInvalid, &at);
        }
        refuses_text(&literal(kind, field, "\"0.5\""), Code::FieldType, &at);
        for broken in ["1.", ".5", "+1", "01", "NaN", "Infinity", "-", "1e"] {
            refuses_text(&literal(kind, field, broken), Code::JsonInvalid, "");
        }
    }
}

#[track_caller]
fn takes_text(event: &str) {
    if let Err(refusal) = parse(event.as_bytes()) {
        panic!("{refusal} in {event}");
    }
}

#[test]
fn every_name_has_1_to_256_bytes_without_control_characters() {
    for (kind, pointer) in NAMES {
        for good in ["x".repeat(256), "é".repeat(128), " ".to_owned(), "\"\\/\u{ad}\u{2028}\u{1f600}".to_owned()] {
            takes(&changed(kind, pointer, good));
        }
        for bad in [
            String::new(),
            "x".repeat(257),
            "é".repeat(129),
            "a\0".to_owned(),
            "\n".to_owned(),
            "\u{7f}".to_owned(),
            "\u{9f}".to_owned(),
        ] {
            refuses(&changed(kind, pointer, bad), Code::ValueInvalid, &path(pointer));
        }
    }
}

#[test]
fn verdicts_and_kinds_are_those_of_the_specification() {
    for verdict in ["accepted", "rejected"] {
        takes(&changed("contribution.reviewed", "/verdict", verdict));
    }
    for bad in ["", "Accepted", "pending"] {
        refuses(&changed("contribution.reviewed", "/verdict", bad), Code::ValueInvalid, "data.verdict");
        refuses(&changed("model.registered", "/kind", bad), Code::ValueInvalid, "data.kind");
    }
    takes(&changed("model.registered", "/kind", "fine_tune"));
}

#[test]
fn a_base_model_has_no_parents_and_every_other_has_some() {
    let mut base = payload("model.registered");
    base["kind"] = "base".into();
    refuses(&event("model.registered", base.clone()), Code::ParentsMismatch, "data.parents");
    base["parents"] = json!([]);
    takes(&event("model.registered", base.clone()));
    for kind in ["fine_tune", "adapter"] {
        base["kind"] = kind.into();
        refuses(&event("model.registered", base.clone()), Code::ParentsMismatch, "data.parents");
    }
}

#[test]
fn a_model_is_not_called_global() {
    refuses(&changed("model.registered", "/model_id", "global"), Code::NameReserved, "data.model_id");
    takes(&changed("model.registered", "/model_id", "Global"));
    takes(&changed("inference.completed", "/model_id", "global"));
    takes(&changed("policy.set", "/scope", "some-model"));
}

#[test]
fn lists_end_at_their_limits() {
    let names = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<String>>();
    for (kind, field, limit) in [
        ("model.registered", "parents", 8),
        ("model.registered", "datanets", 64),
        ("model.updated", "datanets", 64),
        ("inference.completed", "parents", 16),
        ("agent.acted", "inferences", 64),
    ] {
        let (pointer, at) = (format!("/{field}"), format!("data.{field}"));
        takes(&changed(kind, &pointer, names(limit)));
        refuses(&changed(kind, &pointer, names(limit + 1)), Code::ListLength, &at);
        refuses(&changed(kind, &pointer, names(5000)), Code::ListLength, &at);
        if field != "parents" || kind != "model.registered" {
            takes(&changed(kind, &pointer, json!([])));
        }
    }
}

#[test]
fn an_attribution_has_1_to_4096_entries_of_different_contributions() {
    let entries =
        |count: usize| (0..count).map(|number| json!({"contribution_id": number.to_string(), "weight": 1})).collect::<Vec<_>>();
    let with_entries = |entries: Vec<Value>| changed("attribution.traced", "/entries", entries);
    takes(&with_entries(entries(1)));
    takes(&with_entries(entries(4096)));
    refuses(&with_entries(entries(0)), Code::ListLength, "data.entries");
    refuses(&with_entries(entries(4097)), Code::ListLength, "data.entries");
    for (place, copied) in [(1, 0), (9, 3), (4095, 0), (4095, 4094)] {
        let mut twice = entries(4096.min(place + 1).max(10));
        twice[place] = twice[copied].clone();
        let at = format!("data.entries[{place}].contribution_id");
        refuses(&with_entries(twice), Code::ItemDuplicate, &at);
    }
}

#[test]
fn a_weight_is_an_integer_from_1_to_2_pow_31_less_1() {
    let weight =
        |text: &str| literal("attribution.traced", "entries", &format!(r#"[{{"contribution_id":"c","weight":{text}}}]"#));
    takes_text(&weight("1"));
    takes_text(&weight("2147483647"));
    for bad in ["0", "-1", "2147483648", "1.0", "1e2", "99999999999999999999"] {
        refuses_text(&weight(bad), Code::ValueInvalid, "data.entries[0].weight");
    }
    refuses_text(&weight("\"1\""), Code::FieldType, "data.entries[0].weight");
}

#[test]
fn the_shares_of_a_policy_are_integers_that_add_up_to_10000() {
    let shares = |shares: [u32; 5]| {
        let names = ["contributors", "model", "node", "validators", "protocol"];
        let split: serde_json::Map<String, Value> = names.into_iter().map(str::to_owned).zip(shares.map(Value::from)).collect();
        changed("policy.set", "/split_bps", split)
    };
    takes(&shares([10_000, 0, 0, 0, 0]));
    takes(&shares([1, 1, 1, 1, 9996]));
    refuses(&shares([1, 1, 1, 1, 9997]), Code::SplitSum, "data.split_bps");
    refuses(&shares([0, 0, 0, 0, 0]), Code::SplitSum, "data.split_bps");
    refuses(&shares([10_001, 0, 0, 0, 0]), Code::ValueInvalid, "data.split_bps.contributors");
    for pointer in ["/upstream_bps", "/split_bps/contributors", "/split_bps/protocol"] {
        for bad in [json!(-1), json!(10_001), json!(0.5), json!(1e3)] {
            refuses(&changed("policy.set", pointer, bad), Code::ValueInvalid, &path(pointer));
        }
        refuses(&changed("policy.set", pointer, "1"), Code::FieldType, &path(pointer));
    }
    takes(&changed("policy.set", "/upstream_bps", 0));
    takes(&changed("policy.set", "/upstream_bps", 10_000));
}
