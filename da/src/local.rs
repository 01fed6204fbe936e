//! The local backend: payloads in the object store, where the archive is too. It is not EigenDA: nobody else holds a copy. But its
//! commitments are EigenDA's: what is proven against them would be proven there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eigenda_client::point::POINT_BYTES;
use eigenda_client::{Commitment, Domain};
use object_store::ObjectStore;
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use crate::client::{Certificate, DaClient, Wanted};
use crate::committed;
use crate::committer::{BlobCommitment, Committer};
use crate::eigenda::expiry;
use crate::error::DaError;
use crate::metrics::Metrics;
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;
use crate::settings::Settings;

/// The name in the `backend` column.
pub const BACKEND: &str = "local";

/// A [`DaClient`] on an object store.
///
/// A payload is put only if nothing lies under the name that its commitment gives, and a certificate is only given once what lies
/// there was seen to be the payload. The store forgets nothing: a payload can be retrieved after its certificate's expiry as long as it lies there.
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
        let (bytes, bytes_max) = (payload.len(), self.payload_bytes_max());
        if bytes == 0 || bytes > bytes_max {
            let what = format!("a payload has 1 to {bytes_max} bytes, this one {bytes}");
            return Err(DaError::reject(format!("payload {content_hash}"), what));
        }
        let committed = self.committer.commit(&payload).await?;
        let name = committed.payload_name();
        match put_once(&self.store, &name, &payload, &self.patience).await? {
            Placed::Ours => {}
            Placed::Theirs(_) => {
                return Err(DaError::corrupt(name, "what lies there is not what the commitment in its name is to"));
            }
        }
        let certified_at = self.clock.now();
        let expires_at = expiry(certified_at)?;
        let parsed = LocalCertificate { content_hash, payload_bytes: bytes as u64, certified_at, expires_at, committed };
        Ok(parsed.certificate())
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let parsed = LocalCertificate::decode(&wanted.certificate)
            .map_err(|what| DaError::reject(committed::name_of(&wanted.certificate), what))?;
        let name = parsed.committed.payload_name();
        let payload = read(&self.store, &name).await?.ok_or_else(|| DaError::missing(&name, "the payload is missing"))?;
        parsed.certificate().check_payload(&payload)?;
        self.committer.check(name, &parsed.committed, &payload).await?;
        Ok(payload)
    }
}

/// What a certificate of this backend says: 164 bytes, described in docs/da.md.
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
    /// The commitment to its blob.
    pub committed: BlobCommitment,
}

/// The first bytes of a certificate of this backend. None of EigenDA's begins so.
pub(crate) const MAGIC: [u8; 4] = *b"TRDC";
const VERSION: u8 = 2;
const BACKEND_BYTE: u8 = 1;
const HASH_BYTES: usize = 32;
/// Where the commitment's symbols begin.
const COMMITTED_AT: usize = 64;
const FIELDS_BYTES: usize = COMMITTED_AT + 4 + POINT_BYTES;

impl LocalCertificate {
    /// The length of an encoded certificate.
    pub const BYTES: usize = FIELDS_BYTES + HASH_BYTES;

    /// The certificate's bytes: its fields, then their keccak-256.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, BACKEND_BYTE, 0, 0]);
        out.extend_from_slice(self.content_hash.as_slice());
        out.extend_from_slice(&self.payload_bytes.to_be_bytes());
        out.extend_from_slice(&self.certified_at.micros().to_be_bytes());
        out.extend_from_slice(&self.expires_at.micros().to_be_bytes());
        out.extend_from_slice(&self.committed.domain.symbols().to_be_bytes());
        out.extend_from_slice(&self.committed.commitment.to_bytes());
        assert_eq!(out.len(), FIELDS_BYTES, "the fields of the format fill their bytes");
        out.extend_from_slice(keccak256(&out).as_slice());
        Bytes::from(out)
    }

    /// Reads a certificate; every byte is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.starts_with(&MAGIC) {
            return Err("it does not begin with TRDC".to_owned());
        }
        if let Some(version) = bytes.get(4).filter(|version| **version != VERSION) {
            return Err(format!("its version is {version}, this binary knows {VERSION}"));
        }
        let whole: &[u8; Self::BYTES] =
            bytes.try_into().map_err(|_| format!("it has {} bytes, not {}", bytes.len(), Self::BYTES))?;
        let (fields, hash) = whole.split_at(FIELDS_BYTES);
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
            committed: read_committed(&fields[COMMITTED_AT..])?,
        })
    }

    /// The certificate, with everything that is recorded beside its bytes.
    pub fn certificate(&self) -> Certificate {
        Certificate {
            bytes: self.encode(),
            content_hash: self.content_hash,
            commitment: self.committed.bytes(),
            backend: BACKEND.to_owned(),
            certified_at: self.certified_at,
            expires_at: Some(self.expires_at),
            payload_bytes: self.payload_bytes,
        }
    }
}

/// Symbols and commitment.
fn read_committed(bytes: &[u8]) -> Result<BlobCommitment, String> {
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
            committed: Committer::shipped().commit(&Bytes::from_static(b"payload")).await.unwrap(),
        }
    }

    #[tokio::test]
    async fn a_certificate_is_read_back_and_any_flipped_bit_is_found() {
        let certificate = some_certificate().await;
        let bytes = certificate.encode();
        assert_eq!((bytes[4], bytes.len(), LocalCertificate::BYTES), (2, 164, 164));
        assert_eq!(LocalCertificate::decode(&bytes), Ok(certificate));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(LocalCertificate::decode(&flipped).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(LocalCertificate::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(LocalCertificate::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[tokio::test]
    async fn the_first_version_which_had_no_commitment_is_refused_by_its_number() {
        let mut first = some_certificate().await.encode()[..COMMITTED_AT].to_vec();
        first[4] = 1;
        first.extend_from_slice(keccak256(&first).as_slice());
        assert_eq!(first.len(), 96);
        let refused = LocalCertificate::decode(&first).unwrap_err();
        assert!(refused.contains("version is 1"), "{refused}");
        let error = crate::committed(&Bytes::from(first)).unwrap_err();
        assert!(error.code() == "da_rejected" && error.to_string().contains("version is 1"), "{error}");
    }

    #[tokio::test]
    async fn symbols_and_commitment_stand_where_the_format_says() {
        let certificate = some_certificate().await;
        let bytes = certificate.encode();
        assert_eq!(bytes[64..68], [0, 0, 0, 2], "7 bytes fill one symbol behind the header's");
        assert_eq!(bytes[68..132], certificate.committed.bytes());
        assert_eq!(certificate.certificate().commitment, bytes[68..132]);
    }

    #[tokio::test]
    async fn a_payload_lies_under_its_commitment_and_one_that_is_committed_to_wrongly_is_not_given() {
        let world = World::new(1).await;
        let (client, payload) = (world.client(), Bytes::from_static(b"payload"));
        let given = client.disperse(payload.clone()).await.unwrap();
        assert_eq!(client.retrieve(&given.wanted()).await.unwrap(), payload);
        let name = crate::names::payload(&given.commitment);
        assert_eq!(world.objects().await, [(name, payload.clone())]);

        let another = Bytes::from_static(b"another");
        let other = client.disperse(another.clone()).await.unwrap();
        let parsed = LocalCertificate::decode(&given.bytes).unwrap();
        let committed = LocalCertificate::decode(&other.bytes).unwrap().committed;
        // What lies there is of another hash than certified; and of another commitment.
        let wrong = LocalCertificate { committed, ..parsed.clone() }.certificate();
        let refused = client.retrieve(&wrong.wanted()).await;
        assert!(matches!(&refused, Err(DaError::Corrupt { what, .. }) if what.contains("keccak")), "{refused:?}");
        world.overwrite(&crate::names::payload(&other.commitment), payload).await;
        let refused = client.retrieve(&wrong.wanted()).await;
        assert!(matches!(&refused, Err(DaError::Corrupt { what, .. }) if what.contains("commitment")), "{refused:?}");
    }

    #[tokio::test]
    async fn what_is_recorded_beside_a_certificate_is_what_its_bytes_say() {
        let right = some_certificate().await.certificate();
        assert_eq!(right.check_bytes(), Ok(()));
        for wrong in [
            Certificate { backend: "eigenda".to_owned(), ..right.clone() },
            Certificate { commitment: Bytes::from(vec![0; 64]), ..right.clone() },
            Certificate { content_hash: keccak256(b"another"), ..right.clone() },
            Certificate { payload_bytes: 8, ..right.clone() },
            Certificate { expires_at: None, ..right.clone() },
            Certificate { bytes: Bytes::from_static(b"TRDC"), ..right.clone() },
        ] {
            assert!(wrong.check_bytes().is_err(), "{wrong:?}");
        }
    }
}
