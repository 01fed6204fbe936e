//! The client against a server that answers everything, and nothing.

#![allow(clippy::unwrap_used)]

mod forge;
mod stub;

use std::time::{Duration, Instant};

use bytes::Bytes;
use eigenda_client::certificate::{CERTIFICATE_BYTES_MAX, Mode};
use eigenda_client::payload::PAYLOAD_BYTES_MAX;
use eigenda_client::proxy::{ANSWER_BYTES_MAX, EXPLANATION_BYTES_MAX, Form, Get, Verdict};
use eigenda_client::{Certificate, Proxy, ProxyError};
use stub::{Behaviour, Stub};
use tokio::net::TcpListener;

const PATIENT: Duration = Duration::from_secs(20);
const IMPATIENT: Duration = Duration::from_secs(2);

fn proxy(base: &str) -> Proxy {
    Proxy::new(base, Duration::from_secs(5)).unwrap()
}

fn certificate(bytes: Vec<u8>) -> Certificate {
    Certificate::read(Bytes::from(bytes)).unwrap()
}

async fn put(behaviour: Behaviour, timeout: Duration) -> (Result<Certificate, ProxyError>, Stub) {
    let stub = Stub::start(behaviour).await;
    (proxy(&stub.url()).put(Bytes::from_static(b"payload"), timeout).await, stub)
}

async fn get(behaviour: Behaviour, timeout: Duration) -> (Result<Bytes, ProxyError>, Stub) {
    let stub = Stub::start(behaviour).await;
    let certificate = certificate(forge::standard(2));
    let get = Get { certificate: &certificate, form: Form::Payload, l1_inclusion_block: None, timeout };
    (proxy(&stub.url()).get(&get).await, stub)
}

fn answer(status: u16, body: &[u8]) -> Behaviour {
    Behaviour::Answer(status, body.to_vec())
}

#[tokio::test]
async fn a_payload_is_sent_once_and_its_certificate_kept_verbatim() {
    for version in 1..=3 {
        let bytes = forge::standard(version);
        let (put, stub) = put(answer(200, &bytes), PATIENT).await;
        assert_eq!(put.unwrap().as_bytes(), &bytes);
        let [request] = &stub.requests()[..] else { panic!("one request") };
        assert_eq!(request.line, "POST /put?commitment_mode=standard HTTP/1.1");
        assert_eq!(request.body, b"payload");
    }
}

#[tokio::test]
async fn a_path_of_the_address_is_kept() {
    let stub = Stub::start(answer(200, b"")).await;
    for base in ["", "/", "/da", "/da/"] {
        proxy(&format!("{}{base}", stub.url())).health(PATIENT).await.unwrap();
    }
    let lines = stub.requests().into_iter().map(|request| request.line).collect::<Vec<_>>();
    let [root, deeper] = ["GET /health HTTP/1.1", "GET /da/health HTTP/1.1"];
    assert_eq!(lines, [root, root, deeper, deeper]);
}

#[tokio::test]
async fn a_payload_is_asked_for_by_the_whole_certificate() {
    let stub = Stub::start(answer(200, b"payload")).await;
    let proxy = proxy(&stub.url());
    let cases = [
        (forge::standard(3), Form::Payload, None, "?commitment_mode=standard"),
        (
            forge::standard(2),
            Form::Encoded,
            Some(17),
            "?commitment_mode=standard&l1_inclusion_block_number=17&return_encoded_payload=true",
        ),
        (forge::op_generic(2), Form::Payload, None, ""),
        (forge::op_generic(2), Form::Payload, Some(u64::MAX), "?l1_inclusion_block_number=18446744073709551615"),
    ];
    for (bytes, form, l1_inclusion_block, query) in cases {
        let certificate = certificate(bytes);
        let get = Get { certificate: &certificate, form, l1_inclusion_block, timeout: PATIENT };
        assert_eq!(proxy.get(&get).await.unwrap(), "payload");
        let last = stub.requests().pop().unwrap();
        assert_eq!(last.line, format!("GET /get/0x{}{query} HTTP/1.1", certificate.to_hex()));
    }
}

#[tokio::test]
async fn the_longest_certificate_fits_a_url() {
    let stub = Stub::start(answer(200, b"payload")).await;
    let filling = forge::Item::List(vec![forge::bytes(&vec![9; CERTIFICATE_BYTES_MAX - 7])]).encode();
    let certificate = certificate([vec![3], filling].concat());
    assert_eq!(certificate.as_bytes().len(), CERTIFICATE_BYTES_MAX);
    let get = Get { certificate: &certificate, form: Form::Encoded, l1_inclusion_block: Some(u64::MAX), timeout: PATIENT };
    assert_eq!(proxy(&stub.url()).get(&get).await.unwrap(), "payload");
}

#[tokio::test]
async fn every_status_says_what_to_do() {
    let said = || "said so".to_owned();
    let cases = [
        (400, ProxyError::Rejected { message: said() }),
        (413, ProxyError::TooLarge { message: said() }),
        (429, ProxyError::Busy { message: said() }),
        (500, ProxyError::Failed { message: said() }),
        (503, ProxyError::FailOver { message: said() }),
    ];
    let others = [201, 204, 301, 307, 403, 404, 405, 418, 502, 504];
    let others = others.map(|status| (status, ProxyError::Unexpected { status, message: said() }));
    for (status, expected) in cases.into_iter().chain(others) {
        // 204 has no body.
        let expected = match expected {
            ProxyError::Unexpected { status: 204, .. } => ProxyError::Unexpected { status: 204, message: String::new() },
            expected => expected,
        };
        let (put, stub) = put(answer(status, b" said\nso "), PATIENT).await;
        assert_eq!(put.unwrap_err(), expected);
        assert_eq!(stub.connections(), 1, "{status} is not tried again");
        let (get, stub) = get(answer(status, b" said\nso "), PATIENT).await;
        assert_eq!(get.unwrap_err(), expected);
        assert_eq!(stub.connections(), 1, "{status} is not tried again");
    }
}

#[tokio::test]
async fn a_bad_certificate_is_bad_only_by_the_proxys_own_word() {
    let verdicts = [
        (1, Verdict::Unparsable),
        (2, Verdict::NotRecent),
        (3, Verdict::Invalid),
        (4, Verdict::Undecodable),
        (9, Verdict::Other(9)),
    ];
    for (code, verdict) in verdicts {
        let body = format!("{{\"StatusCode\":{code},\"Msg\":\"so it is\"}}\n");
        let (get, _) = get(answer(418, body.as_bytes()), PATIENT).await;
        assert_eq!(get.unwrap_err(), ProxyError::BadCertificate { verdict, message: "so it is".to_owned() });
    }
    for body in ["", "I'm a teapot", "{}", "{\"StatusCode\":300}", "{\"StatusCode\":\"3\"}", "null", "[3]x"] {
        let (get, _) = get(answer(418, body.as_bytes()), PATIENT).await;
        assert!(matches!(get.unwrap_err(), ProxyError::Unexpected { status: 418, .. }), "{body}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer = "HTTP/1.1 307 x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let (put, stub) = put(Behaviour::Bare(answer), PATIENT).await;
    assert!(matches!(put.unwrap_err(), ProxyError::Unexpected { status: 307, .. }));
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn nothing_is_sent_where_nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = proxy(&format!("http://{address}"));
    let put = proxy.put(Bytes::from_static(b"payload"), PATIENT).await;
    assert!(matches!(put.unwrap_err(), ProxyError::NotSent { .. }));
    assert!(matches!(proxy.health(PATIENT).await.unwrap_err(), ProxyError::NotSent { .. }));
}

#[tokio::test]
async fn a_certificate_that_does_not_arrive_leaves_the_outcome_unknown() {
    let bytes = forge::standard(3);
    let cases = [
        (Behaviour::Silent, IMPATIENT),
        (Behaviour::Closed, PATIENT),
        (Behaviour::Slammed, PATIENT),
        (Behaviour::Noise, PATIENT),
        (Behaviour::Truncated(bytes.clone(), 0), PATIENT),
        (Behaviour::Truncated(bytes.clone(), bytes.len() - 1), PATIENT),
        (Behaviour::Slow(bytes, Duration::from_millis(50)), IMPATIENT),
        (Behaviour::Endless, PATIENT),
    ];
    for (behaviour, timeout) in cases {
        let (put, stub) = put(behaviour.clone(), timeout).await;
        let error = put.unwrap_err();
        assert!(matches!(error, ProxyError::OutcomeUnknown { .. }), "{behaviour:?}: {error}");
        assert_eq!(stub.connections(), 1, "{behaviour:?} is not tried again");
    }
}

#[tokio::test]
async fn a_payload_that_does_not_arrive_may_be_asked_for_again() {
    let cases = [
        (Behaviour::Silent, IMPATIENT),
        (Behaviour::Closed, PATIENT),
        (Behaviour::Slammed, PATIENT),
        (Behaviour::Noise, PATIENT),
        (Behaviour::Truncated(vec![1; 100], 0), PATIENT),
        (Behaviour::Truncated(vec![1; 100], 99), PATIENT),
        (Behaviour::Slow(vec![1; 100], Duration::from_millis(50)), IMPATIENT),
    ];
    for (behaviour, timeout) in cases {
        let (get, stub) = get(behaviour.clone(), timeout).await;
        let error = get.unwrap_err();
        assert!(matches!(error, ProxyError::Interrupted { .. }), "{behaviour:?}: {error}");
        assert_eq!(stub.connections(), 1, "{behaviour:?} is not tried again");
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_only() {
    let (endless, _) = get(Behaviour::Endless, PATIENT).await;
    assert_eq!(endless.unwrap_err(), ProxyError::AnswerTooLong { bytes_max: ANSWER_BYTES_MAX });
    let started = Instant::now();
    let announced = "HTTP/1.1 200 x\r\ncontent-length: 16777217\r\n\r\n";
    let (announced, _) = get(Behaviour::Bare(announced), PATIENT).await;
    assert_eq!(announced.unwrap_err(), ProxyError::AnswerTooLong { bytes_max: ANSWER_BYTES_MAX });
    assert!(started.elapsed() < PATIENT, "the announcement is enough");
    let (largest, _) = get(Behaviour::Answer(200, vec![5; ANSWER_BYTES_MAX]), PATIENT).await;
    assert_eq!(largest.unwrap().len(), ANSWER_BYTES_MAX);
}

#[tokio::test]
async fn the_status_counts_whatever_becomes_of_its_explanation() {
    let (long, _) = get(Behaviour::Answer(503, vec![b'x'; EXPLANATION_BYTES_MAX + 1]), PATIENT).await;
    assert!(matches!(long.unwrap_err(), ProxyError::FailOver { message } if message.starts_with("(no explanation")));
    let cut = "HTTP/1.1 429 x\r\ncontent-length: 10\r\n\r\nbusy";
    let (cut, _) = put(Behaviour::Bare(cut), PATIENT).await;
    assert!(matches!(cut.unwrap_err(), ProxyError::Busy { .. }));
    let (binary, _) = get(answer(500, b"\xff\x00\x1b[31mred"), PATIENT).await;
    assert_eq!(binary.unwrap_err(), ProxyError::Failed { message: "\u{fffd}  [31mred".to_owned() });
    let (long, _) = get(Behaviour::Answer(500, vec![b'x'; EXPLANATION_BYTES_MAX]), PATIENT).await;
    assert!(matches!(long.unwrap_err(), ProxyError::Failed { message } if message.len() == 1000));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_kept() {
    let later = [&[4][..], &forge::standard(3)[1..]].concat();
    for bytes in [later, forge::op_generic(2), b"<html>".to_vec(), Vec::new()] {
        let (put, _) = put(answer(200, &bytes), PATIENT).await;
        match put.unwrap_err() {
            ProxyError::Unreadable { bytes: kept, .. } => assert_eq!(kept, bytes),
            other => panic!("{other}"),
        }
    }
    assert_eq!(certificate(forge::op_generic(2)).mode(), Mode::OpGeneric, "it is not bad, only not what was asked for");
}

#[tokio::test]
async fn a_payload_that_no_blob_holds_is_not_sent() {
    let stub = Stub::start(answer(200, &forge::standard(2))).await;
    let proxy = proxy(&stub.url());
    let empty = proxy.put(Bytes::new(), PATIENT).await.unwrap_err();
    assert!(matches!(empty, ProxyError::Rejected { .. }));
    let large = proxy.put(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]), PATIENT).await.unwrap_err();
    assert!(matches!(large, ProxyError::TooLarge { .. }));
    assert_eq!(stub.connections(), 0);
    proxy.put(Bytes::from(vec![0; PAYLOAD_BYTES_MAX]), PATIENT).await.unwrap();
    assert_eq!(stub.requests()[0].body.len(), PAYLOAD_BYTES_MAX);
}

#[test]
fn an_address_is_one_of_http() {
    for wrong in ["", "127.0.0.1:3100", "ftp://127.0.0.1", "http://", "mailto:a@b"] {
        assert!(matches!(Proxy::new(wrong, PATIENT), Err(ProxyError::Settings { .. })), "{wrong}");
    }
}

#[tokio::test]
async fn no_password_and_no_certificate_is_in_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = proxy(&format!("http://user:secret@{address}"));
    let certificate = certificate(forge::standard(2));
    let get = Get { certificate: &certificate, form: Form::Payload, l1_inclusion_block: None, timeout: PATIENT };
    let error = proxy.get(&get).await.unwrap_err();
    assert!(matches!(error, ProxyError::NotSent { .. }));
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("secret") && !text.contains(&certificate.to_hex()), "{text}");
    }
}
