//! `POST /v1/events` over real HTTP, into a real log.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;

use common::{BATCH, Fault, LINES, ONE, Served, event, lines, read};
use serde_json::{Value, json};
use tributary_ingest::Settings;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or("(none)"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_a_batch_and_lines_become_records_with_producer_and_time() {
    let served = Served::start(Settings::default()).await;
    assert_eq!(served.send(ONE, event("a").to_string()).await, (200, json!({"accepted": 1, "rejected": []})));
    let batch = json!([event("b"), event("c")]).to_string();
    assert_eq!(served.send(&format!("{BATCH}; charset=utf-8"), batch).await, (200, json!({"accepted": 2, "rejected": []})));
    let lines = format!("{}\r\n\n   \r\n{}", event("d"), event("e"));
    assert_eq!(served.send(LINES, lines).await, (200, json!({"accepted": 2, "rejected": []})));
    assert_eq!(served.ids().await, ["a", "b", "c", "d", "e"]);
    for event in served.events().await {
        assert_eq!((event.producer.as_str(), event.accepted_at.to_string().as_str()), ("dev", common::NOW));
    }
    // A repetition is accepted too; the sealer is who drops it.
    assert_eq!(served.send(ONE, event("a").to_string()).await.1["accepted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_events_are_taken_and_each_other_is_named() {
    let served = Served::start(Settings::default()).await;
    let mut wrong = event("wrong");
    wrong["data"]["actor"] = json!("0x12");
    let mut grant = event("grant");
    grant["type"] = json!("tributary.grant.set.v1");
    let body = format!("{}\n{wrong}\n\n{{\"id\": \"cut\nnull\n{grant}\n{}\n", event("a"), event("b"));
    let (status, answer) = served.send(LINES, body).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)));
    let rejected = answer["rejected"].as_array().unwrap();
    let brief: Vec<_> = rejected.iter().map(|r| (r["index"].as_u64().unwrap(), &r["id"], r["code"].as_str().unwrap())).collect();
    let (id_wrong, id_grant) = (json!("wrong"), json!("grant"));
    assert_eq!(brief[0], (1, &id_wrong, "value_invalid"));
    assert_eq!((brief[1].0, brief[1].2), (2, "json_invalid"));
    assert_eq!((brief[2].0, brief[2].1), (3, &Value::Null));
    assert_eq!(brief[3], (4, &id_grant, "type_reserved"));
    assert_eq!(brief.len(), 4);
    assert_eq!(rejected[0]["field"], "data.actor");
    let keys: Vec<_> = rejected[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["code", "field", "id", "index", "message"]);
    assert_eq!(served.ids().await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_that_do_not_parse_are_named_and_the_others_are_taken() {
    let served = Served::start(Settings::default()).await;
    let body = format!("[{}, {{\"a\" 1}}, 7, {}]", event("a"), event("b"));
    let (status, answer) = served.send(BATCH, body).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)));
    let indexes: Vec<_> = answer["rejected"].as_array().unwrap().iter().map(|r| r["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_valid_event_is_422_with_the_same_body() {
    let served = Served::start(Settings::default()).await;
    let (status, answer) = served.send(ONE, "{}").await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"][0]["index"]), (422, &json!(0), &json!(0)));
    for (content_type, body) in [(BATCH, "[]"), (LINES, ""), (LINES, "\n\r\n")] {
        assert_eq!(served.send(content_type, body).await, (422, json!({"accepted": 0, "rejected": []})), "{body:?}");
    }
    assert_eq!(served.send(ONE, "").await.0, 422);
    assert!(served.ids().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_framing_is_400_and_nothing_of_it_is_recorded() {
    let served = Served::start(Settings::default()).await;
    let cut = format!("[{},", event("a"));
    let not_utf8 = [lines(0..3).as_bytes(), b"\"\xff\"\n", lines(4..5).as_bytes()].concat();
    assert_eq!(code(&served.send(BATCH, cut).await), (400, "not_an_array"));
    assert_eq!(code(&served.send(BATCH, event("a").to_string()).await), (400, "not_an_array"));
    let answer = served.send(LINES, not_utf8).await;
    assert_eq!(code(&answer), (400, "not_utf8"));
    assert!(answer.1["detail"].as_str().unwrap().contains("event 3"), "{}", answer.1);
    assert_eq!(code(&served.send(LINES, format!("\u{feff}{}", lines(0..1))).await), (400, "byte_order_mark"));
    let whole = gzip(lines(0..100).as_bytes());
    assert_eq!(code(&served.send_coded(LINES, "gzip", whole[..whole.len() / 2].to_vec()).await), (400, "bad_compression"));
    assert_eq!(code(&served.send_coded(LINES, "zstd", whole).await), (400, "bad_compression"));
    assert_eq!(code(&served.send_coded(LINES, "gzip", lines(0..1).into_bytes()).await), (400, "bad_compression"));
    // In the last block of many, so that the first were parsed long before.
    let late = [lines(0..3000).as_bytes(), b"\xff"].concat();
    let answer = served.send(LINES, late).await;
    assert_eq!(code(&answer), (400, "not_utf8"));
    assert!(answer.1["detail"].as_str().unwrap().contains("event 3000"), "{}", answer.1);
    assert!(served.ids().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_zstd_are_taken_also_in_several_members() {
    let served = Served::start(Settings::default()).await;
    let two = [gzip(lines(0..40).as_bytes()), gzip(lines(40..50).as_bytes())].concat();
    assert_eq!(served.send_coded(LINES, "gzip", two).await.1["accepted"], 50);
    let two = [zstd(lines(50..90).as_bytes()), zstd(lines(90..100).as_bytes())].concat();
    assert_eq!(served.send_coded(LINES, "zstd", two).await.1["accepted"], 50);
    let batch = json!([event("100")]).to_string();
    assert_eq!(served.send_coded(BATCH, "ZSTD", zstd(batch.as_bytes())).await.1["accepted"], 1);
    assert_eq!(served.ids().await.len(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_type_or_encoding_is_415() {
    let served = Served::start(Settings::default()).await;
    for content_type in ["application/json", "text/plain", "application/x-ndjson; charset=latin1"] {
        assert_eq!(code(&served.send(content_type, lines(0..1)).await), (415, "content_type_unsupported"), "{content_type}");
    }
    for encoding in ["br", "gzip, gzip", "deflate"] {
        assert_eq!(code(&served.send_coded(LINES, encoding, vec![]).await), (415, "content_encoding_unsupported"));
    }
    let other = reqwest::Client::builder().no_proxy().build().unwrap().get(&served.url).send().await.unwrap();
    assert_eq!(other.headers()["allow"], "POST");
    assert_eq!(code(&read(other).await), (405, "method_not_allowed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_taken_and_one_more_is_413() {
    let served = Served::start(Settings::default()).await;
    assert_eq!(code(&served.send(LINES, lines(0..10_001)).await), (413, "too_many_events"));
    assert_eq!(code(&served.send(LINES, "{}\n".repeat(5_000_000)).await), (413, "too_many_events"));
    let array = format!("[{}{}]", "{},".repeat(10_000), "{}");
    assert_eq!(code(&served.send(BATCH, array).await), (413, "too_many_events"));
    assert!(served.ids().await.is_empty());
    assert_eq!(served.send(LINES, lines(0..10_000)).await, (200, json!({"accepted": 10_000, "rejected": []})));
    let ids = served.ids().await;
    assert!(ids.iter().enumerate().all(|(i, id)| *id == format!("{i:05}")) && ids.len() == 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bytes_and_bombs_are_413() {
    let served = Served::start(Settings::default()).await;
    let large = || vec![b' '; (16 << 20) + 1];
    assert_eq!(code(&served.send(ONE, large()).await), (413, "request_too_large"));
    let streamed = reqwest::Body::wrap_stream(futures::stream::iter((0..300).map(|_| Ok::<_, String>(vec![b' '; 64 << 10]))));
    assert_eq!(code(&served.send(LINES, streamed).await), (413, "request_too_large"), "also without a length");
    let zeros = vec![b'\n'; 200 << 20];
    assert_eq!(code(&served.send_coded(LINES, "gzip", gzip(&zeros)).await), (413, "request_too_large"));
    assert_eq!(code(&served.send_coded(LINES, "zstd", zstd(&zeros)).await), (413, "request_too_large"));
    assert_eq!(served.send(LINES, vec![b' '; 16 << 20]).await.0, 422, "as large as allowed");
    // Too large for one event, not for a request.
    let mut huge = event("huge");
    huge["source"] = json!("x".repeat(300_000));
    let (status, answer) = served.send(LINES, format!("{}\n{huge}\n", event("a"))).await;
    assert_eq!(
        (status, &answer["rejected"][0]["code"], &answer["rejected"][0]["id"]),
        (200, &json!("too_large"), &json!("huge"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_frame_with_a_huge_window_is_refused() {
    let served = Served::start(Settings::default()).await;
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(lines(0..1000).as_bytes()).unwrap();
    let frame = encoder.finish().unwrap();
    assert_eq!(code(&served.send_coded(LINES, "zstd", frame).await), (400, "bad_compression"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_window_is_checked_where_it_is_switched_on() {
    let served = Served::start(Settings { time_window: true, ..Settings::default() }).await;
    let mut old = event("old");
    old["time"] = json!("2026-09-24T11:59:59Z");
    let (status, answer) = served.send(BATCH, json!([event("a"), old]).to_string()).await;
    let rejected = &answer["rejected"][0];
    assert_eq!((status, &rejected["index"], &rejected["code"]), (200, &json!(1), &json!("time_out_of_window")));
    let dev = Served::start(Settings::default()).await;
    assert_eq!(dev.send(ONE, old.to_string()).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_write_is_503_and_the_door_goes_on_when_it_can() {
    let settings = Settings { append_timeout: std::time::Duration::from_secs(2), ..Settings::default() };
    let served = Served::start(settings).await;
    for (fault, retry_after) in [(Fault::Full, "2"), (Fault::Hangs, "2"), (Fault::Closed, "30")] {
        served.set_fault(fault);
        let response = served.post(LINES, lines(0..3)).send().await.unwrap();
        assert_eq!(response.headers()["retry-after"], retry_after);
        assert_eq!(code(&read(response).await), (503, "log_unavailable"));
        assert_eq!(served.send(ONE, "{}").await.0, 422, "a request without valid events needs no log");
    }
    served.set_fault(Fault::None);
    assert_eq!(served.send(LINES, lines(0..3)).await.0, 200);
    assert_eq!(served.ids().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limits_are_503_at_once_and_room_comes_back() {
    let settings = Settings { in_flight_requests_max: 3, ..Settings::default() };
    let served = Served::start(settings).await;
    served.set_fault(Fault::Hangs);
    let hanging: Vec<_> = (0..3).map(|i| tokio::spawn(served.post(LINES, lines(i..i + 1)).send())).collect();
    while served.door.metrics().in_flight.get() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(code(&served.send(LINES, lines(9..10)).await), (503, "overloaded"));
    hanging.into_iter().for_each(|request| request.abort());
    served.set_fault(Fault::None);
    // The server notices that the senders are gone.
    while served.send(LINES, lines(9..10)).await.0 != 200 {
        tokio::task::yield_now().await;
    }

    let served = Served::start(Settings { in_flight_bytes_max: 64 << 10, ..Settings::default() }).await;
    assert_eq!(code(&served.send(LINES, lines(0..1000)).await), (503, "overloaded"));
    assert_eq!(served.send(LINES, lines(0..10)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_of_every_kind_lose_nothing() {
    let served = Served::start(Settings::default()).await;
    let mut requests = Vec::new();
    for i in 0..24_usize {
        let body = lines(i * 700..(i + 1) * 700);
        let request = match i % 4 {
            0 => served.post(LINES, body),
            1 => served.post(BATCH, format!("[{}]", body.trim_end().replace('\n', ","))),
            2 => served.post(LINES, gzip(body.as_bytes())).header("content-encoding", "gzip"),
            _ => {
                let pieces: Vec<_> = body.into_bytes().chunks(999).map(|piece| Ok::<_, String>(piece.to_vec())).collect();
                served.post(LINES, reqwest::Body::wrap_stream(futures::stream::iter(pieces)))
            }
        };
        requests.push(tokio::spawn(request.send()));
    }
    for request in requests {
        let (status, answer) = read(request.await.unwrap().unwrap()).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(700)), "{answer}");
    }
    let ids = served.ids().await;
    assert!(ids.len() == 24 * 700 && ids.iter().enumerate().all(|(i, id)| *id == format!("{i:05}")));
    let metrics = served.door.metrics();
    assert_eq!((metrics.accepted.get(), metrics.in_flight.get()), (24 * 700, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_of_other_sites_are_refused() {
    let served = Served::start(Settings::default()).await;
    let foreign = served.post(ONE, event("a").to_string()).header("origin", "https://example.com").send().await.unwrap();
    assert_eq!(code(&read(foreign).await), (403, "origin_foreign"));
    let rebound = served.post(ONE, event("a").to_string()).header("host", "example.com").send().await.unwrap();
    assert_eq!(code(&read(rebound).await), (403, "host_not_loopback"));
    let own = served.post(ONE, event("a").to_string()).header("origin", format!("http://{}", served.address));
    assert_eq!(read(own.send().await.unwrap()).await.0, 200);
    assert_eq!(served.ids().await, ["a"]);
}
