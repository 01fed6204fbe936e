//! Senders that are slow, go away, or wait for leave to send.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{LINES, Served, lines};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tributary_ingest::Settings;

fn head(served: &Served, length: usize, more: &str) -> String {
    let host = served.address;
    format!("POST /v1/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: {LINES}\r\nContent-Length: {length}\r\n{more}\r\n")
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&text).contains('}') {
            if stream.read_buf(&mut text).await.unwrap() == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("an answer comes");
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_falls_silent_gets_408_and_its_place_is_free_again() {
    let settings = Settings { body_idle_timeout: Duration::from_millis(100), in_flight_requests_max: 1, ..Settings::default() };
    let served = Served::start(settings).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head(&served, 1000, "").as_bytes()).await.unwrap();
    stream.write_all(b"{").await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
    assert_eq!(served.send(LINES, lines(0..1)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_drips_gets_408_in_the_end() {
    let settings = Settings { body_timeout: Duration::from_millis(300), ..Settings::default() };
    let served = Served::start(settings).await;
    let (mut reading, mut writing) = TcpStream::connect(served.address).await.unwrap().into_split();
    writing.write_all(head(&served, 100_000, "").as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await
        }
    });
    let mut text = vec![0; 12];
    tokio::time::timeout(Duration::from_secs(30), reading.read_exact(&mut text)).await.unwrap().unwrap();
    assert_eq!(text, b"HTTP/1.1 408");
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_off_is_not_recorded() {
    let served = Served::start(Settings::default()).await;
    let body = lines(0..10);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head(&served, body.len() + 100, "").as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    while served.door.metrics().in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while served.door.metrics().in_flight.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(served.ids().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_waits_for_leave_is_told_to_go_on_or_refused_without_sending() {
    let served = Served::start(Settings::default()).await;
    let body = lines(0..1);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head(&served, body.len(), "Expect: 100-continue\r\n").as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));

    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head(&served, 17 << 20, "Expect: 100-continue\r\n").as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413"), "refused by its length alone");
}
