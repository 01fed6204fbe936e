//! The structured reference string: the powers of a number that nobody knows, as points.
//!
//! A commitment needs as many points of G1 as its blob has symbols, from a `g1.point` file as EigenDA ships it: one point of
//! 32 bytes after the other, in the short form of [`crate::point`], `[τ^0]`, `[τ^1]`, and so on. Verifying needs no file: `[1]`
//! and `[τ]` of G2 are constants here.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ark_bn254::{Bn254, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::pairing::{Pairing, PairingOutput};
use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
use ark_ff::{Field, MontFp, PrimeField};
#[cfg(feature = "parallel")]
use rayon::prelude::*;

use crate::domain::Domain;
use crate::point::{self, COMPRESSED_BYTES, PointError};
use crate::products::sum_of_products;

/// `[τ]` of G2 of EigenDA's reference string, the same for mainnet and testnets. The number is `G2_TAU` of
/// `rust-kzg-bn254-primitives` 0.1.4 (<https://github.com/Layr-Labs/rust-kzg-bn254>, `primitives/src/consts.rs`); every
/// [`Srs`] is checked against it.
const TAU_G2: G2Affine = G2Affine::new_unchecked(
    Fq2::new(
        MontFp!("19394299006376106554626551996044114846855237028623244664226757033024550999552"),
        MontFp!("10478571113809844268398751534081669357808742555529167819607714577862447855483"),
    ),
    Fq2::new(
        MontFp!("9205262336805673656533560220225620941045451042642528799409071118332922267006"),
        MontFp!("10552783866161062341197740743287753408530108186218052255509661543860392060676"),
    ),
);

/// `[1]` and `[τ]` of G2, prepared for the Miller loop once.
static G2: LazyLock<[<Bn254 as Pairing>::G2Prepared; 2]> = LazyLock::new(|| [G2Affine::generator().into(), TAU_G2.into()]);

/// The first points of the reference string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srs {
    powers: Vec<G1Affine>,
}

/// A file holds no reference string of EigenDA, or too little of one. Get the right file; its source is in the README.
#[derive(Debug, thiserror::Error)]
pub enum SrsError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are fewer points than wanted, or none, or the last one is cut off.
    #[error("{points} points were wanted, and the bytes hold {bytes} of the {} for them", points * COMPRESSED_BYTES)]
    Short {
        /// How many points.
        points: usize,
        /// How many bytes there are.
        bytes: usize,
    },
    /// More points were asked for than the largest blob needs.
    #[error("{points} points were wanted, and no blob needs more than {}", Domain::SYMBOLS_MAX)]
    Excess {
        /// How many points.
        points: usize,
    },
    /// A point is none.
    #[error("point {index}: {source}")]
    Point {
        /// Which.
        index: usize,
        /// What is wrong with it.
        source: PointError,
    },
    /// The points are not the powers of EigenDA's τ, in order from the zeroth.
    #[error("the points are not the first powers of EigenDA's reference string")]
    Foreign,
}

impl Srs {
    /// Reads the first `points` points of a `g1.point` file. 32,768 of them serve blobs up to 1 MiB, 524,288 all blobs.
    ///
    /// # Errors
    /// [`SrsError`]; the checks are those of [`Srs::read`].
    pub fn load(path: &Path, points: usize) -> Result<Self, SrsError> {
        if points > Domain::SYMBOLS_MAX as usize {
            return Err(SrsError::Excess { points });
        }
        let failed = |source| SrsError::Io { path: path.to_owned(), source };
        let mut bytes = Vec::with_capacity(points * COMPRESSED_BYTES);
        let wanted = (points * COMPRESSED_BYTES) as u64;
        File::open(path).and_then(|file| file.take(wanted).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() < points * COMPRESSED_BYTES {
            return Err(SrsError::Short { points, bytes: bytes.len() });
        }
        Self::read(&bytes)
    }

    /// Reads all points of these bytes. Each is checked to be on the curve, the zeroth to be the generator, and the first to be
    /// τ times it; that the others are the powers too is what [`Srs::check_powers`] checks, at a price.
    ///
    /// # Errors
    /// [`SrsError`] with the first thing wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, SrsError> {
        let (points, rest) = bytes.as_chunks::<COMPRESSED_BYTES>();
        if points.len() > Domain::SYMBOLS_MAX as usize {
            return Err(SrsError::Excess { points: points.len() });
        }
        if points.is_empty() || !rest.is_empty() {
            return Err(SrsError::Short { points: points.len() + 1, bytes: bytes.len() });
        }
        let srs = Self { powers: decompress(points)? };
        let first_two = srs.powers.get(1).is_none_or(|tau| pairings_cancel(*tau, -G1Affine::generator()));
        if srs.powers[0] == G1Affine::generator() && first_two { Ok(srs) } else { Err(SrsError::Foreign) }
    }

    /// Checks that every point is τ times the one before, by one pairing of a combination of all of them. The coefficients
    /// come from a hash of the points, so that a wrong point passes with a chance below 2^−230. It costs about two commitments
    /// of the full size; a string that was never checked so can only make commitments that no certificate agrees with.
    ///
    /// # Errors
    /// [`SrsError::Foreign`] if one is not.
    pub fn check_powers(&self) -> Result<(), SrsError> {
        let Some((_, shifted)) = self.powers.split_first().filter(|(_, shifted)| !shifted.is_empty()) else {
            return Ok(());
        };
        let bytes = self.powers.iter().flat_map(point::write).collect::<Vec<_>>();
        let ratio = hash_to_number(&bytes);
        let coefficients = std::iter::successors(Some(Fr::ONE), |last| Some(*last * ratio));
        let coefficients = coefficients.take(shifted.len()).collect::<Vec<_>>();
        let higher = sum_of_products(shifted, &coefficients);
        let lower = sum_of_products(&self.powers[..shifted.len()], &coefficients);
        if pairings_cancel(higher.into_affine(), -lower.into_affine()) { Ok(()) } else { Err(SrsError::Foreign) }
    }

    /// How many points there are: the most symbols that a blob may have to be committed to.
    pub fn points(&self) -> usize {
        self.powers.len()
    }

    pub(crate) fn powers(&self) -> &[G1Affine] {
        &self.powers
    }
}

/// Whether e(`by_one`, `[1]`) · e(`by_tau`, `[τ]`) = 1.
pub(crate) fn pairings_cancel(by_one: G1Affine, by_tau: G1Affine) -> bool {
    Bn254::multi_pairing([by_one, by_tau], G2.clone()) == PairingOutput::<Bn254>::ZERO
}

/// keccak-256 of the bytes as a big-endian number, modulo the order of the group. It is not quite uniform, but no number is
/// likelier than six in 2^256.
pub(crate) fn hash_to_number(bytes: &[u8]) -> Fr {
    Fr::from_be_bytes_mod_order(alloy_primitives::keccak256(bytes).as_slice())
}

fn decompress(points: &[[u8; COMPRESSED_BYTES]]) -> Result<Vec<G1Affine>, SrsError> {
    let read = |(index, bytes)| point::read_compressed(bytes).map_err(|source| SrsError::Point { index, source });
    #[cfg(feature = "parallel")]
    return points.par_iter().enumerate().map(read).collect();
    #[cfg(not(feature = "parallel"))]
    points.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tau_is_in_the_group() {
        assert!(TAU_G2.is_on_curve() && TAU_G2.is_in_correct_subgroup_assuming_on_curve());
    }
}
