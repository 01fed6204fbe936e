//! Queries at cuts, and how they end.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::tables::Table;

use super::fixture::{World, inference, objects, texts};
use crate::error::Code;
use crate::views::VIEWS;
use crate::{AsOf, Settings};

async fn code_of(world: &World, sql: &str) -> Code {
    let session = world.engine.session_at_head().await.unwrap();
    session.collect(sql).await.expect_err(sql).code
}

#[tokio::test]
async fn an_empty_deployment_has_every_table_with_its_columns_and_no_row() {
    let world = World::new(2).await;
    for table in Table::ALL.iter().filter(|table| **table != Table::Epochs) {
        let rows = world.engine.session_at_head().await.unwrap().sql(&format!("SELECT * FROM {}", table.name())).await.unwrap();
        assert_eq!(rows.schema().fields(), table.schema().fields(), "{}", table.name());
    }
    for name in VIEWS.iter().map(|view| view.name).chain(["batches", "blobs"]) {
        assert!(world.ask(&format!("SELECT * FROM {name}")).await.is_empty(), "{name}");
    }
    let epochs = world
        .column("SELECT column_name FROM information_schema.columns WHERE table_name = 'epochs' ORDER BY ordinal_position")
        .await;
    let expected = "epoch cut closed_at treasury rules_version inferences unattributed fees accounts cumulative_total root status transaction";
    assert_eq!(epochs.join(" "), expected);
    let tables = world.ask("SHOW TABLES").await.len();
    assert!(tables > Table::ALL.len() + VIEWS.len(), "{tables}");
    assert_eq!(world.ask("DESCRIBE attributions").await.len(), 12);
}

#[tokio::test]
async fn a_session_stays_at_its_cut_while_rows_are_added() {
    let world = World::new(4).await;
    let first = world.add((0..10).map(|i| inference(&format!("a{i}"), "dev", "5"))).await;
    let session = world.engine.session(&first).await.unwrap();
    world.add((0..10).map(|i| inference(&format!("b{i}"), "dev", "7"))).await;
    for sql in [
        "SELECT count(*) AS n FROM inferences",
        "SELECT count(inference_id) AS n FROM inferences",
        "SELECT count(*) AS n FROM events",
    ] {
        assert_eq!(objects(&session.collect(sql).await.unwrap()), [json!({"n": 10})], "{sql}");
        assert_eq!(world.ask(sql).await, [json!({"n": 20})], "{sql}");
        assert_eq!(world.ask_at(&first, sql).await, [json!({"n": 10})], "{sql}");
        assert_eq!(world.ask_at(&Cut::empty(), sql).await, [json!({"n": 0})], "{sql}");
    }
    assert_eq!(world.ask("SELECT sum(fee) AS fees FROM inferences").await, [json!({"fees": "120"})]);
    assert_eq!(world.ask_at(&first, "SELECT sum(fee) AS fees FROM inferences").await, [json!({"fees": "50"})]);
    let batches = format!("SELECT count(*) AS n FROM batches WHERE NOT ({})", covered(&first));
    assert_eq!(world.ask_at(&first, &batches).await, [json!({"n": 0})]);
}

/// A condition on `batches` that holds for those in the cut.
fn covered(cut: &Cut) -> String {
    let parts = cut.iter().map(|(partition, seq)| format!("(partition = {partition} AND seq <= {seq})"));
    parts.collect::<Vec<_>>().join(" OR ")
}

#[tokio::test]
async fn a_cut_beyond_what_is_indexed_is_refused() {
    let world = World::new(2).await;
    world.add([inference("a", "dev", "1")]).await;
    for cut in ["0:99", "7:0"] {
        assert_eq!(world.engine.session(&cut.parse().unwrap()).await.err().unwrap().code, Code::CutAhead, "{cut}");
    }
    let none = AsOf::Epoch(tributary_schemas::ids::Epoch::FIRST);
    assert_eq!(world.engine.resolve(&none).await.unwrap_err().code, Code::EpochNotFound);
}

#[tokio::test]
async fn batches_and_blobs_say_where_events_lie() {
    let world = World::new(2).await;
    world.add((0..10).map(|i| inference(&format!("a{i}"), "dev", "5"))).await;
    assert_eq!(world.ask("SELECT count(*) AS n FROM batches WHERE blob_id IS NOT NULL").await, [json!({"n": 0})]);
    assert_eq!(world.engine.resolve(&AsOf::Available).await.unwrap(), Cut::empty().into());
    world.publish().await;
    assert_eq!(world.engine.resolve(&AsOf::Available).await.unwrap(), world.engine.head().await.unwrap().into());
    let sum = world.ask("SELECT CAST(sum(events) AS BIGINT) AS n, count(*) = count(blob_id) AS certified FROM batches").await;
    assert_eq!(sum, [json!({"n": 10, "certified": true})]);
    let joined = "SELECT count(*) AS n FROM batches b JOIN blobs l ON b.blob_id = l.blob_id AND b.partition = l.partition \
                  AND b.seq BETWEEN l.first_seq AND l.last_seq";
    assert_eq!(world.ask(joined).await, world.ask("SELECT count(*) AS n FROM batches").await);
    let chain = "SELECT count(*) AS n FROM batches b JOIN batches p ON b.partition = p.partition AND b.seq = p.seq + 1 AND b.previous_hash = p.hash";
    let later = "SELECT count(*) AS n FROM batches WHERE seq > 0";
    assert_eq!(world.ask(chain).await, world.ask(later).await);
    assert_eq!(world.ask("SELECT seq FROM batches WHERE partition = 0 AND seq = 1").await, [json!({"seq": 1})]);
    assert_eq!(world.ask("SELECT seq FROM batches WHERE 0 = partition AND seq < 0").await, Vec::<serde_json::Value>::new());
    let header = world
        .journal
        .header(tributary_schemas::ids::Partition::new(0).unwrap(), tributary_schemas::ids::Seq::FIRST)
        .await
        .unwrap();
    let root = world.column("SELECT root FROM batches WHERE partition = 0 AND seq = 0").await;
    assert_eq!(root, [format!("{:#x}", header.root)]);
}

#[tokio::test]
async fn certificates_are_read_again_by_who_asks_for_them_alone() {
    let world = World::new(2).await;
    world.add((0..10).map(|i| inference(&format!("a{i}"), "dev", "5"))).await;
    world.publish().await;
    let session = world.engine.session_at_head().await.unwrap();
    let rows = objects(&session.collect("SELECT * FROM blobs ORDER BY partition, first_seq").await.unwrap());
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let certificate = tributary_da::parse_hex(row["certificate"].as_str().unwrap()).unwrap();
        assert_eq!(row["blob_id"], format!("{:#x}", tributary_schemas::units::keccak256(certificate)));
    }
    let first = tributary_da::names::certificate(Partition::new(0).unwrap(), Seq::FIRST);
    object_store::ObjectStoreExt::delete(&world.store, &first).await.unwrap();
    let ids = session.collect("SELECT blob_id FROM blobs ORDER BY partition, first_seq").await.unwrap();
    assert_eq!(texts(&objects(&ids)), rows.iter().map(|row| row["blob_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
    // Nor does who asks for those of other blobs.
    let other = "SELECT certificate FROM blobs WHERE partition = 1 AND first_seq <= 0 AND last_seq >= 0";
    assert_eq!(objects(&session.collect(other).await.unwrap()), [json!({"certificate": rows[1]["certificate"]})]);
    let error = session.collect("SELECT max(certificate) FROM blobs").await.unwrap_err();
    assert!(error.code == Code::Corrupt && error.message.contains(first.as_ref()), "{error}");
}

#[tokio::test]
async fn parameters_are_bound_as_values() {
    let world = World::new(2).await;
    let evil = "x' OR '1'='1";
    world.add([inference("a", "dev", "5"), inference(evil, "dev", "79228162514264337593543950335")]).await;
    let session = world.engine.session_at_head().await.unwrap();
    let ask = async |sql: &str, params: Vec<serde_json::Value>| {
        let rows = session.run(sql, params).await?;
        let rows: Vec<_> = rows.collect::<Vec<_>>().await.into_iter().collect::<Result<_, _>>()?;
        Ok::<_, crate::QueryError>(objects(&rows))
    };
    let by_id = "SELECT inference_id FROM inferences WHERE inference_id = $1";
    assert_eq!(ask(by_id, vec![json!(evil)]).await.unwrap(), [json!({"inference_id": evil})]);
    assert!(ask(by_id, vec![json!("nobody")]).await.unwrap().is_empty());
    let by_fee = "SELECT inference_id FROM inferences WHERE fee >= $1 AND event_time < $2 LIMIT $3";
    let params = vec![json!("79228162514264337593543950335"), json!("2027-01-01T00:00:00Z"), json!(5)];
    assert_eq!(ask(by_fee, params).await.unwrap(), [json!({"inference_id": evil})]);
    for (sql, params) in [
        (by_id, vec![]),
        (by_id, vec![json!("a"), json!("b")]),
        ("SELECT $name", vec![json!(1)]),
        ("SELECT $2", vec![json!(1)]),
        ("SELECT 1", vec![json!(1)]),
        (by_fee, vec![json!("1.5"), json!("2027-01-01T00:00:00Z"), json!(5)]),
        (by_fee, vec![json!("1"), json!("yesterday"), json!(5)]),
    ] {
        assert_eq!(ask(sql, params).await.unwrap_err().code, Code::BadParams, "{sql}");
    }
}

#[tokio::test]
async fn a_query_ends_at_its_limit_of_time_rows_or_memory() {
    let settings = Settings {
        threads: 2,
        query_timeout: Duration::from_secs(5),
        query_memory_max: 16 << 20,
        query_spill_max: 1 << 20,
        rows_max: 1000,
        ..Settings::default()
    };
    let world = World::with(1, settings).await;
    let endless = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t";
    let long =
        "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE (a.value * b.value) % 7 = 3";
    let sorted = "SELECT * FROM generate_series(1, 300000000) ORDER BY value % 1000 LIMIT 100000";
    let fruitless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE (a.value + b.value) % 1000003 = -1";
    let skewed = "SELECT count(*) FROM generate_series(1, 1000000) a JOIN generate_series(1, 1000000) b \
                  ON a.value % 1 = b.value % 1 AND (a.value + b.value) % 1000003 = -1";
    for sql in [endless, long, sorted, fruitless, skewed] {
        assert!(matches!(code_of(&world, sql).await, Code::Timeout | Code::Memory), "{sql}");
        let ended = std::time::Instant::now();
        while world.engine.metrics().running.get() > 0 {
            tokio::task::yield_now().await;
        }
        println!("{:>6} ms until its place was free: {sql}", ended.elapsed().as_millis());
    }
    assert_eq!(code_of(&world, "SELECT * FROM generate_series(1, 1001)").await, Code::Rows);
    assert_eq!(world.ask("SELECT * FROM generate_series(1, 1000)").await.len(), 1000);
    let wide = "SELECT max(array_length(l)) FROM (SELECT array_agg(value) AS l FROM generate_series(1, 100000000) GROUP BY value % 10) t";
    assert_eq!(code_of(&world, wide).await, Code::Memory);
    // Places are given back once the work has ended.
    for _ in 0..3 * world.engine.settings().queries_max {
        assert_eq!(world.ask("SELECT 1 AS x").await, [json!({"x": 1})]);
    }
}

#[tokio::test]
async fn a_sum_that_would_wrap_fails() {
    let world = World::new(1).await;
    let most = "CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0))";
    assert_eq!(code_of(&world, &format!("SELECT sum(x) FROM (VALUES ({most}), ({most})) t(x)")).await, Code::Evaluation);
    assert_eq!(code_of(&world, "SELECT 1 / 0").await, Code::Evaluation);
    assert_eq!(code_of(&world, "SELECT CAST('x' AS BIGINT)").await, Code::Evaluation);
}

#[tokio::test]
async fn amounts_and_bytes_are_shown_as_chains_show_them() {
    let world = World::new(1).await;
    world.add([inference("a", "dev", "1500000000000000001")]).await;
    let row = |value: serde_json::Value| [json!({ "v": value })];
    for (sql, value) in [
        ("SELECT wei_to_token(fee) AS v FROM inferences", json!("1.500000000000000001")),
        ("SELECT wei_to_token(sum(fee)) AS v FROM inferences", json!("1.500000000000000001")),
        ("SELECT wei_to_token(1) AS v", json!("0.000000000000000001")),
        ("SELECT wei_to_token(NULL) AS v", json!(null)),
        ("SELECT keccak256('') AS v", json!("0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")),
        ("SELECT keccak256(decode('', 'hex')) AS v", json!("0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")),
        (
            "SELECT keccak256(inference_id) AS v FROM inferences",
            json!("0x3ac225168df54212a25c1c01fd35bebfea408fdac2e31ddd6f80a4bbf9a5f1cb"),
        ),
        ("SELECT hex('abc') AS v", json!("0x616263")),
        ("SELECT hex(decode('ff00', 'hex')) AS v", json!("0xff00")),
        ("SELECT hex(CAST(NULL AS VARCHAR)) AS v", json!(null)),
    ] {
        assert_eq!(world.ask(sql).await, row(value), "{sql}");
    }
    for sql in ["SELECT keccak256(1.5)", "SELECT hex()", "SELECT wei_to_token('x')"] {
        assert!(matches!(code_of(&world, sql).await, Code::BadSql | Code::Evaluation), "{sql}");
    }
}

#[tokio::test]
async fn a_query_at_the_head_sees_what_is_sealed_once_on_either_side_of_the_seam() {
    let world = World::new(3).await;
    world.add((0..9).map(|i| inference(&format!("a{i}"), "dev", "1"))).await;
    for round in 0..4 {
        world.seal((0..9).map(|i| inference(&format!("r{round}-{i}"), "dev", "1")), 2).await;
        let expected = 18 + 9 * round;
        let count = "SELECT count(*) AS n, count(DISTINCT inference_id) AS ids, sum(fee) AS fees FROM inferences";
        let row = [json!({"n": expected, "ids": expected, "fees": expected.to_string()})];
        assert_eq!(world.ask(count).await, row, "round {round}, in the tail");
        let head = world.engine.head().await.unwrap();
        let key = "SELECT count(*) AS n FROM effective_inferences WHERE inference_id = 'a3' OR inference_id LIKE 'r%-3'";
        assert_eq!(world.ask(key).await, [json!({"n": 2 + round})], "round {round}");
        if round % 2 == 1 {
            world.indexer.index_available().await.unwrap();
            assert_eq!(world.ask_at(&head, count).await, row, "round {round}, indexed");
        }
    }
}

#[tokio::test]
async fn what_is_no_sql_is_told_in_few_words() {
    let world = World::new(1).await;
    let session = world.engine.session_at_head().await.unwrap();
    let pivot = "SELECT * FROM events PIVOT (count(type) FOR type IN ('a', 'b'))";
    for (sql, begins) in [("SELECT 1 WHERE (SELECT", "the text is no SQL: Expected"), (pivot, "This feature is not implemented")]
    {
        let error = session.collect(sql).await.unwrap_err();
        assert_eq!(error.code, Code::BadSql);
        assert!(error.message.starts_with(begins) && !error.message.contains(['{', '"']), "{}", error.message);
    }
}

#[tokio::test]
async fn what_is_written_in_digits_is_exact() {
    let world = World::new(1).await;
    let (large, larger) = ("561824475336626000000", "79228162514264337593543950335");
    world.add([inference("a", "dev", large), inference("b", "dev", larger), inference("c", "dev", "7")]).await;
    for (condition, ids) in [
        (format!("fee = {large}"), "a"),
        (format!("fee > {}", "561824475336625999999"), "ab"),
        (format!("fee < {large}"), "c"),
        (format!("fee >= {larger}"), "b"),
        (format!("fee IN ({large}, {larger})"), "ab"),
        (format!("fee BETWEEN {large} AND 561824475336626000001"), "a"),
        ("fee > 1e18".to_owned(), "ab"),
        ("fee > 7.5".to_owned(), "ab"),
        ("fee * 2 > 1123648950673251999999".to_owned(), "ab"),
        (format!("fee = '{large}'"), "a"),
    ] {
        let found = world.column(&format!("SELECT inference_id FROM inferences WHERE {condition} ORDER BY 1")).await;
        assert_eq!(found.concat(), ids, "{condition}");
    }
    for (sql, value) in [
        (format!("SELECT {larger} AS v"), json!(larger)),
        (format!("SELECT {large}::decimal(38,0) + 1 AS v"), json!("561824475336626000001")),
        (
            format!("SELECT max(v) AS v FROM (SELECT fee AS v FROM inferences WHERE fee = 7 UNION ALL SELECT {large})"),
            json!(large),
        ),
        ("SELECT 0.1 + 0.2 = 0.3 AS v".to_owned(), json!(true)),
        ("SELECT sum(latency_us) AS v FROM inferences WHERE latency_us > 2.5".to_owned(), json!(9)),
        ("SELECT approx_percentile_cont(latency_us, 0.95) AS v FROM inferences".to_owned(), json!(3.0)),
        ("SELECT CAST(avg(latency_us) * 1.5 AS BIGINT) AS v FROM inferences".to_owned(), json!(4)),
        ("SELECT round(CAST(2.5 AS DOUBLE) / 2, 1) AS v".to_owned(), json!(1.3)),
    ] {
        assert_eq!(world.ask(&sql).await, [json!({"v": value})], "{sql}");
    }
    let too_long = format!("SELECT {}", "9".repeat(80));
    assert!(matches!(code_of(&world, &too_long).await, Code::BadSql), "{too_long}");
}

#[tokio::test]
async fn a_function_that_refuses_its_arguments_says_why_in_its_own_words() {
    let world = World::new(1).await;
    let session = world.engine.session_at_head().await.unwrap();
    let error = session.collect("SELECT wei_to_token('x')").await.unwrap_err();
    assert_eq!(error.message, "wei_to_token takes an amount in wei, a whole number; found Utf8.");
    let error = session.collect("SELECT nothing FROM events").await.unwrap_err();
    assert!(error.message.starts_with("No field named nothing"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_does_not_wait_behind_queries_that_have_taken_all_places() {
    let settings = Settings { queries_max: 2, threads: 2, query_timeout: Duration::from_secs(120), ..Settings::default() };
    let world = World::with(2, settings).await;
    world.add((0..9).map(|i| inference(&format!("i{i}"), "dev", "7"))).await;
    // The index is there.
    world.ask("SELECT * FROM inferences WHERE inference_id = 'i1'").await;
    let session = world.engine.session_at_head().await.unwrap();
    let endless =
        "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value + b.value = -1";
    let mut runaway = Vec::new();
    for _ in 0..2 {
        let session = session.clone();
        runaway.push(tokio::spawn(async move { session.collect(endless).await }));
    }
    while world.engine.metrics().running.get() < 2 {
        tokio::task::yield_now().await;
    }
    let began = std::time::Instant::now();
    for sql in [
        "SELECT fee FROM inferences WHERE inference_id = 'i1'",
        "SELECT sum(fee) FROM effective_inferences WHERE inference_id IN ('i1', 'i2') GROUP BY model_id ORDER BY 1 LIMIT 5",
        "SELECT a.fee FROM inferences a JOIN events e ON e.key = a.inference_id WHERE a.inference_id = 'i1' AND e.key = 'i1'",
    ] {
        assert_eq!(objects(&session.collect(sql).await.unwrap()).len(), 1, "{sql}");
    }
    let took = began.elapsed();
    // What reads more, makes rows of its own or multiplies them waits for its turn.
    for sql in [
        "SELECT fee FROM inferences",
        "SELECT 1",
        "SELECT fee FROM inferences WHERE inference_id = 'i1' UNION ALL SELECT count(*) FROM generate_series(1, 10)",
        "SELECT a.fee FROM inferences a, inferences b, inferences c WHERE a.inference_id = 'i1' AND b.inference_id = 'i1' AND c.inference_id = 'i1'",
        "SELECT fee FROM inferences WHERE inference_id = 'i1' OR fee > 3",
        "SELECT unnest(parents) FROM inferences WHERE inference_id = 'i1'",
    ] {
        let waited = tokio::time::timeout(Duration::from_millis(300), session.collect(sql)).await;
        assert!(waited.is_err(), "{sql}");
    }
    assert_eq!(world.engine.metrics().running.get(), 2, "nothing has ended meanwhile");
    assert!(took < Duration::from_secs(10), "lookups took {took:?}");
    runaway.iter().for_each(tokio::task::JoinHandle::abort);
}
