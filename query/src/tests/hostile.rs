//! What must be refused, and texts made to hurt.

use std::time::Instant;

use super::fixture::{World, inference};
use crate::error::{Code, Kind};

#[tokio::test]
async fn what_would_write_define_copy_set_or_prepare_is_refused() {
    let world = World::new(1).await;
    world.add([inference("a", "dev", "5")]).await;
    let before: Vec<_> = walk(world.folder.path());
    let out = world.folder.path().join("out");
    let session = world.engine.session_at_head().await.unwrap();
    for sql in [
        "INSERT INTO events SELECT * FROM events".to_owned(),
        "INSERT INTO rewards VALUES (1, 'a', 'b', 1)".to_owned(),
        "UPDATE inferences SET fee = 0".to_owned(),
        "DELETE FROM inferences".to_owned(),
        "TRUNCATE TABLE inferences".to_owned(),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE TABLE t (a INT)".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "CREATE OR REPLACE VIEW events AS SELECT 1".to_owned(),
        "CREATE SCHEMA s".to_owned(),
        "CREATE DATABASE d".to_owned(),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
        "CREATE FUNCTION f(a INT) RETURNS INT RETURN a".to_owned(),
        "CREATE INDEX i ON events (key)".to_owned(),
        "DROP TABLE events".to_owned(),
        "DROP VIEW current_models".to_owned(),
        "DROP SCHEMA public CASCADE".to_owned(),
        format!("COPY (SELECT 1) TO '{}' STORED AS CSV", out.display()),
        format!("COPY events TO '{}'", out.display()),
        format!("EXPLAIN COPY (SELECT 1) TO '{}' STORED AS CSV", out.display()),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{}' STORED AS CSV", out.display()),
        "EXPLAIN INSERT INTO rewards VALUES (1, 'a', 'b', 1)".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "RESET datafusion.execution.batch_size".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "DEALLOCATE p".to_owned(),
        "BEGIN".to_owned(),
        "COMMIT".to_owned(),
        "ROLLBACK".to_owned(),
        "USE x".to_owned(),
        "copy events to '/tmp/x.csv' stored as csv".to_owned(),
        "EXPLAIN SET datafusion.execution.batch_size = 1".to_owned(),
        "MERGE INTO rewards USING settled ON true WHEN MATCHED THEN DELETE".to_owned(),
        "GRANT SELECT ON events TO x".to_owned(),
        "SELECT * INTO t FROM events".to_owned(),
        "WITH x AS (INSERT INTO rewards VALUES (1, 'a', 'b', 1)) SELECT * FROM x".to_owned(),
    ] {
        let error = session.collect(&sql).await.expect_err(&sql);
        assert_eq!(error.code, Code::ReadOnly, "{sql}: {error}");
    }
    assert_eq!(walk(world.folder.path()), before, "nothing was written");
    assert_eq!(world.ask("SELECT count(*) AS n FROM events").await, [serde_json::json!({"n": 1})]);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { found.extend(walk(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

#[tokio::test]
async fn no_query_reaches_a_file_or_a_url() {
    let world = World::new(1).await;
    let session = world.engine.session_at_head().await.unwrap();
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM 'https://example.com/x.parquet'",
        "SELECT * FROM 's3://bucket/x.parquet'",
        "SELECT * FROM 'lake://store/lake/events'",
        "SELECT * FROM \"journal/genesis.json\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT load_extension('x')",
        "SELECT in_cut(0, 0)",
        "SELECT * FROM other.public.events",
        "SELECT * FROM tributary.base.epochs",
    ] {
        assert_eq!(session.collect(sql).await.expect_err(sql).code, Code::BadSql, "{sql}");
    }
    assert_eq!(world.ask("SELECT count(*) AS n FROM tributary.public.events").await.len(), 1);
}

#[tokio::test]
async fn a_text_made_to_hurt_is_answered_or_refused_in_bounded_time() {
    let world = World::new(1).await;
    let session = world.engine.session_at_head().await.unwrap();
    let chain = |part: &str, count: usize| part.repeat(count);
    let texts = [
        format!("SELECT 1{}", chain(" + 1", 4_900)),
        format!("SELECT true{}", chain(" AND true", 4_900)),
        format!("SELECT count(*) FROM events WHERE false{}", chain(" OR key = 'x'", 2_400)),
        format!("SELECT 'a'{}", chain(" || 'a'", 4_900)),
        format!("SELECT {}1", chain("- ", 9_000)),
        format!("SELECT {}true", chain("NOT ", 9_000)),
        format!("SELECT {}1{}", chain("(", 4_000), chain(")", 4_000)),
        format!("SELECT {}1{}", chain("[", 4_000), chain("]", 4_000)),
        format!("SELECT {}1{}", chain("abs(", 3_000), chain(")", 3_000)),
        format!("SELECT {}1{}", chain("CASE WHEN true THEN ", 1_500), chain(" END", 1_500)),
        format!("SELECT 1{}", chain("::BIGINT", 3_000)),
        format!("SELECT 1{}", chain(" UNION ALL SELECT 1", 2_400)),
        format!("SELECT 1{}", chain(" UNION SELECT 1", 300)),
        format!("SELECT {}1{}", chain("(SELECT ", 2_000), chain(")", 2_000)),
        format!("SELECT * FROM {}events{}", chain("(SELECT * FROM ", 1_500), chain(") t", 1_500)),
        format!(
            "WITH a0 AS (SELECT 1 AS x){} SELECT * FROM a300",
            (1..=300).map(|n| format!(", a{n} AS (SELECT * FROM a{})", n - 1)).collect::<String>()
        ),
        format!("SELECT 1 FROM events e0{}", (1..60).map(|n| format!(" JOIN events e{n} USING (key)")).collect::<String>()),
        format!(
            "SELECT 1 FROM events e0{}",
            (1..60).map(|n| format!(" JOIN events e{n} ON e{n}.key = e0.key")).collect::<String>()
        ),
        format!("SELECT 1 FROM events e0{}", (1..200).map(|n| format!(", events e{n}")).collect::<String>()),
        format!("SELECT key FROM events WHERE key IN (''{})", chain(",'x'", 4_900)),
        format!("SELECT {}1", (0..4_000).map(|n| format!("{n} AS c{n},")).collect::<String>()),
        format!("/*{}", chain("/*", 9_000)),
        format!("SELECT {}'", chain("'", 90_000)),
        chain("SELECT ", 9_000),
        chain(";", 9_999),
        chain("\u{202e}\u{0}", 9_999),
        "SELECT \u{1F600}".to_owned(),
    ];
    for sql in texts {
        let start: String = sql.chars().take(60).collect();
        let began = Instant::now();
        let outcome = session.collect(&sql).await.map(|rows| rows.len());
        println!("{:>6} ms  {start} … {:?}", began.elapsed().as_millis(), outcome.as_ref().map_err(|error| error.code));
        if let Err(error) = outcome {
            assert!(matches!(error.kind(), Kind::Reject | Kind::Limit), "{start}: {error}");
        }
    }
    assert_eq!(world.ask("SELECT 1 AS x").await, [serde_json::json!({"x": 1})], "still answering");
}

/// Ten thousand texts made of SQL's own words, most of them wrong: each gets rows or a code that is not a fault of ours.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_generated_texts_get_rows_or_a_code() {
    let world = World::new(1).await;
    world.add((0..5).map(|n| super::fixture::inference(&format!("i{n}"), "dev", "1"))).await;
    let session = world.engine.session(world.engine.head().await.unwrap()).await.unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let good = [
        "SELECT inference_id, fee FROM effective_inferences WHERE fee > 0 ORDER BY fee LIMIT 3",
        "SELECT model_id, count(*), sum(fee) FROM inferences GROUP BY model_id",
        "SELECT e.type, i.fee FROM events e JOIN inferences i ON e.key = i.inference_id",
        "WITH a AS (SELECT 1 AS x UNION ALL SELECT 2) SELECT x, row_number() OVER (ORDER BY x) FROM a",
        "SELECT unnest(parents) FROM inferences",
        "SELECT CASE WHEN fee > 1 THEN upper(model_id) ELSE hex(node) END FROM inferences",
    ];
    let words = [
        "SELECT",
        "FROM",
        "WHERE",
        "(",
        ")",
        ",",
        "*",
        "NULL",
        "1",
        "'x'",
        "''",
        "--",
        "/*",
        ";",
        "COPY",
        "INTO",
        "events",
        "fee",
        "AND",
        "NOT",
        "$1",
        "::int",
        "INTERVAL '1 day'",
        "1e999",
        "-",
        "=",
        "||",
        "GROUP BY",
        "HAVING",
        "LATERAL",
        "CREATE EXTERNAL TABLE",
        "'/etc/passwd'",
        "DROP",
        "TABLE",
        "cut",
        "[1,2]",
    ];
    let mut answered = 0;
    for n in 0..10_000 {
        let mut text = good[chance(good.len())].to_owned();
        for _ in 0..if n % 10 == 0 { 0 } else { 1 + chance(4) } {
            let mut at = chance(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match chance(3) {
                0 => text.insert_str(at, words[chance(words.len())]),
                1 => text.insert_str(at, &format!(" {} ", words[chance(words.len())])),
                _ => text.replace_range(at..(at + chance(9)).min(text.len()), ""),
            }
        }
        match session.collect(&text).await {
            Ok(_) => answered += 1,
            Err(error) => assert!(!matches!(error.code, Code::Internal | Code::Corrupt | Code::Unavailable), "{text}: {error}"),
        }
    }
    assert!(answered > 900, "{answered} were answered");
}
