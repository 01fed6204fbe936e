//! A line of SQL that would grow into gigabytes is refused before it has, and what people write is answered.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fixture::{World, inference};
use crate::error::Code;

/// Refusals come within this, once in a few attempts: something else may have the processor.
const AT_ONCE: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 5;

async fn expect_code(world: &World, sql: &str, code: Code) {
    let session = world.engine.session_at_head().await.unwrap();
    let start: String = sql.chars().take(100).collect();
    let mut took = Vec::new();
    while took.len() < ATTEMPTS {
        let began = Instant::now();
        let error = session.collect(sql).await.expect_err(&start);
        took.push(began.elapsed());
        assert_eq!(error.code, code, "{start}: {error}");
        if took.last() < Some(&AT_ONCE) {
            return;
        }
    }
    panic!("{start}: {took:?}");
}

#[tokio::test]
async fn a_constant_that_would_be_huge_is_refused_at_once() {
    let world = World::new(1).await;
    for sql in [
        "SELECT array_repeat(1, 1000000000)",
        "SELECT repeat('a', 2000000000)",
        "SELECT length(repeat('a', 2000000000))",
        "SELECT lpad('1', 1000000000, '0')",
        "SELECT rpad('1', 1000000000, '0')",
        "SELECT range(0, 1000000000)",
        "SELECT generate_series(0, 1000000000)",
        "SELECT array_resize([1], 1000000000, 2)",
        "SELECT replace(repeat('a', 1000000), 'a', repeat('b', 10000))",
        "SELECT regexp_replace(repeat('a', 1000000), 'a', repeat('b', 10000), 'g')",
        "SELECT array_to_string(range(0, 1000000), repeat('b', 10000))",
        "SELECT repeat('a', 40000000) || repeat('a', 40000000)",
    ] {
        expect_code(&world, sql, Code::Memory).await;
    }
}

#[tokio::test]
async fn a_column_that_would_be_huge_is_refused_at_once() {
    let world = World::new(1).await;
    world.add([inference("a", "dev", "5")]).await;
    for expression in [
        "repeat(inference_id, 2000000000)",
        "array_repeat(inference_id, 1000000000)",
        "lpad(inference_id, 1000000000, '0')",
        "rpad(inference_id, 1000000000, '0')",
        "range(0, _seq + 1000000000)",
        "array_resize([inference_id], 1000000000, 'x')",
        "replace(repeat(inference_id, 1000000), 'a', repeat('b', 10000))",
        "repeat(inference_id, 40000000) || repeat(inference_id, 40000000)",
    ] {
        expect_code(&world, &format!("SELECT {expression} AS x FROM inferences"), Code::Memory).await;
    }
}

#[tokio::test]
async fn doubling_thirty_times_is_refused_at_once() {
    let world = World::new(1).await;
    world.add([inference("a", "dev", "5")]).await;
    for (first, twice) in [
        ("SELECT 'a' AS a", "concat(a, a)"),
        ("SELECT 'a' AS a", "a || a"),
        ("SELECT inference_id AS a FROM inferences", "concat(a, a)"),
        ("SELECT inference_id AS a FROM inferences", "a || a"),
        ("SELECT [1] AS a", "array_concat(a, a)"),
    ] {
        let levels: String = (1..=30).map(|n| format!(", t{n} AS (SELECT {twice} AS a FROM t{})", n - 1)).collect();
        expect_code(&world, &format!("WITH t0 AS ({first}){levels} SELECT a FROM t30"), Code::Memory).await;
    }
}

#[tokio::test]
async fn many_values_that_are_each_small_enough_are_refused_together() {
    let world = World::new(1).await;
    let columns: Vec<String> = (0..100).map(|n| format!("repeat('{}', 20000000) AS c{n}", n % 10)).collect();
    let session = world.engine.session_at_head().await.unwrap();
    let error = session.collect(&format!("SELECT {}", columns.join(", "))).await.unwrap_err();
    assert_eq!(error.code, Code::Memory, "{error}");
}

#[tokio::test]
async fn a_call_that_compares_everything_with_everything_is_refused_at_once() {
    let world = World::new(1).await;
    let sql = "SELECT levenshtein(repeat('a', 100000), repeat('b', 100000))";
    expect_code(&world, sql, Code::Timeout).await;
}

#[tokio::test]
async fn functions_that_take_a_lambda_are_not_offered() {
    let world = World::new(1).await;
    expect_code(&world, "SELECT array_transform([1, 2], x -> x + 1)", Code::BadSql).await;
}

#[tokio::test]
async fn what_people_write_is_answered() {
    let world = World::new(1).await;
    world.add([inference("a", "dev", "5")]).await;
    for (expression, expected) in [
        ("repeat('ab', 3)", json!("ababab")),
        ("repeat(inference_id, 3)", json!("aaa")),
        ("lpad('1', 5, '0')", json!("00001")),
        ("rpad(inference_id, 3, '.')", json!("a..")),
        ("range(0, 10)", json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("range(10, 0)", json!([])),
        ("generate_series(1, 3)", json!([1, 2, 3])),
        ("array_length(generate_series(DATE '2026-01-01', DATE '2026-12-31', INTERVAL '1 month'))", json!(12)),
        ("array_repeat('x', 2)", json!(["x", "x"])),
        ("array_resize([1], 2, 7)", json!([1, 7])),
        ("'a' || NULL", json!(null)),
        ("'a' || 'b' || 1", json!("ab1")),
        ("inference_id || '-' || producer", json!("a-dev")),
        ("inference_id || CASE WHEN fee > 9 THEN 'x' END", json!(null)),
        ("[1] || [2]", json!([1, 2])),
        ("concat(inference_id, NULL, 'b')", json!("ab")),
        ("coalesce(NULL, inference_id)", json!("a")),
        ("replace(inference_id, 'a', 'bb')", json!("bb")),
        ("regexp_replace('aXa', '(a)', '\\1\\1', 'g')", json!("aaXaa")),
        ("substring('abc' FROM 2 FOR 1)", json!("b")),
        ("upper(trim(' x '))", json!("X")),
        ("length(repeat('a', 100000))", json!(100_000)),
        ("levenshtein('kitten', 'sitting')", json!(3)),
        ("named_struct('a', 1)['a']", json!(1)),
    ] {
        let rows = world.ask(&format!("SELECT {expression} AS x FROM inferences")).await;
        assert_eq!(rows, [json!({"x": expected})], "{expression}");
    }
    assert_eq!(world.ask("SELECT 'a' || 'b' AS x").await, [json!({"x": "ab"})]);
    let grouped = "SELECT inference_id || 'x', count(*) AS n FROM inferences GROUP BY inference_id || 'x'";
    assert_eq!(world.ask(grouped).await.len(), 1);
    assert_eq!(world.ask("SELECT count(*) AS n FROM range(0, 100000)").await, [json!({"n": 100_000})]);
}

#[tokio::test]
async fn a_large_constant_shortens_the_batches_and_not_the_answer() {
    let world = World::new(1).await;
    let sql = "SELECT sum(length(x)) AS n FROM (SELECT repeat('a', 1000000) AS x, value FROM range(0, 100)) t";
    assert_eq!(world.ask(sql).await, [json!({"n": 100_000_000})]);
}

#[tokio::test]
async fn now_is_an_instant_in_utc() {
    let world = World::new(1).await;
    for sql in ["SELECT now()", "SELECT current_timestamp", "SELECT to_timestamp('2026-10-01T00:00:00')"] {
        let at = world.column(sql).await.remove(0);
        assert!(at.len() == "2026-10-01T00:00:00.000000Z".len() && at.ends_with('Z'), "{sql}: {at}");
    }
    assert_eq!(world.ask("SELECT now() > TIMESTAMP '2020-01-01' AS x").await, [json!({"x": true})]);
}
