//! A measurement: `cargo test --release -p tributary-ingest --test throughput -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use common::{LINES, Served};
use tributary_ingest::Settings;

const EVENTS_PER_REQUEST: usize = 500;
const SENDERS: usize = 8;
const ROUNDS: usize = 4;

/// The recorded flywheel in requests of 500 lines.
fn requests() -> Vec<Bytes> {
    let mut requests = Vec::new();
    for epoch in 1..=3 {
        let path = format!("{}/../examples/flywheel/epoch-{epoch}.ndjson.zst", env!("CARGO_MANIFEST_DIR"));
        let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
        let lines: Vec<_> = text.split_inclusive(|b| *b == b'\n').collect();
        requests.extend(lines.chunks(EVENTS_PER_REQUEST).map(|lines| Bytes::from(lines.concat())));
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a check"]
async fn events_per_second_from_the_door_until_durable() {
    let served = Arc::new(Served::start(Settings::default()).await);
    let requests = Arc::new(requests());
    let started = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let (served, requests) = (Arc::clone(&served), Arc::clone(&requests));
        tokio::spawn(async move {
            let mut sent = (0, 0);
            for _ in 0..ROUNDS {
                for request in requests.iter().skip(sender).step_by(SENDERS) {
                    let (status, answer) = served.send(LINES, request.clone()).await;
                    assert_eq!(status, 200, "{answer}");
                    sent = (sent.0 + answer["accepted"].as_u64().unwrap(), sent.1 + request.len());
                }
            }
            sent
        })
    });
    let (mut events, mut bytes) = (0, 0);
    for sender in senders.collect::<Vec<_>>() {
        let sent = sender.await.unwrap();
        (events, bytes) = (events + sent.0, bytes + sent.1);
    }
    let seconds = started.elapsed().as_secs_f64();
    let (rate, megabytes) = (events as f64 / seconds, bytes as f64 / seconds / 1e6);
    println!("{events} events, {bytes} bytes in {seconds:.2} s: {rate:.0} events/s, {megabytes:.0} MB/s, sender included");
}
