//! The routes: formats, refusals, and transfers that break off.

use std::collections::HashSet;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::fixture::{World, inference};
use crate::error::Code;
use crate::http::router;
use crate::sql::Format;
use crate::{Settings, openapi};

async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

fn ask(accept: &str, body: &Value) -> Request<Body> {
    let builder = Request::post("/v1/sql").header("content-type", "application/json").header("accept", accept);
    builder.body(Body::from(body.to_string())).unwrap()
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn problem(response: Response<Body>) -> (StatusCode, String) {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status();
    let problem: Value = serde_json::from_slice(&bytes(response).await).unwrap();
    assert_eq!(problem["status"], json!(status.as_u16()));
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_format_gives_the_same_rows() {
    let world = World::new(2).await;
    world.add((0..2000).map(|n| inference(&format!("i{n:04}"), "dev", &format!("{}", 1_u128 << (n % 96))))).await;
    let router = router(world.engine.clone());
    let query =
        json!({"query": "SELECT inference_id, fee, latency_us, event_time, parents FROM inferences ORDER BY inference_id"});
    let mut answers = Vec::new();
    for format in Format::ALL {
        let response = send(&router, ask(format.media_type(), &query)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], format.media_type());
        assert_eq!(response.headers()["tributary-cut"], format!("{}@0", world.engine.head().await.unwrap()));
        answers.push(bytes(response).await);
    }
    let [array, lines, csv, arrow, parquet] = answers.try_into().unwrap();
    let objects: Vec<Value> = serde_json::from_slice(&array).unwrap();
    assert_eq!(objects.len(), 2000);
    assert_eq!(objects[95]["fee"], json!((1_u128 << 95).to_string()));
    assert_eq!(objects[0]["event_time"], json!("2026-10-01T00:00:00.000000Z"));
    let read: Vec<Value> =
        lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert_eq!(read, objects);
    let csv = String::from_utf8(csv).unwrap();
    let mut csv = csv.lines();
    assert_eq!(csv.next(), Some("inference_id,fee,latency_us,event_time,parents"));
    for (line, object) in csv.zip(&objects) {
        let expected = format!(
            "{},{},3,2026-10-01T00:00:00.000000Z,",
            object["inference_id"].as_str().unwrap(),
            object["fee"].as_str().unwrap()
        );
        assert_eq!(line, expected);
    }
    let from_arrow: Vec<RecordBatch> = StreamReader::try_new(arrow.as_slice(), None).unwrap().map(Result::unwrap).collect();
    let from_parquet = ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(parquet)).unwrap().build().unwrap();
    for rows in [from_arrow, from_parquet.map(Result::unwrap).collect()] {
        let rows = arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap();
        assert_eq!(rows.num_rows(), 2000);
        for (row, object) in objects.iter().enumerate() {
            assert_eq!(rows.column(0).as_string::<i32>().value(row), object["inference_id"].as_str().unwrap());
            assert_eq!(rows.column(1).as_primitive::<Decimal128Type>().value(row).to_string(), object["fee"].as_str().unwrap());
            assert_eq!(rows.column(2).as_primitive::<Int64Type>().value(row), 3);
        }
    }
}

#[tokio::test]
async fn every_format_gives_an_answer_without_rows() {
    let world = World::new(1).await;
    let router = router(world.engine.clone());
    let query = json!({"query": "SELECT inference_id, fee FROM inferences"});
    let mut answers = Vec::new();
    for format in Format::ALL {
        answers.push(bytes(send(&router, ask(format.media_type(), &query)).await).await);
    }
    assert_eq!(answers[0], b"[]\n");
    assert_eq!(answers[1], b"");
    assert_eq!(answers[2], b"inference_id,fee\n");
    let reader = StreamReader::try_new(answers[3].as_slice(), None).unwrap();
    assert_eq!((reader.schema().fields().len(), reader.count()), (2, 0));
    let parquet = ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(answers[4].clone())).unwrap();
    assert_eq!(parquet.schema().fields().len(), 2);
}

#[tokio::test]
async fn a_point_of_the_record_and_parameters_are_taken() {
    let world = World::new(2).await;
    let first = world.add([inference("a", "dev", "5")]).await;
    world.add([inference("b", "dev", "6"), inference("c", "dev", "7")]).await;
    let router = router(world.engine.clone());
    let count = async |as_of: Value| {
        let query = json!({"query": "SELECT count(*) AS n FROM inferences WHERE fee > $1", "params": ["4"], "as_of": as_of});
        let response = send(&router, ask("*/*", &query)).await;
        let cut = response.headers()["tributary-cut"].to_str().unwrap().to_owned();
        let rows: Value = serde_json::from_slice(&bytes(response).await).unwrap();
        (rows[0]["n"].as_u64().unwrap(), cut)
    };
    assert_eq!(count(json!(null)).await.0, 3);
    assert_eq!(count(json!({"cut": first.to_string()})).await, (1, format!("{first}@0")));
    assert_eq!(count(json!({"available": true})).await, (0, "@0".to_owned()));
    world.publish().await;
    assert_eq!(count(json!({"available": true})).await.0, 3);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_with_status_and_code() {
    let world = World::new(1).await;
    let router = router(world.engine.clone());
    let sql = |query: &str| ask("application/json", &json!({"query": query}));
    let typed =
        |kind: &str| Request::post("/v1/sql").header("content-type", kind).body(Body::from(r#"{"query":"SELECT 1"}"#)).unwrap();
    let large =
        Request::post("/v1/sql").header("content-type", "application/json").body(Body::from(" ".repeat(2 << 20))).unwrap();
    for (request, code) in [
        (sql("SELECT 1 AS a, 2 AS a"), Code::BadSql),
        (sql("SELECT l.x, r.x FROM (SELECT 1 AS x) l, (SELECT 2 AS x) r"), Code::DuplicateColumns),
        (sql("SELECT nothing"), Code::BadSql),
        (sql("SELECT 1; SELECT 2"), Code::OneStatement),
        (sql("DROP TABLE events"), Code::ReadOnly),
        (sql("SELECT 1 / (value - 1) FROM generate_series(1, 2)"), Code::Evaluation),
        (ask("text/html", &json!({"query": "SELECT 1"})), Code::NotAcceptable),
        (ask("*/*", &json!({"query": "SELECT 1", "as_of": {"epoch": 1}})), Code::EpochNotFound),
        (ask("*/*", &json!({"query": "SELECT 1", "as_of": {"cut": "0:7"}})), Code::CutAhead),
        (ask("*/*", &json!({"query": "SELECT $1"})), Code::BadParams),
        (ask("*/*", &json!({"sql": "SELECT 1"})), Code::BadRequest),
        (
            ask("application/vnd.apache.parquet", &json!({"query": "SELECT INTERVAL '1' DAY + INTERVAL '1' MONTH AS i"})),
            Code::UnsupportedType,
        ),
        (typed("text/plain"), Code::UnsupportedMediaType),
        (large, Code::RequestTooLarge),
    ] {
        let (status, found) = problem(send(&router, request).await).await;
        assert_eq!((found.as_str(), status.as_u16()), (code.as_str(), code.status()));
    }
    let charset = send(&router, typed("application/json; charset=utf-8")).await;
    assert_eq!(bytes(charset).await, b"[{\"Int64(1)\":1}]\n");
    assert_eq!(
        send(&router, Request::get("/v1/sql").body(Body::empty()).unwrap()).await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_failure_after_the_first_bytes_breaks_the_transfer_off() {
    let world = World::new(1).await;
    let router = router(world.engine.clone());
    let query = "SELECT value, 1 / (value - 3000000) AS x FROM generate_series(1, 4000000) WHERE value > 0";
    for format in Format::ALL {
        let response = send(&router, ask(format.media_type(), &json!({"query": query}))).await;
        assert_eq!(response.status(), StatusCode::OK, "{format:?}");
        assert!(response.into_body().collect().await.is_err(), "{format:?}");
    }
    let outcome = crate::metrics::Outcome { outcome: "evaluation".to_owned() };
    assert_eq!(world.engine.metrics().queries.get_or_create(&outcome).get(), 5);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_at_the_time_limit_and_frees_its_place() {
    let settings = Settings {
        threads: 2,
        query_timeout: Duration::from_secs(5),
        queries_max: 1,
        queries_waiting_max: 0,
        ..Settings::default()
    };
    let world = World::with(1, settings).await;
    let router = router(world.engine.clone());
    let endless = json!({"query": "SELECT value, repeat('x', 1000) AS t FROM generate_series(1, 1000000000)"});
    let slow = send(&router, ask("*/*", &endless)).await;
    assert_eq!(slow.status(), StatusCode::OK);
    let busy = send(&router, ask("*/*", &json!({"query": "SELECT 1"}))).await;
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(problem(busy).await, (StatusCode::SERVICE_UNAVAILABLE, "busy".to_owned()));
    while world.engine.metrics().running.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(slow.into_body().collect().await.is_err());
    assert_eq!(send(&router, ask("*/*", &json!({"query": "SELECT 1"}))).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let world = World::new(1).await;
    let router = router(world.engine.clone());
    let endless = json!({"query": "SELECT value FROM generate_series(1, 1000000000)"});
    drop(send(&router, ask("text/csv", &endless)).await);
    while world.engine.metrics().running.get() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_claim_names_what_is_missing() {
    let world = World::new(1).await;
    let router = router(world.engine.clone());
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let someone = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    for (path, code) in [
        (format!("/v1/claims/{someone}"), Code::EpochNotFound),
        (format!("/v1/claims/{}", someone.to_uppercase()), Code::EpochNotFound),
        (format!("/v1/claims/{someone}?epoch=3"), Code::EpochNotFound),
        (format!("/v1/claims/{someone}?epoch=0"), Code::BadEpoch),
        (format!("/v1/claims/{someone}?epoch=+1"), Code::BadEpoch),
        (format!("/v1/claims/{someone}?epoch=1&epoch=1"), Code::BadEpoch),
        (format!("/v1/claims/{someone}?epoc=1"), Code::BadEpoch),
        ("/v1/claims/0x5aAeb6".to_owned(), Code::BadAddress),
        (format!("/v1/claims/0x{}", "0".repeat(40)), Code::BadAddress),
    ] {
        let (status, found) = problem(send(&router, get(&path)).await).await;
        assert_eq!((found.as_str(), status.as_u16()), (code.as_str(), code.status()), "{path}");
    }
}

#[tokio::test]
async fn the_description_names_every_route_and_every_format() {
    let world = World::new(1).await;
    let response = send(&router(world.engine.clone()), Request::get("/v1/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let description: Value = serde_json::from_slice(&bytes(response).await).unwrap();
    assert_eq!(description, serde_json::from_str::<Value>(openapi::DESCRIPTION).unwrap());
    let routes = [
        ("/v1/events", "post"),
        ("/v1/sql", "post"),
        ("/v1/claims/{address}", "get"),
        ("/v1/openapi.json", "get"),
        ("/graphql", "get"),
        ("/graphql", "post"),
        ("/graphql/ws", "get"),
        ("/livez", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    ];
    for (path, method) in routes {
        let responses = &description["paths"][path][method]["responses"];
        assert!(responses["200"].is_object() || responses["101"].is_object(), "{method} {path}");
    }
    let paths: HashSet<&str> = routes.iter().map(|(path, _)| *path).collect();
    assert_eq!(description["paths"].as_object().unwrap().keys().map(String::as_str).collect::<HashSet<_>>(), paths);
    let formats = description["paths"]["/v1/sql"]["post"]["responses"]["200"]["content"].as_object().unwrap();
    let offered: HashSet<&str> = Format::ALL.iter().map(|format| format.media_type()).collect();
    assert_eq!(formats.keys().map(String::as_str).collect::<HashSet<_>>(), offered);
}

#[test]
fn every_code_is_listed_with_its_status() {
    let errors = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
    for code in Code::ALL {
        assert!(errors.contains(&format!("\n| `{}` | {} |", code.as_str(), code.status())), "{}", code.as_str());
    }
}
