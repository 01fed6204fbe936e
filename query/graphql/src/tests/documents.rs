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
