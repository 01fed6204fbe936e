//! The local backend: payloads in the object store, under their content hash. It is not EigenDA: nobody else holds a copy.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use crate::client::{Certificate, DaClient};
use crate::error::DaError;
use crate::metrics::Metrics;
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;
use crate::settings::{PAYLOAD_BYTES_LIMIT, Settings};

/// The name in the `backend` column.
pub const BACKEND: &str = "local";
/// How long a certificate is good for, as on EigenDA.
pub const RETENTION: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A [`DaClient`] on an object store.
///
/// A payload is put only if nothing lies under its hash, and a certificate is only given once what lies there was seen to be
/// the payload. The store forgets nothing: a payload can be retrieved after its certificate's expiry as long as it lies there.
pub struct LocalDa {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    patience: Patience,
}

impl LocalDa {
    /// A backend on this store; several may share it.
    pub fn new(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        // The publisher retries a dispersal as a whole; here only the reading of the answer is patient.
        Self { store, clock, patience: Patience::new(&Settings { attempts_max: 1, ..Settings::default() }, Metrics::default()) }
    }
}

#[async_trait]
impl DaClient for LocalDa {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        let content_hash = keccak256(&payload);
        let name = names::payload(&content_hash);
        if payload.is_empty() || payload.len() > PAYLOAD_BYTES_LIMIT {
            let what = format!("a payload has 1 to {PAYLOAD_BYTES_LIMIT} bytes, this one {}", payload.len());
            return Err(DaError::Reject { object: name.to_string(), what });
        }
        match put_once(&self.store, &name, &payload, &self.patience).await? {
            Placed::Ours => {}
            Placed::Theirs(_) => return Err(DaError::corrupt(name, "what lies there does not have the hash that names it")),
        }
        let certified_at = self.clock.now();
        let kept = i64::try_from(RETENTION.as_micros()).expect("14 days fit 63 bits of microseconds");
        let expires_at = Timestamp::from_micros(certified_at.micros() + kept);
        let expires_at = expires_at.ok_or_else(|| DaError::corrupt("clock", "it is within 14 days of the year 10000"))?;
        let payload_bytes = payload.len() as u64;
        Ok(LocalCertificate { content_hash, payload_bytes, certified_at, expires_at }.certificate())
    }

    async fn retrieve(&self, certificate: &Certificate) -> Result<Bytes, DaError> {
        let bad = |what: String| DaError::Reject { object: format!("certificate {}", certificate.blob_id()), what };
        let parsed = LocalCertificate::decode(&certificate.bytes).map_err(bad)?;
        if parsed.certificate() != *certificate {
            return Err(bad("its fields differ from what is recorded beside it".to_owned()));
        }
        let name = names::payload(&certificate.content_hash);
        let payload = read(&self.store, &name).await?.ok_or_else(|| DaError::corrupt(&name, "the payload is missing"))?;
        certificate.check_payload(&payload)?;
        Ok(payload)
    }
}

/// What a certificate of this backend says. 96 bytes, described in docs/da.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCertificate {
    /// keccak-256 of the payload.
    pub content_hash: Hash,
    /// The length of the payload in bytes.
    pub payload_bytes: u64,
    /// When it was taken.
    pub certified_at: Timestamp,
    /// Until when it is promised.
    pub expires_at: Timestamp,
}

const MAGIC: [u8; 4] = *b"TRDC";
const VERSION: u8 = 1;
const BACKEND_BYTE: u8 = 1;
const FIELDS_BYTES: usize = 64;

impl LocalCertificate {
    /// The length of an encoded certificate.
    pub const BYTES: usize = FIELDS_BYTES + 32;

    /// The certificate's bytes: 64 of fields, then their keccak-256.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, BACKEND_BYTE, 0, 0]);
        out.extend_from_slice(self.content_hash.as_slice());
        out.extend_from_slice(&self.payload_bytes.to_be_bytes());
        out.extend_from_slice(&self.certified_at.micros().to_be_bytes());
        out.extend_from_slice(&self.expires_at.micros().to_be_bytes());
        assert_eq!(out.len(), FIELDS_BYTES, "the fields fill their 64 bytes");
        out.extend_from_slice(keccak256(&out).as_slice());
        Bytes::from(out)
    }

    /// Reads a certificate; every byte is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes: &[u8; Self::BYTES] =
            bytes.try_into().map_err(|_| format!("it has {} bytes, not {}", bytes.len(), Self::BYTES))?;
        let (fields, hash) = bytes.split_at(FIELDS_BYTES);
        if fields[..4] != MAGIC {
            return Err("it does not begin with TRDC".to_owned());
        }
        if fields[4] != VERSION {
            return Err(format!("its version is {}, this binary knows {VERSION}", fields[4]));
        }
        if keccak256(fields).as_slice() != hash {
            return Err("its last 32 bytes are not the keccak-256 of the others".to_owned());
        }
        if fields[5..8] != [BACKEND_BYTE, 0, 0] {
            return Err("its backend byte is not that of the local backend, or its reserved bytes are not zero".to_owned());
        }
        let number = |at: usize| fields[at..at + 8].iter().fold(0, |n: u64, b| n << 8 | u64::from(*b));
        let time =
            |at| Timestamp::from_micros(number(at).cast_signed()).ok_or("one of its times lies outside the years 0 to 9999");
        Ok(Self {
            content_hash: Hash::from_slice(&fields[8..40]),
            payload_bytes: number(40),
            certified_at: time(48)?,
            expires_at: time(56)?,
        })
    }

    fn certificate(&self) -> Certificate {
        Certificate {
            bytes: self.encode(),
            content_hash: self.content_hash,
            commitment: Bytes::new(),
            backend: BACKEND.to_owned(),
            certified_at: self.certified_at,
            expires_at: Some(self.expires_at),
            payload_bytes: self.payload_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn a_certificate_is_read_back_and_any_flipped_bit_is_found() {
        let certificate = LocalCertificate {
            content_hash: keccak256(b"payload"),
            payload_bytes: 7,
            certified_at: at(1_790_000_000_000_000),
            expires_at: at(1_791_209_600_000_000),
        };
        let bytes = certificate.encode();
        assert_eq!(bytes.len(), LocalCertificate::BYTES);
        assert_eq!(LocalCertificate::decode(&bytes), Ok(certificate));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(LocalCertificate::decode(&flipped).is_err(), "bit {bit}");
        }
        assert!(LocalCertificate::decode(&bytes[1..]).is_err());
    }
}
