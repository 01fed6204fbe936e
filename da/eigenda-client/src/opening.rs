//! The proof that one symbol is in a blob.

use ark_bn254::{Fr, G1Affine, G1Projective};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field};

use crate::blob::Blob;
use crate::domain::Domain;
use crate::kzg::{Claim, Commitment, KzgError, check_place, check_srs, combine, divide};
use crate::point::{self, POINT_BYTES, PointError};
use crate::srs::{Srs, hash_to_number, pairings_cancel};
use crate::symbol::Symbol;

const TAG: &[u8; 32] = b"eigenda-client/openings-at-once/";

/// A KZG proof in its plainest form: the commitment to (*p* − *y*) / (X − ω^*i*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening(G1Affine);

impl Opening {
    /// Opens a blob at one symbol. One division and one multi-scalar multiplication, as long as a commitment takes.
    ///
    /// # Errors
    /// [`KzgError::SrsTooShort`] and [`KzgError::Place`].
    pub fn of(blob: &Blob, index: u32, srs: &Srs) -> Result<(Claim, Self), KzgError> {
        check_srs(blob, srs)?;
        check_place(blob.domain(), index)?;
        let mut quotient = blob.coefficients().to_vec();
        let value = divide(&mut quotient, blob.domain().point(index));
        Ok((Claim { index, symbol: Symbol::of_number(value) }, Self(combine(srs, &quotient))))
    }

    /// Checks the claim against a commitment, whose domain comes from the same certificate.
    ///
    /// # Errors
    /// [`KzgError::Place`], and [`KzgError::False`] if the proof does not hold.
    pub fn check(&self, claim: &Claim, commitment: &Commitment, domain: Domain) -> Result<(), KzgError> {
        check_place(domain, claim.index)?;
        // e(C − [y] + ω^i·π, [1]) = e(π, [τ])
        let value = G1Affine::generator() * claim.value();
        let left: G1Projective = commitment.point() - value + self.0 * domain.point(claim.index);
        if pairings_cancel(left.into_affine(), -self.0) { Ok(()) } else { Err(KzgError::False) }
    }

    /// Checks several claims about one blob, each with its own proof, by two pairings in all. It tells that one is false, not
    /// which. Of no claims all hold.
    ///
    /// The equations of [`Opening::check`] are added up, each times another power of a number that keccak-256 takes from all that
    /// is checked: the 32 ASCII bytes `eigenda-client/openings-at-once/`; the commitment (64 bytes); the number of symbols in the
    /// blob (4 bytes, big endian); for each claim its place (4 bytes), symbol (32 bytes) and proof (64 bytes). Where one equation
    /// is false, the sum is too, but for a chance of the number of claims in 2^253.
    ///
    /// # Errors
    /// [`KzgError::Place`], and [`KzgError::False`] if one of the proofs does not hold.
    pub fn check_all(proven: &[(Claim, Self)], commitment: &Commitment, domain: Domain) -> Result<(), KzgError> {
        proven.iter().try_for_each(|(claim, _)| check_place(domain, claim.index))?;
        let ratio = challenge(proven, commitment, domain);
        // Σ r^j·(C − [y_j] + x_j·π_j) and Σ r^j·π_j
        let (mut left, mut right) = (G1Projective::ZERO, G1Projective::ZERO);
        let (mut power, mut powers, mut value) = (Fr::ONE, Fr::ZERO, Fr::ZERO);
        for (claim, proof) in proven {
            left += proof.0 * (power * domain.point(claim.index));
            right += proof.0 * power;
            powers += power;
            value += power * claim.value();
            power *= ratio;
        }
        left += commitment.point() * powers - G1Affine::generator() * value;
        if pairings_cancel(left.into_affine(), -right.into_affine()) { Ok(()) } else { Err(KzgError::False) }
    }

    /// The proof with these bytes, in the long form of [`crate::point`].
    ///
    /// # Errors
    /// [`PointError`] if they are no point.
    pub fn read(bytes: &[u8; POINT_BYTES]) -> Result<Self, PointError> {
        point::read(bytes).map(Self)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; POINT_BYTES] {
        point::write(&self.0)
    }
}

fn challenge(proven: &[(Claim, Opening)], commitment: &Commitment, domain: Domain) -> Fr {
    let mut transcript = Vec::with_capacity(TAG.len() + POINT_BYTES + 4 + proven.len() * (4 + Symbol::BYTES + POINT_BYTES));
    transcript.extend_from_slice(TAG);
    transcript.extend_from_slice(&commitment.to_bytes());
    transcript.extend_from_slice(&domain.symbols().to_be_bytes());
    for (claim, proof) in proven {
        transcript.extend_from_slice(&claim.index.to_be_bytes());
        transcript.extend_from_slice(claim.symbol.as_bytes());
        transcript.extend_from_slice(&proof.to_bytes());
    }
    hash_to_number(&transcript)
}
