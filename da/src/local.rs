//! The local backend: payloads in the object store, under their content hash. It is not EigenDA: nobody else holds a copy. But
//! its commitments are EigenDA's: what is proven against them would be proven there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eigenda_client::point::POINT_BYTES;
use eigenda_client::{Commitment, Domain};
use object_store::ObjectStore;
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use crate::client::{Certificate, DaClient};
use crate::committer::{BlobCommitment, Committer};
use crate::eigenda::expiry;
use crate::error::DaError;
use crate::metrics::Metrics;
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;
use crate::settings::Settings;

/// The name in the `backend` column.
pub const BACKEND: &str = "local";

/// A [`DaClient`] on an object store.
///
/// A payload is put only if nothing lies under its hash, and a certificate is only given once what lies there was seen to be
/// the payload. The store forgets nothing: a payload can be retrieved after its certificate's expiry as long as it lies there.
///
/// The commitment is computed when a payload is dispersed and again whenever one is retrieved; the [`Committer`] says what that
/// costs.
pub struct LocalDa {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    committer: Arc<Committer>,
    patience: Patience,
}

impl LocalDa {
    /// A backend on this store; several may share it. It commits with the points that are shipped.
    pub fn new(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self::with_committer(store, clock, Committer::shipped())
    }

    /// The same with other points.
    pub fn with_committer(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>, committer: Arc<Committer>) -> Self {
        // The publisher retries a dispersal as a whole; here only the reading of the answer is patient.
        let patience = Patience::new(&Settings { attempts_max: 1, ..Settings::default() }, Metrics::default());
        Self { store, clock, committer, patience }
    }
}

#[async_trait]
impl DaClient for LocalDa {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn payload_bytes_max(&self) -> usize {
        self.committer.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        let content_hash = keccak256(&payload);
        let name = names::payload(&content_hash);
        let (bytes, bytes_max) = (payload.len(), self.payload_bytes_max());
        if bytes == 0 || bytes > bytes_max {
            let what = format!("a payload has 1 to {bytes_max} bytes, this one {bytes}");
            return Err(DaError::Reject { object: name.to_string(), what });
        }
        let committed = self.committer.commit(&payload).await?;
        match put_once(&self.store, &name, &payload, &self.patience).await? {
            Placed::Ours => {}
            Placed::Theirs(_) => return Err(DaError::corrupt(name, "what lies there does not have the hash that names it")),
        }
        let certified_at = self.clock.now();
        let expires_at = expiry(certified_at)?;
        let parsed =
            LocalCertificate { content_hash, payload_bytes: bytes as u64, certified_at, expires_at, committed: Some(committed) };
        Ok(parsed.certificate())
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
        if let Some(committed) = &parsed.committed {
            self.committer.check(format!("certificate {}", certificate.blob_id()), committed, &payload).await?;
        }
        Ok(payload)
    }
}

/// What a certificate of this backend says: 164 bytes, described in docs/da.md, or 96 of version 1, which had no commitment.
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
    /// The commitment to its blob; none in version 1, which is only read.
    pub committed: Option<BlobCommitment>,
}

const MAGIC: [u8; 4] = *b"TRDC";
/// Without a commitment.
const VERSION_1: u8 = 1;
const VERSION_2: u8 = 2;
const BACKEND_BYTE: u8 = 1;
const HASH_BYTES: usize = 32;
/// The fields that both versions have.
const COMMON_BYTES: usize = 64;
/// The fields of version 2: then the symbols and the commitment.
const FIELDS_BYTES: usize = COMMON_BYTES + 4 + POINT_BYTES;

impl LocalCertificate {
    /// The length of an encoded certificate.
    pub const BYTES: usize = FIELDS_BYTES + HASH_BYTES;
    /// The length of one of version 1.
    pub const BYTES_1: usize = COMMON_BYTES + HASH_BYTES;

    /// The certificate's bytes: its fields, then their keccak-256. Of version 2, or 1 if it has no commitment.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[if self.committed.is_some() { VERSION_2 } else { VERSION_1 }, BACKEND_BYTE, 0, 0]);
        out.extend_from_slice(self.content_hash.as_slice());
        out.extend_from_slice(&self.payload_bytes.to_be_bytes());
        out.extend_from_slice(&self.certified_at.micros().to_be_bytes());
        out.extend_from_slice(&self.expires_at.micros().to_be_bytes());
        assert_eq!(out.len(), COMMON_BYTES, "the fields that both versions have fill their 64 bytes");
        if let Some(BlobCommitment { commitment, domain }) = &self.committed {
            out.extend_from_slice(&domain.symbols().to_be_bytes());
            out.extend_from_slice(&commitment.to_bytes());
            assert_eq!(out.len(), FIELDS_BYTES, "symbols and commitment fill the rest");
        }
        out.extend_from_slice(keccak256(&out).as_slice());
        Bytes::from(out)
    }

    /// Reads a certificate; every byte is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (fields, hash) = bytes
            .split_last_chunk::<HASH_BYTES>()
            .filter(|(fields, _)| matches!(fields.len(), COMMON_BYTES | FIELDS_BYTES))
            .ok_or_else(|| format!("it has {} bytes, not {} or {}", bytes.len(), Self::BYTES, Self::BYTES_1))?;
        if fields[..4] != MAGIC {
            return Err("it does not begin with TRDC".to_owned());
        }
        let version = if fields.len() == FIELDS_BYTES { VERSION_2 } else { VERSION_1 };
        if fields[4] != version {
            return Err(format!("its version is {}, one of its length has {version}", fields[4]));
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
            committed: fields.get(COMMON_BYTES..FIELDS_BYTES).map(committed).transpose()?,
        })
    }

    fn certificate(&self) -> Certificate {
        Certificate {
            bytes: self.encode(),
            content_hash: self.content_hash,
            commitment: self.committed.as_ref().map_or_else(Bytes::new, BlobCommitment::bytes),
            backend: BACKEND.to_owned(),
            certified_at: self.certified_at,
            expires_at: Some(self.expires_at),
            payload_bytes: self.payload_bytes,
        }
    }
}

/// Symbols and commitment of version 2.
fn committed(bytes: &[u8]) -> Result<BlobCommitment, String> {
    let (symbols, point) = bytes.split_first_chunk::<4>().ok_or("its number of symbols is cut short")?;
    let point: &[u8; POINT_BYTES] = point.try_into().map_err(|_| "its commitment is cut short")?;
    let domain = Domain::new(u32::from_be_bytes(*symbols)).map_err(|e| e.to_string())?;
    let commitment = Commitment::read(point).map_err(|e| format!("its commitment: {e}"))?;
    Ok(BlobCommitment { commitment, domain })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixture::World;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    async fn some_certificate() -> LocalCertificate {
        LocalCertificate {
            content_hash: keccak256(b"payload"),
            payload_bytes: 7,
            certified_at: at(1_790_000_000_000_000),
            expires_at: at(1_791_209_600_000_000),
            committed: Some(Committer::shipped().commit(&Bytes::from_static(b"payload")).await.unwrap()),
        }
    }

    #[tokio::test]
    async fn a_certificate_of_either_version_is_read_back_and_any_flipped_bit_is_found() {
        let second = some_certificate().await;
        let first = LocalCertificate { committed: None, ..second.clone() };
        for (certificate, version, length) in [(first, 1, 96), (second, 2, 164)] {
            let bytes = certificate.encode();
            assert_eq!((bytes[4], bytes.len()), (version, length));
            assert_eq!(LocalCertificate::decode(&bytes), Ok(certificate));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(LocalCertificate::decode(&flipped).is_err(), "bit {bit}");
            }
            assert!(LocalCertificate::decode(&bytes[1..]).is_err());
        }
        assert_eq!((LocalCertificate::BYTES_1, LocalCertificate::BYTES), (96, 164));
    }

    #[tokio::test]
    async fn symbols_and_commitment_stand_where_the_format_says() {
        let certificate = some_certificate().await;
        let bytes = certificate.encode();
        assert_eq!(bytes[64..68], [0, 0, 0, 2], "7 bytes fill one symbol behind the header's");
        assert_eq!(bytes[68..132], certificate.committed.unwrap().bytes());
        assert_eq!(certificate.certificate().commitment, bytes[68..132]);
    }

    #[tokio::test]
    async fn a_payload_of_before_there_were_commitments_is_retrieved_and_one_with_a_wrong_commitment_is_not() {
        let world = World::new(1).await;
        let (client, payload) = (world.client(), Bytes::from_static(b"payload"));
        let given = client.disperse(payload.clone()).await.unwrap();
        assert_eq!(client.retrieve(&given).await.unwrap(), payload);
        let parsed = LocalCertificate::decode(&given.bytes).unwrap();
        let older = LocalCertificate { committed: None, ..parsed.clone() }.certificate();
        assert_eq!((older.bytes.len(), older.commitment.len()), (96, 0));
        assert_eq!(client.retrieve(&older).await.unwrap(), payload);

        let other = Committer::shipped().commit(&Bytes::from_static(b"another")).await.unwrap();
        let wrong = LocalCertificate { committed: Some(other), ..parsed }.certificate();
        let refused = client.retrieve(&wrong).await;
        assert!(matches!(&refused, Err(DaError::Corrupt { what, .. }) if what.contains("commitment")), "{refused:?}");
        let mixed = Certificate { commitment: given.commitment, ..wrong };
        let refused = client.retrieve(&mixed).await;
        assert!(matches!(refused, Err(DaError::Reject { .. })), "{refused:?}");
    }
}
