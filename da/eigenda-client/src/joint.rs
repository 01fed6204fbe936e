//! The proof that several symbols are in a blob.
//!
//! The construction is that of Boneh, Drake, Fisch and Gabizon, [*Efficient polynomial commitment schemes for multiple points
//! and polynomials*](https://eprint.iacr.org/2020/081), section 4, for one polynomial, made non-interactive by a hash. It was
//! chosen from three:
//!
//! | | proof | to make it | to check it |
//! |---|---|---|---|
//! | an opening for each of *k* symbols | *k* points | *k* multiplications as long as the blob | 2 pairings |
//! | one commitment to (*p* − *r*) / *Z* | 1 point | 1 such multiplication | 2 pairings, and `[τ^i]` of G2 up to *k* |
//! | **this one** | 2 points, 128 bytes | 2 such multiplications | 2 pairings |
//!
//! The second is smaller, but its verifier needs *k* more points of G2, and here it needs no reference string at all. The first
//! costs as many commitments as there are symbols, which is seconds for a large blob.
//!
//! # The proof
//! The claim is that *p* has the values *y_j* at the points *x_j* = ω^(*i_j*). Let *r* be the polynomial of least degree with
//! those values and *Z* = Π (X − *x_j*).
//! 1. The first point *W* commits to *h* = (*p* − *r*) / *Z*.
//! 2. A number *z* is taken from keccak-256, modulo the order of the group, of these bytes one after the other: the 32 ASCII
//!    bytes `eigenda-client/joint-opening/v1/`; the commitment (64 bytes); the number of symbols in the blob and the number of
//!    claims (4 bytes each, big endian); for each claim its place (4 bytes) and symbol (32 bytes); *W* (64 bytes).
//! 3. The second point *V* commits to (*p* − *r*(*z*) − *Z*(*z*)·*h*) / (X − *z*), which divides without remainder.
//!
//! To check it: *F* = *C* − \[*r*(*z*)\] − *Z*(*z*)·*W*, and e(*F* + *z*·*V*, `[1]`) = e(*V*, `[τ]`).
//!
//! The claims are part of what is hashed, so that a proof is of exactly these symbols at these places: not of fewer, not in
//! another order, not in a blob of another size. It is sound in the algebraic group model, as is KZG itself in its usual use.

use ark_bn254::{Fr, G1Affine, G1Projective};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, batch_inversion};

use crate::blob::Blob;
use crate::domain::Domain;
use crate::kzg::{Claim, Commitment, KzgError, check_place, check_srs, combine, divide};
use crate::point::{self, POINT_BYTES, PointError};
use crate::srs::{Srs, hash_to_number, pairings_cancel};
use crate::symbol::Symbol;

/// The most symbols in one proof: 7,936 bytes of payload. The work of the verifier grows with the square, so it has a limit.
pub const SYMBOLS_MAX: usize = 256;

const TAG: &[u8; 32] = b"eigenda-client/joint-opening/v1/";

/// A proof of several symbols, in two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JointOpening {
    quotient: G1Affine,
    link: G1Affine,
}

impl JointOpening {
    /// Bytes of a proof.
    pub const BYTES: usize = 2 * POINT_BYTES;

    /// Opens a blob at several symbols, named in ascending order. The commitment is the blob's: it is part of what is hashed,
    /// and whoever makes a proof has it already. The proof is checked before it is given.
    ///
    /// # Errors
    /// [`KzgError::SrsTooShort`], [`KzgError::Places`] and [`KzgError::Place`]; [`KzgError::False`] if the commitment is another
    /// blob's.
    pub fn of(blob: &Blob, commitment: &Commitment, places: &[u32], srs: &Srs) -> Result<(Vec<Claim>, Self), KzgError> {
        check_srs(blob, srs)?;
        let domain = blob.domain();
        check_places(domain, places.iter().copied())?;
        let points = places.iter().map(|index| domain.point(*index)).collect::<Vec<_>>();

        // Dividing by one factor of Z after the other leaves h; the remainders are the coefficients of r in Newton's form.
        let mut quotient = blob.coefficients().to_vec();
        let newton = points.iter().map(|point| divide(&mut quotient, *point)).collect::<Vec<_>>();
        let claim = |(index, point): (&u32, &Fr)| Claim {
            index: *index,
            symbol: Symbol::of_number(newton_value(&newton, &points, *point)),
        };
        let claims = places.iter().zip(&points).map(claim).collect::<Vec<_>>();
        let first = combine(srs, &quotient);

        let challenge = challenge(commitment, domain, &claims, &first);
        let vanishing = vanishing(&points, challenge);
        let mut remaining = blob.coefficients().to_vec();
        for (coefficient, part) in remaining.iter_mut().zip(&quotient) {
            *coefficient -= vanishing * part;
        }
        remaining[0] -= newton_value(&newton, &points, challenge);
        let remainder = divide(&mut remaining, challenge);
        assert_eq!(remainder, Fr::ZERO, "p(z) = r(z) + Z(z)·h(z) for every z");
        let proof = Self { quotient: first, link: combine(srs, &remaining) };
        proof.check(&claims, commitment, domain)?;
        Ok((claims, proof))
    }

    /// Checks all claims at once against a commitment, whose domain comes from the same certificate.
    ///
    /// # Errors
    /// [`KzgError::Places`] and [`KzgError::Place`], and [`KzgError::False`] if the proof does not hold.
    pub fn check(&self, claims: &[Claim], commitment: &Commitment, domain: Domain) -> Result<(), KzgError> {
        check_places(domain, claims.iter().map(|claim| claim.index))?;
        let points = claims.iter().map(|claim| domain.point(claim.index)).collect::<Vec<_>>();
        let challenge = challenge(commitment, domain, claims, &self.quotient);
        let value = G1Affine::generator() * lagrange_value(claims, &points, challenge);
        let left: G1Projective =
            commitment.point() - value - self.quotient * vanishing(&points, challenge) + self.link * challenge;
        if pairings_cancel(left.into_affine(), -self.link) { Ok(()) } else { Err(KzgError::False) }
    }

    /// The proof with these bytes: both points in the long form of [`crate::point`].
    ///
    /// # Errors
    /// [`PointError`] if one is no point.
    pub fn read(bytes: &[u8; Self::BYTES]) -> Result<Self, PointError> {
        let (points, _) = bytes.as_chunks::<POINT_BYTES>();
        Ok(Self { quotient: point::read(&points[0])?, link: point::read(&points[1])? })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..POINT_BYTES].copy_from_slice(&point::write(&self.quotient));
        bytes[POINT_BYTES..].copy_from_slice(&point::write(&self.link));
        bytes
    }
}

fn check_places(domain: Domain, mut places: impl ExactSizeIterator<Item = u32> + Clone) -> Result<(), KzgError> {
    let count = places.len();
    if count == 0 || count > SYMBOLS_MAX || !places.clone().is_sorted_by(|one, next| one < next) {
        return Err(KzgError::Places { count });
    }
    places.try_for_each(|index| check_place(domain, index))
}

fn challenge(commitment: &Commitment, domain: Domain, claims: &[Claim], quotient: &G1Affine) -> Fr {
    let count = u32::try_from(claims.len()).expect("there are at most 256");
    let mut transcript = Vec::with_capacity(TAG.len() + 2 * POINT_BYTES + 8 + claims.len() * (4 + Symbol::BYTES));
    transcript.extend_from_slice(TAG);
    transcript.extend_from_slice(&commitment.to_bytes());
    transcript.extend_from_slice(&domain.symbols().to_be_bytes());
    transcript.extend_from_slice(&count.to_be_bytes());
    for claim in claims {
        transcript.extend_from_slice(&claim.index.to_be_bytes());
        transcript.extend_from_slice(claim.symbol.as_bytes());
    }
    transcript.extend_from_slice(&point::write(quotient));
    hash_to_number(&transcript)
}

/// Z at a point.
fn vanishing(points: &[Fr], at: Fr) -> Fr {
    points.iter().map(|point| at - point).product()
}

/// r at a point, from the remainders of the divisions: c_0 + (X − x_0)(c_1 + (X − x_1)(c_2 + ...)).
fn newton_value(coefficients: &[Fr], points: &[Fr], at: Fr) -> Fr {
    let terms = coefficients.iter().zip(points).rev();
    terms.fold(Fr::ZERO, |value, (coefficient, point)| value * (at - point) + coefficient)
}

/// r at a point, from the values that it takes.
fn lagrange_value(claims: &[Claim], points: &[Fr], at: Fr) -> Fr {
    let others = |own: usize| points.iter().enumerate().filter(move |(other, _)| *other != own).map(|(_, point)| *point);
    let differences = |(own, point): (usize, &Fr)| others(own).map(|other| *point - other).product();
    let mut denominators = points.iter().enumerate().map(differences).collect::<Vec<Fr>>();
    // The points are distinct, so that none is zero.
    batch_inversion(&mut denominators);
    let terms = claims.iter().zip(denominators).enumerate();
    terms.map(|(own, (claim, inverse))| claim.value() * inverse * others(own).map(|other| at - other).product::<Fr>()).sum()
}
