//! The seam to a data-availability backend.

use async_trait::async_trait;
use bytes::Bytes;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::{Hash, keccak256};

use crate::committed;
use crate::error::DaError;
use crate::local::{self, LocalCertificate};
use crate::names;
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

    /// Until when another publisher may be at this payload (by its keccak-256), which is left to it meanwhile; `None`: nobody is.
    /// A backend that costs nothing does not ask.
    async fn under_way(&self, _content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        Ok(None)
    }

    /// Whoever dispersed the payload gives it up for now: where something is noted of a dispersal under which certainly nothing was
    /// sent, nobody is to wait for its end.
    async fn release(&self, _content_hash: &Hash) {}

    /// The payload of a certificate: the one and only that the certificate commits to, which is computed anew.
    ///
    /// [`DaError::Retry`]: not reachable now. [`DaError::Expired`]: the time for which it was promised is over, and it is gone.
    /// [`DaError::Reject`]: the certificate cannot be read, is another backend's, or the backend calls it bad, for good.
    /// [`DaError::Corrupt`]: the payload differs from what was certified. [`DaError::Missing`]: it is gone, and was looked for wherever this
    /// client can look.
    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError>;
}

/// What a payload is retrieved by: its certificate, and nothing that is recorded beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The certificate as the backend gave it.
    pub certificate: Bytes,
    /// Until when the backend keeps the payload, where a record says so. To some backends "expired" and "down" are one answer; this
    /// tells the two apart, and decides nothing else.
    pub expires_at: Option<Timestamp>,
}

/// A backend's word that a payload is available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate exactly as the backend gave it. Its hash names the blob, so it is never rewritten.
    pub bytes: Bytes,
    /// keccak-256 of the payload.
    pub content_hash: Hash,
    /// The commitment to the payload's blob, 64 bytes: x, then y. It names the payload in the archive.
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

    /// What its payload is retrieved by.
    pub fn wanted(&self) -> Wanted {
        Wanted { certificate: self.bytes.clone(), expires_at: self.expires_at }
    }

    /// Whether its dispersal was paid for, and its payload is forgotten some day.
    pub fn is_billed(&self) -> bool {
        self.backend != local::BACKEND
    }

    /// Checks what is recorded beside the certificate's bytes against what they say: backend and commitment, and of the local
    /// backend everything.
    pub fn check_bytes(&self) -> Result<(), String> {
        let (backend, committed) = committed::read(&self.bytes).map_err(|what| format!("its certificate: {what}"))?;
        let mut same = (backend, &committed.bytes()) == (self.backend.as_str(), &self.commitment);
        if same && backend == local::BACKEND {
            same = LocalCertificate::decode(&self.bytes)?.certificate() == *self;
        }
        same.then_some(()).ok_or_else(|| "its certificate says something else than what is recorded beside it".to_owned())
    }

    /// Checks a payload against what is recorded: its length and its hash.
    ///
    /// # Errors
    /// [`DaError::Corrupt`] naming the payload.
    pub fn check_payload(&self, payload: &[u8]) -> Result<(), DaError> {
        let object = || names::payload(&self.commitment);
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
