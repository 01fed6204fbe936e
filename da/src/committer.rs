//! Commits to payloads: the one place where the reference string is kept and where commitments are computed.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use eigenda_client::point::COMPRESSED_BYTES;
use eigenda_client::{Blob, Commitment, Domain, EncodedPayload, KzgError, PayloadError, Srs, SrsError};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tributary_schemas::units::{Hash, keccak256};

use crate::error::DaError;
use crate::names;
use crate::settings::BLOBS_IN_FLIGHT_LIMIT;

/// The first points of EigenDA's reference string; `da/srs/README.md` says where they are from.
const SHIPPED_BYTES: &[u8] = include_bytes!("../srs/g1-32768.point");
/// The symbols of the largest blob that the shipped points commit to: 1 MiB.
pub const SHIPPED_SYMBOLS: u32 = 1 << 15;
/// So many points are read at once. Each costs a square root, and a small blob should not wait for the points of a large one.
const STEPS: [u32; 5] = [1 << 10, 1 << 12, SHIPPED_SYMBOLS, 1 << 17, Domain::SYMBOLS_MAX];
/// How many commitments are remembered: those of all blobs that may be under way, so that none is computed again when it is read back.
const REMEMBERED_MAX: usize = 4 * BLOBS_IN_FLIGHT_LIMIT;

/// The shipped points, once for the whole process.
static SHIPPED: Points = Points { file: None, points: SHIPPED_SYMBOLS, steps: [const { Mutex::new(None) }; STEPS.len()] };

/// A commitment, and the size of the blob that it is of: what a certificate says of its blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobCommitment {
    /// The commitment.
    pub commitment: Commitment,
    /// How many symbols the blob has, which is the domain of every proof.
    pub domain: Domain,
}

impl BlobCommitment {
    /// The commitment's 64 bytes, as records keep them.
    pub fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.commitment.to_bytes())
    }

    /// Where the payload lies in the archive.
    pub fn payload_name(&self) -> object_store::path::Path {
        names::payload(&self.commitment.to_bytes())
    }
}

/// Computes commitments away from the threads that serve, and remembers the last ones by the hash of the payload.
///
/// A commitment takes a transform and a multi-scalar multiplication of the size of the blob, and about four times its memory. So many
/// are computed at once as there are cores, the others wait in their order; one that is remembered waits for nothing.
pub struct Committer {
    /// For blobs that the shipped points do not reach.
    larger: Option<Points>,
    remembered: Mutex<VecDeque<(Hash, BlobCommitment)>>,
    cores: Arc<Semaphore>,
}

impl Committer {
    /// With the points that are shipped, for blobs of 1 MiB at most.
    pub fn shipped() -> Arc<Self> {
        Self::over(None)
    }

    /// With a whole `g1.point` file for larger blobs. It is read when the first such blob comes, as far as that needs.
    ///
    /// # Errors
    /// [`DaError::Reject`] if the file cannot be read, or holds fewer points than are shipped.
    pub fn with_file(path: &Path) -> Result<Arc<Self>, DaError> {
        let refused = |what: String| DaError::Reject { object: path.display().to_string(), what };
        let bytes = std::fs::metadata(path).map_err(|e| refused(format!("it cannot be read: {e}")))?.len();
        let points = bytes / COMPRESSED_BYTES as u64;
        // The largest blob that so many points commit to.
        let symbols = points.checked_ilog2().map_or(0, |power| 1 << power.min(Domain::SYMBOLS_MAX.ilog2()));
        if symbols < SHIPPED_SYMBOLS {
            return Err(refused(format!("it has {points} points, {SHIPPED_SYMBOLS} are shipped already")));
        }
        let larger = Points { file: Some(path.to_owned()), points: symbols, steps: Default::default() };
        Ok(Self::over(Some(larger)))
    }

    fn over(larger: Option<Points>) -> Arc<Self> {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Arc::new(Self { larger, remembered: Mutex::default(), cores: Arc::new(Semaphore::new(cores)) })
    }

    /// The largest payload that can be committed to.
    pub fn payload_bytes_max(&self) -> usize {
        let symbols = self.larger.as_ref().map_or(SHIPPED_SYMBOLS, |points| points.points);
        Domain::new(symbols)
            .expect("the points of a string are a power of two, as many as the largest blob has at most")
            .payload_bytes_max()
    }

    /// Points for blobs of this size, for those who make proofs. The first to ask waits until they are read.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn points_for(&self, domain: Domain) -> Result<Arc<Srs>, DaError> {
        self.points(domain).at_least(domain.symbols())
    }

    /// The commitment to a payload in the smallest blob that holds it, which is the one that EigenDA's proxy makes.
    ///
    /// # Errors
    /// [`DaError::Reject`] for a payload that is empty or that the points do not reach, [`DaError::Retry`] where the file of
    /// points cannot be read.
    pub async fn commit(self: &Arc<Self>, payload: &Bytes) -> Result<BlobCommitment, DaError> {
        let domain = Domain::of_payload(payload.len()).map_err(|e| refused(keccak256(payload), &e))?;
        self.commit_in(domain, payload).await
    }

    /// The commitment to a payload in a blob of a given size, such as a certificate names it. Errors as [`Self::commit`].
    pub async fn commit_in(self: &Arc<Self>, domain: Domain, payload: &Bytes) -> Result<BlobCommitment, DaError> {
        let (this, payload) = (Arc::clone(self), payload.clone());
        let known = away(move || {
            let hash = keccak256(&payload);
            Ok((this.known(hash, domain), hash, payload))
        });
        let (hash, payload) = match known.await? {
            (Some(known), ..) => return Ok(known),
            (None, hash, payload) => (hash, payload),
        };
        let core = Arc::clone(&self.cores).acquire_owned().await.expect("the semaphore is never closed");
        let this = Arc::clone(self);
        away(move || {
            // Kept by the computation itself, which goes on even if nobody waits for it any more.
            let _core = core;
            this.compute(hash, domain, &payload)
        })
        .await
    }

    /// Checks that `claimed` is the commitment to the payload. Errors as [`Self::commit`], and [`DaError::Corrupt`] naming
    /// `object` if it is another.
    pub async fn check(
        self: &Arc<Self>,
        object: impl ToString,
        claimed: &BlobCommitment,
        payload: &Bytes,
    ) -> Result<(), DaError> {
        let fits = (1..=claimed.domain.payload_bytes_max()).contains(&payload.len());
        match fits && self.commit_in(claimed.domain, payload).await? == *claimed {
            true => Ok(()),
            false => Err(DaError::corrupt(object, "its commitment is not that of the payload")),
        }
    }

    fn known(&self, hash: Hash, domain: Domain) -> Option<BlobCommitment> {
        let known = |(known, found): &&(Hash, BlobCommitment)| *known == hash && found.domain == domain;
        self.remembered.lock().iter().find(known).map(|(_, found)| *found)
    }

    fn compute(&self, hash: Hash, domain: Domain, payload: &[u8]) -> Result<BlobCommitment, DaError> {
        // Whoever waited with the same payload may have been second.
        if let Some(found) = self.known(hash, domain) {
            return Ok(found);
        }
        let encoded = EncodedPayload::encode_in(domain, payload).map_err(|e| refused(hash, &e))?;
        let srs = self.points_for(domain)?;
        let commitment = Commitment::to(&Blob::of(&encoded), &srs).map_err(|e| too_few_points(hash, &e))?;
        let computed = BlobCommitment { commitment, domain };
        let mut remembered = self.remembered.lock();
        if remembered.len() == REMEMBERED_MAX {
            remembered.pop_front();
        }
        remembered.push_back((hash, computed));
        Ok(computed)
    }

    fn points(&self, domain: Domain) -> &Points {
        match &self.larger {
            Some(larger) if domain.symbols() > SHIPPED_SYMBOLS => larger,
            _ => &SHIPPED,
        }
    }
}

/// Points of the reference string, read when they are needed.
struct Points {
    /// The file; `None`: the shipped ones.
    file: Option<PathBuf>,
    /// How many there are, a power of two.
    points: u32,
    steps: [Mutex<Option<Arc<Srs>>>; STEPS.len()],
}

impl Points {
    /// At least so many points, or all there are.
    fn at_least(&self, symbols: u32) -> Result<Arc<Srs>, DaError> {
        let wanted = symbols.min(self.points);
        let step = STEPS.iter().position(|points| *points >= wanted).expect("the last step is the largest blob");
        // Whoever comes meanwhile waits here instead of reading the same again.
        let mut srs = self.steps[step].lock();
        if let Some(srs) = &*srs {
            return Ok(Arc::clone(srs));
        }
        let read = Arc::new(self.read(STEPS[step].min(self.points) as usize)?);
        *srs = Some(Arc::clone(&read));
        Ok(read)
    }

    fn read(&self, points: usize) -> Result<Srs, DaError> {
        match &self.file {
            None => Ok(Srs::read(&SHIPPED_BYTES[..points * COMPRESSED_BYTES]).expect("a test checks the shipped points")),
            Some(path) => Srs::load(path, points).map_err(|error| match error {
                SrsError::Io { .. } => DaError::retry(path.display(), error),
                _ => DaError::Reject { object: path.display().to_string(), what: error.to_string() },
            }),
        }
    }
}

/// Does something that takes long away from the threads that serve.
async fn away<T: Send + 'static>(work: impl FnOnce() -> Result<T, DaError> + Send + 'static) -> Result<T, DaError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(ended) => Err(DaError::retry("commitment", ended)),
        },
    }
}

fn refused(payload: Hash, error: &PayloadError) -> DaError {
    DaError::reject(format!("payload {payload}"), error.to_string())
}

fn too_few_points(payload: Hash, error: &KzgError) -> DaError {
    let what = format!("{error}: name EigenDA's whole g1.point in `da.srs_file`");
    DaError::reject(format!("payload {payload}"), what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_points_are_the_powers_of_eigendas_reference_string() {
        let srs = Srs::read(SHIPPED_BYTES).unwrap();
        assert_eq!(srs.points(), SHIPPED_SYMBOLS as usize);
        srs.check_powers().unwrap();
    }

    #[tokio::test]
    async fn a_commitment_is_of_the_payload_and_of_the_size_of_the_blob() {
        let committer = Committer::shipped();
        let payload = Bytes::from(vec![7; 4000]);
        let computed = committer.commit(&payload).await.unwrap();
        assert_eq!((computed.domain.symbols(), computed.bytes().len()), (256, 64));
        assert_eq!(committer.commit(&payload).await.unwrap(), computed);
        assert_eq!(Committer::shipped().commit(&payload).await.unwrap(), computed, "remembered or not");
        let wider = committer.commit_in(Domain::new(512).unwrap(), &payload).await.unwrap();
        assert_ne!(wider.commitment, computed.commitment);
        committer.check("x", &computed, &payload).await.unwrap();
        for wrong in
            [BlobCommitment { domain: wider.domain, ..computed }, BlobCommitment { commitment: wider.commitment, ..computed }]
        {
            let refused = committer.check("x", &wrong, &payload).await;
            assert!(matches!(&refused, Err(DaError::Corrupt { object, .. }) if object == "x"), "{refused:?}");
        }
        let mut other = payload.to_vec();
        other[3999] ^= 1;
        assert_ne!(committer.commit(&Bytes::from(other)).await.unwrap(), computed);
    }

    #[tokio::test]
    async fn no_more_commitments_are_computed_at_once_than_there_are_cores_and_what_is_remembered_waits_for_none() {
        let committer = Committer::shipped();
        let known = Bytes::from(vec![7; 4000]);
        let computed = committer.commit(&known).await.unwrap();
        let cores = u32::try_from(available_parallelism().unwrap().get()).unwrap();
        let busy = committer.cores.acquire_many(cores).await.unwrap();
        assert_eq!(committer.commit(&known).await.unwrap(), computed);
        let (payload, waiting) = (Bytes::from(vec![8; 4000]), Arc::clone(&committer));
        let waiting = tokio::spawn(async move { waiting.commit(&payload).await });
        // By itself it takes some milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert!(!waiting.is_finished());
        drop(busy);
        waiting.await.unwrap().unwrap();
        assert_eq!(committer.cores.available_permits(), cores as usize);
    }

    #[tokio::test]
    async fn what_the_points_do_not_reach_is_refused_with_the_key_to_set() {
        let committer = Committer::shipped();
        assert_eq!(committer.payload_bytes_max(), crate::settings::PAYLOAD_BYTES_LIMIT);
        let large = Bytes::from(vec![1; committer.payload_bytes_max() + 1]);
        let refused = committer.commit(&large).await;
        assert!(matches!(&refused, Err(DaError::Reject { what, .. }) if what.contains("`da.srs_file`")), "{refused:?}");
        let empty = committer.commit(&Bytes::new()).await;
        assert!(matches!(empty, Err(DaError::Reject { .. })), "{empty:?}");
    }

    #[test]
    fn a_file_must_hold_more_than_what_is_shipped() {
        let missing = Committer::with_file(Path::new("/no/such/g1.point"));
        assert!(matches!(missing.err(), Some(DaError::Reject { .. })));
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let short = Committer::with_file(&here.join("eigenda-client/testdata/g1-1024.point"));
        assert!(matches!(short.err(), Some(DaError::Reject { what, .. }) if what.contains("1024 points")));
        let shipped = Committer::with_file(&here.join("srs/g1-32768.point")).unwrap();
        assert_eq!(shipped.payload_bytes_max(), crate::settings::PAYLOAD_BYTES_LIMIT);
        let largest = Domain::new(SHIPPED_SYMBOLS).unwrap();
        assert_eq!(shipped.points_for(largest).unwrap().points(), SHIPPED_SYMBOLS as usize);
    }
}
