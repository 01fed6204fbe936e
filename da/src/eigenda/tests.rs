//! The client against a proxy that answers everything, and nothing.
#![allow(clippy::unwrap_used)]

use super::stub::{Answer, Stub, certificate};
use super::*;
use crate::fixture::SlowClock;

struct Scene {
    stub: Stub,
    clock: Arc<SlowClock>,
    client: EigenDa,
}

impl Scene {
    async fn new() -> Self {
        let (stub, clock) = (Stub::start().await, SlowClock::new());
        let client = client(&stub.url(), &clock);
        Self { stub, clock, client }
    }

    async fn put(&self, answer: Answer) -> DaError {
        self.stub.on_put(answer);
        self.client.disperse(payload()).await.unwrap_err()
    }

    async fn get(&self, certificate: &Certificate, answer: Answer) -> DaError {
        self.stub.on_get(answer);
        self.client.retrieve(&certificate.wanted()).await.unwrap_err()
    }

    fn counts(&self) -> (u64, u64, u64) {
        let metrics = &self.client.metrics;
        (metrics.puts.get(), metrics.outcomes_unknown.get(), metrics.possibly_paid.get())
    }

    /// Symbols billed, and those that may be.
    fn symbols(&self) -> (u64, u64) {
        (self.client.metrics.symbols_billed.get(), self.client.metrics.symbols_possibly_billed.get())
    }
}

fn client(url: &str, clock: &Arc<SlowClock>) -> EigenDa {
    let settings = EigenDaSettings {
        connect_timeout: Duration::from_secs(1),
        put_timeout: Duration::from_secs(3),
        get_timeout: Duration::from_secs(3),
        ..EigenDaSettings::new(url)
    };
    EigenDa::new(settings, Committer::shipped(), clock.clone(), BackendMetrics::default()).unwrap()
}

fn payload() -> Bytes {
    Bytes::from(vec![9; 3000])
}

fn status(code: u16) -> Answer {
    Answer::Status(code, b"no".to_vec())
}

#[tokio::test]
async fn a_certificate_is_kept_as_it_came_with_our_own_commitment_and_expiry() {
    let scene = Scene::new().await;
    let given = scene.client.disperse(payload()).await.unwrap();
    assert_eq!(given.bytes, certificate(&payload(), 1));
    assert_eq!(given.commitment, Committer::shipped().commit(&payload()).await.unwrap().bytes());
    assert_eq!((given.backend.as_str(), given.content_hash), ("eigenda", keccak256(payload())));
    let kept = given.expires_at.unwrap().micros() - given.certified_at.micros();
    let two_weeks = i64::try_from(RETENTION.as_micros()).unwrap();
    assert!((two_weeks - 10..=two_weeks).contains(&kept), "{kept}: counted from before it was sent");
    assert_eq!(scene.client.retrieve(&given.wanted()).await.unwrap(), payload());
    assert_eq!((scene.counts(), scene.symbols()), ((1, 0, 0), (4096, 0)), "no blob costs less");
}

#[tokio::test]
async fn every_failure_of_a_dispersal_says_what_to_do_and_what_may_be_paid_is_counted() {
    let scene = Scene::new().await;
    // Status, code of the error, and whether it may be paid.
    let cases = [
        (400, "da_rejected", false),
        (201, "da_outcome_unknown", true),
        (302, "da_outcome_unknown", true),
        (401, "da_backend_down", false),
        (403, "da_backend_down", false),
        (404, "da_backend_down", false),
        (408, "da_outcome_unknown", true),
        (418, "da_outcome_unknown", true),
        (413, "da_rejected", false),
        (429, "da_unavailable", false),
        (500, "da_backend_down", true),
        (502, "da_outcome_unknown", true),
        (503, "da_backend_down", true),
        (504, "da_outcome_unknown", true),
    ];
    for (code, expected, paid) in cases {
        let before = scene.counts().2;
        let error = scene.put(status(code)).await;
        assert_eq!((error.code(), scene.counts().2 - before), (expected, u64::from(paid)), "{code}: {error}");
    }
    for answer in [Answer::Lost, Answer::Silent] {
        let before = scene.counts();
        let error = scene.put(answer).await;
        assert_eq!(error.code(), "da_outcome_unknown", "{error}");
        assert_eq!((scene.counts().1 - before.1, scene.counts().2 - before.2), (1, 1));
    }
    assert_eq!(scene.stub.paid(), 2, "both were stored");
    assert_eq!(scene.symbols(), (0, 4096 * scene.counts().2));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_down_and_nothing_is_paid() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = client(&format!("http://{address}"), &SlowClock::new());
    let error = client.disperse(payload()).await.unwrap_err();
    assert_eq!((error.code(), client.metrics.possibly_paid.get()), ("da_backend_down", 0), "{error}");
    assert!(matches!(
        EigenDa::new(EigenDaSettings::new("no address"), Committer::shipped(), SlowClock::new(), BackendMetrics::default()),
        Err(DaError::Reject { .. })
    ));
}

#[tokio::test]
async fn a_certificate_of_another_payload_or_none_at_all_is_not_taken_and_counted() {
    let scene = Scene::new().await;
    let error = scene.put(Answer::Status(200, certificate(b"another", 1))).await;
    assert!(matches!(&error, DaError::Corrupt { object, .. } if object.starts_with("certificate 0x")), "{error}");
    let same_size = certificate(&[8; 3000], 1);
    assert_eq!(scene.put(Answer::Status(200, same_size)).await.code(), "da_corrupt");
    let error = scene.put(Answer::Status(200, b"\x07no certificate".to_vec())).await;
    assert!(error.code() == "da_rejected" && error.to_string().contains("0x076e6f20"), "its bytes are kept: {error}");
    let error = scene.put(Answer::Status(200, Vec::new())).await;
    assert_eq!(error.code(), "da_outcome_unknown", "there are no bytes to keep: {error}");
    assert_eq!(scene.counts().2, 4, "all of them may be paid for");
}

#[tokio::test]
async fn expired_and_down_are_told_apart_by_our_own_record() {
    let scene = Scene::new().await;
    let given = scene.client.disperse(payload()).await.unwrap();
    scene.stub.forget();
    assert_eq!(scene.client.retrieve(&given.wanted()).await.unwrap_err().code(), "da_unavailable", "it should be there");
    scene.clock.advance(RETENTION);
    let error = scene.client.retrieve(&given.wanted()).await.unwrap_err();
    assert!(matches!(error, DaError::Expired { at, .. } if Some(at) == given.expires_at), "{error}");
    // Whatever else is wrong is no sign of that.
    assert_eq!(scene.get(&given, status(503)).await.code(), "da_unavailable");
}

#[tokio::test]
async fn every_failure_of_a_retrieval_says_what_to_do() {
    let scene = Scene::new().await;
    let given = scene.client.disperse(payload()).await.unwrap();
    let teapot = |code: u8| Answer::Status(418, format!("{{\"StatusCode\":{code},\"Msg\":\"bad\"}}").into_bytes());
    for (answer, expected) in [
        (status(204), "da_unavailable"),
        (status(302), "da_unavailable"),
        (status(400), "da_unavailable"),
        (status(401), "da_unavailable"),
        (status(403), "da_unavailable"),
        (status(404), "da_unavailable"),
        (status(408), "da_unavailable"),
        (status(418), "da_unavailable"),
        (Answer::Status(200, Vec::new()), "da_corrupt"),
        (teapot(1), "da_rejected"),
        (teapot(3), "da_rejected"),
        (status(429), "da_unavailable"),
        (status(500), "da_unavailable"),
        (status(502), "da_unavailable"),
        (status(503), "da_unavailable"),
        (Answer::Lost, "da_unavailable"),
        (Answer::Silent, "da_unavailable"),
        (Answer::Status(200, b"another payload".to_vec()), "da_corrupt"),
        (Answer::Status(200, payload()[..2999].to_vec()), "da_corrupt"),
    ] {
        let error = scene.get(&given, answer.clone()).await;
        assert_eq!(error.code(), expected, "{answer:?}: {error}");
    }
    let local = crate::fixture::World::new(1).await.client().disperse(payload()).await.unwrap();
    for wrong in [Bytes::from_static(b"\x03"), Bytes::new(), local.bytes] {
        let error = scene.client.retrieve(&Wanted { certificate: wrong, ..given.wanted() }).await.unwrap_err();
        assert_eq!(error.code(), "da_rejected", "{error}");
    }
    assert_eq!(scene.client.retrieve(&given.wanted()).await.unwrap(), payload());
}

#[tokio::test]
async fn a_payload_that_cannot_be_committed_to_is_never_sent() {
    let scene = Scene::new().await;
    for bytes in [0, scene.client.payload_bytes_max() + 1] {
        let error = scene.client.disperse(Bytes::from(vec![1; bytes])).await.unwrap_err();
        assert_eq!(error.code(), "da_rejected", "{error}");
    }
    assert_eq!(scene.counts().0, 0);
}
