//! Documents that ask for too much are refused before anything is read.

use serde_json::json;

use super::ask::{code, graphql, none};
use crate::fixture::World;

#[tokio::test]
async fn deep_wide_and_endless_documents_are_refused_with_their_code() {
    let world = World::new(1).await;
    let graphql = graphql(&world);
    let deep = format!("{{ epoch(number: 1) {{ {} number {} }} }}", "previous { ".repeat(40), "}".repeat(40));
    let brackets = format!("{{ {} {} }}", "a{".repeat(80), "}".repeat(80));
    let aliases = format!("{{ {} }}", (0..101).map(|n| format!("a{n}: meta {{ cut }}")).collect::<Vec<_>>().join(" "));
    let bomb = "query { ...a } fragment a on Query { ...b ...b ...b ...b ...b ...b ...b ...b }
        fragment b on Query { ...c ...c ...c ...c ...c ...c ...c ...c } fragment c on Query { ...d ...d ...d ...d ...d ...d ...d ...d }
        fragment d on Query { ...e ...e ...e ...e ...e ...e ...e ...e } fragment e on Query { meta { cut } }";
    for (document, expected) in [
        (deep.as_str(), "too_deep"),
        (brackets.as_str(), "document_too_large"),
        (&"# ".repeat(70_000), "document_too_large"),
        (&"a ".repeat(10_001), "document_too_large"),
        (&aliases, "too_many_aliases"),
        (bomb, "too_complex"),
        ("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", "bad_graphql"),
        ("{ models(first: 1000) { nodes { inferences(first: 1000) { nodes { fee } } } } }", "too_complex"),
        ("{ models { nodes { inferences { nodes { feedback { nodes { score label at } } } } } } }", "too_complex"),
        ("{ nothing }", "bad_graphql"),
        ("{ meta { cut }", "bad_graphql"),
        ("", "bad_graphql"),
        ("{ account(address: \"0x12\") { earned } }", "bad_input"),
        ("query a { meta { cut } } query b { meta { cut } }", "bad_graphql"),
        ("{ inferences(asOf: {epoch: 1, available: true}) { totalCount } }", "bad_graphql"),
        ("{ inferences(asOf: {epoch: 1}) { totalCount } }", "epoch_not_found"),
        ("{ inferences(asOf: {cut: \"0:5\"}) { totalCount } }", "cut_ahead"),
        ("{ inferences(asOf: {cut: \"x\"}) { totalCount } }", "bad_as_of"),
    ] {
        let shown: String = document.chars().take(80).collect();
        assert_eq!(code(&graphql, document, none()).await, expected, "{shown}");
    }
    let many: Vec<_> = (0..201).map(|n| json!({"fee": {"eq": n.to_string()}})).collect();
    let query = "query($w: InferenceWhere) { inferences(where: $w) { totalCount } }";
    assert_eq!(code(&graphql, query, json!({"w": {"or": many}})).await, "filter_too_large");
}

/// Ten thousand documents made of the schema's own words, most of them wrong: each gets data or a coded error, none a fault of ours.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_generated_documents_get_data_or_a_code() {
    let world = World::new(1).await;
    world.add((0..5).map(|n| crate::fixture::inference(&format!("i{n}"), "dev", "1"))).await;
    let graphql = graphql(&world);
    let sdl = tributary_graphql::sdl();
    let words: Vec<&str> = sdl.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut chance = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let plain = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "...",
        "$a",
        "\"x\"",
        "1",
        "null",
        "first: 2",
        "@skip(if: true)",
        "!",
        "query",
        "on",
        "#",
    ];
    let good = [
        "inferences(first: 2, where: {fee: {gt: \"0\"}}) { totalCount nodes { inferenceId fee finality attribution { method } } }",
        "meta { cut latestEpoch }",
        "search(text: \"i\") { __typename ... on Inference { fee } }",
        "events(last: 1) { nodes { type data } }",
        "model(modelId: \"m\") { stats { fees } }",
        "series(metric: FEES, interval: DAY, from: \"2026-10-01T00:00:00Z\", to: \"2026-10-02T00:00:00Z\") { value }",
    ];
    let mut answered = 0;
    for n in 0..10_000 {
        let mut document = String::from("{ ");
        for _ in 0..1 + chance(4) {
            document += good[chance(good.len())];
            document.push(' ');
        }
        document += "}";
        for _ in 0..if n % 10 == 0 { 0 } else { 1 + chance(6) } {
            let at = chance(document.len() + 1);
            let word = if chance(2) == 0 { words[chance(words.len())] } else { plain[chance(plain.len())] };
            match chance(3) {
                0 => document.insert_str(at, word),
                1 => document.insert_str(at, &format!(" {word} ")),
                _ => document.replace_range(at..(at + chance(9)).min(document.len()), ""),
            }
        }
        let answer = super::ask::answer(&graphql, &document, none()).await;
        let code = answer.body["errors"][0]["extensions"]["code"].as_str().map(str::to_owned);
        let fault = matches!(code.as_deref(), Some("internal" | "corrupt" | "store_unavailable" | "busy"));
        assert!(!fault && (code.is_some() || answer.body["data"].is_object()), "{document}: {}", answer.body);
        answered += usize::from(code.is_none());
    }
    assert!(answered > 900, "{answered} were answered");
}
