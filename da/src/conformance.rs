//! One suite that every [`DaClient`] passes, and every combination of them.
//!
//! A backend's test calls [`run`] with a factory of its clients. The suite panics, as tests do, at the first promise that does
//! not hold, and says which. It forgives what the trait allows: a backend may fail for a while, as long as it says so.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use tributary_schemas::units::keccak256;

use crate::client::{Certificate, DaClient, Wanted};
use crate::committer::Committer;
use crate::error::DaError;

/// How often one call is made before the suite calls a backend dead.
const TRIES_MAX: u32 = 50;
/// Bytes in one symbol of a blob.
const SYMBOL: usize = 31;

/// Makes clients for the suite.
#[async_trait]
pub trait Factory: Send + Sync {
    /// A client of the network of this name; another one of the same name finds what this one has published.
    async fn open(&self, name: &str) -> Arc<dyn DaClient>;
}

/// Checks every promise of [`DaClient`]. Panics at the first that does not hold.
pub async fn run(factory: &dyn Factory) {
    a_payload_comes_back_byte_by_byte(factory).await;
    payloads_around_the_sizes_of_blobs_come_back(factory).await;
    a_certificate_says_what_was_dispersed(factory).await;
    a_commitment_is_that_of_the_payload(factory).await;
    a_payload_may_be_dispersed_again(factory).await;
    another_client_retrieves_by_the_certificate_alone(factory).await;
    many_at_once_are_kept_apart(factory).await;
    no_payload_and_one_too_large_are_refused_for_good(factory).await;
    a_changed_certificate_gives_no_other_payload(factory).await;
    a_certificate_of_nothing_gives_nothing(factory).await;
}

async fn a_payload_comes_back_byte_by_byte(factory: &dyn Factory) {
    let client = factory.open("bytes").await;
    let every_byte: Vec<u8> = (0..=255).collect();
    for payload in [every_byte, vec![0], vec![0; 100], vec![0xff; 100], b"ends with zeros\0\0\0".to_vec()] {
        round_trip(&*client, Bytes::from(payload)).await;
    }
}

async fn payloads_around_the_sizes_of_blobs_come_back(factory: &dyn Factory) {
    let client = factory.open("sizes").await;
    for symbols in [2, 4, 32, 256] {
        let full = (symbols - 1) * SYMBOL;
        for bytes in [full - 1, full, full + 1] {
            round_trip(&*client, numbered(bytes, symbols)).await;
        }
    }
}

async fn a_certificate_says_what_was_dispersed(factory: &dyn Factory) {
    let client = factory.open("says").await;
    assert!(client.serves(client.backend()), "a backend serves what it certified");
    let payload = numbered(1000, 1);
    let certificate = certified(&*client, &payload).await;
    assert_eq!(certificate.content_hash, keccak256(&payload), "the hash is that of the payload");
    assert_eq!(certificate.payload_bytes, 1000, "the length is that of the payload");
    assert!(client.serves(&certificate.backend), "it names a backend that can be asked");
    assert!(certificate.expires_at.is_none_or(|at| at > certificate.certified_at), "it expires after it was given");
    assert!(!certificate.bytes.is_empty() && certificate.blob_id() == keccak256(&certificate.bytes), "its bytes name the blob");
}

async fn a_commitment_is_that_of_the_payload(factory: &dyn Factory) {
    let client = factory.open("commitment").await;
    for bytes in [1, 31, 32, 5000] {
        let payload = numbered(bytes, 2);
        let certificate = certified(&*client, &payload).await;
        let expected = ok(Committer::shipped().commit(&payload).await);
        assert_eq!(certificate.commitment, expected.bytes(), "the commitment is EigenDA's to the payload");
        assert_eq!(ok(crate::committed(&certificate.bytes)).1, expected, "and is in the certificate");
        assert_eq!(certificate.check_bytes(), Ok(()), "and nothing beside it says otherwise");
    }
}

async fn a_payload_may_be_dispersed_again(factory: &dyn Factory) {
    let client = factory.open("again").await;
    let payload = numbered(100, 3);
    let (first, second) = (certified(&*client, &payload).await, certified(&*client, &payload).await);
    for certificate in [&first, &second] {
        assert_eq!(retrieved(&*client, certificate).await, payload, "every certificate gives the payload");
    }
}

async fn another_client_retrieves_by_the_certificate_alone(factory: &dyn Factory) {
    let payload = numbered(100, 4);
    let certificate = certified(&*factory.open("another").await, &payload).await;
    let another = factory.open("another").await;
    assert_eq!(retrieved(&*another, &certificate).await, payload, "a certificate outlives the client that got it");
}

async fn many_at_once_are_kept_apart(factory: &dyn Factory) {
    let client = factory.open("at once").await;
    let payloads: Vec<Bytes> = (0..20).map(|i| numbered(50 + i, i)).collect();
    let certificates = join_all(payloads.iter().map(|payload| certified(&*client, payload))).await;
    let found = join_all(certificates.iter().map(|certificate| retrieved(&*client, certificate))).await;
    assert!(found == payloads, "each certificate gives its own payload");
}

async fn no_payload_and_one_too_large_are_refused_for_good(factory: &dyn Factory) {
    let client = factory.open("refused").await;
    for bytes in [0, client.payload_bytes_max() + 1] {
        let payload = Bytes::from(vec![1; bytes]);
        let answer = patiently(|| client.disperse(payload.clone())).await;
        assert!(matches!(answer, Err(DaError::Reject { .. })), "{bytes} bytes are refused for good: {answer:?}");
    }
}

async fn a_changed_certificate_gives_no_other_payload(factory: &dyn Factory) {
    let client = factory.open("changed").await;
    let payload = numbered(100, 5);
    let right = certified(&*client, &payload).await;
    let other = certified(&*client, &numbered(100, 6)).await;
    assert_ne!(retrieved(&*client, &other).await, payload, "another certificate gives another payload");
    for at in 0..right.bytes.len() {
        let mut bytes = right.bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let wanted = Wanted { certificate: Bytes::from(bytes), ..right.wanted() };
        // Not every byte of every certificate is about the payload.
        if let Ok(found) = client.retrieve(&wanted).await {
            assert_eq!(found, payload, "a flipped byte, {at}, gives no other payload");
        }
    }
    for bytes in [&b""[..], b"TRDC", b"nothing of the kind"] {
        let wanted = Wanted { certificate: Bytes::from_static(bytes), expires_at: None };
        let answer = client.retrieve(&wanted).await;
        assert!(answer.is_err(), "what is no certificate gives nothing: {bytes:?}");
    }
}

async fn a_certificate_of_nothing_gives_nothing(factory: &dyn Factory) {
    let elsewhere = certified(&*factory.open("here").await, &numbered(100, 7)).await;
    let answer = factory.open("there").await.retrieve(&elsewhere.wanted()).await;
    assert!(answer.is_err(), "what was never published here is not found here");
}

async fn round_trip(client: &dyn DaClient, payload: Bytes) {
    let certificate = certified(client, &payload).await;
    let found = retrieved(client, &certificate).await;
    assert!(found == payload, "{} bytes come back as they went in, not as {} bytes", payload.len(), found.len());
}

async fn certified(client: &dyn DaClient, payload: &Bytes) -> Certificate {
    ok(patiently(|| client.disperse(payload.clone())).await)
}

async fn retrieved(client: &dyn DaClient, certificate: &Certificate) -> Bytes {
    // The certificate's bytes, and nothing that is recorded beside them.
    let wanted = Wanted { expires_at: None, ..certificate.wanted() };
    ok(patiently(|| client.retrieve(&wanted)).await)
}

/// Calls again as long as the error says that it may help.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, DaError>
where
    F: Future<Output = Result<T, DaError>>,
{
    let mut answer = call().await;
    for _ in 1..TRIES_MAX {
        match answer {
            Err(DaError::Retry { .. } | DaError::Down { .. } | DaError::OutcomeUnknown { .. } | DaError::UnderWay { .. }) => {
                answer = call().await;
            }
            other => return other,
        }
    }
    answer
}

/// Bytes that differ by their number.
fn numbered(bytes: usize, number: usize) -> Bytes {
    let digest = keccak256(number.to_be_bytes());
    digest.iter().copied().cycle().take(bytes).collect()
}

fn ok<T>(result: Result<T, DaError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("a call that must succeed failed with {}: {error}", error.code()),
    }
}

#[cfg(test)]
mod tests;
