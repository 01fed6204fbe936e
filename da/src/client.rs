//! The seam to a data-availability backend.

use async_trait::async_trait;
use bytes::Bytes;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::{Hash, keccak256};

use crate::error::DaError;
use crate::settings::PAYLOAD_BYTES_LIMIT;

/// A backend that publishes payloads and certifies them. Every one passes [`crate::conformance::run`].
///
/// A payload that was certified comes back byte for byte until the certificate expires, or not at all. Dispersal is **not**
/// idempotent: each call may make, and charge for, another certificate of the same payload; which one counts is decided by
/// the record of certificates, not by the backend.
#[async_trait]
pub trait DaClient: Send + Sync + 'static {
    /// The name of the backend, as the `backend` column gives it.
    fn backend(&self) -> &'static str;

    /// Whether it can retrieve what this backend certified.
    fn serves(&self, backend: &str) -> bool {
        backend == self.backend()
    }

    /// The largest payload that it takes, in bytes.
    fn payload_bytes_max(&self) -> usize {
        PAYLOAD_BYTES_LIMIT
    }

    /// Publishes a payload (never empty, at most [`Self::payload_bytes_max`] bytes) and returns its certificate.
    ///
    /// [`DaError::Retry`]: may succeed later, and nothing is billed; wait longer each time. [`DaError::Down`]: use another backend
    /// for a while. [`DaError::OutcomeUnknown`]: it may be published and paid for.
    /// [`DaError::Reject`]: never will be. [`DaError::Corrupt`]: what was certified is not what was sent.
    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError>;

    /// The payload of a certificate, checked against it.
    ///
    /// [`DaError::Retry`]: not reachable now. [`DaError::Expired`]: the time for which it was promised is over, and it is gone.
    /// [`DaError::Reject`]: the backend calls the certificate bad, for good.
    /// [`DaError::Corrupt`]: the payload is gone or differs from what was certified.
    async fn retrieve(&self, certificate: &Certificate) -> Result<Bytes, DaError>;
}

/// A backend's word that a payload is available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate exactly as the backend gave it. Its hash names the blob, so it is never rewritten.
    pub bytes: Bytes,
    /// keccak-256 of the payload.
    pub content_hash: Hash,
    /// The payload's polynomial commitment; empty for a backend that makes none.
    pub commitment: Bytes,
    /// The backend that certified.
    pub backend: String,
    /// When the backend took the payload.
    pub certified_at: Timestamp,
    /// Until when the backend promises to keep the payload; `None` is for ever.
    pub expires_at: Option<Timestamp>,
    /// The length of the payload in bytes.
    pub payload_bytes: u64,
}

impl Certificate {
    /// The name of the blob: keccak-256 of the certificate's bytes.
    pub fn blob_id(&self) -> Hash {
        keccak256(&self.bytes)
    }

    /// Checks a payload against the certificate: its length and its hash.
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), DaError> {
        let object = || crate::names::payload(&self.content_hash);
        if u64::try_from(payload.len()).ok() != Some(self.payload_bytes) {
            let what = format!("it has {} bytes, {} were certified", payload.len(), self.payload_bytes);
            return Err(DaError::corrupt(object(), what));
        }
        let found = keccak256(payload);
        if found != self.content_hash {
            return Err(DaError::corrupt(object(), format!("its keccak-256 is {found}, certified was {}", self.content_hash)));
        }
        Ok(())
    }
}
