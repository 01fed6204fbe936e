//! Commitments: one point that stands for a blob, and the equations that proofs about it must satisfy.
//!
//! A blob is kept as coefficients, so that committing is one multi-scalar multiplication with the reference string as it is in
//! the file. (Committing to the evaluations would first transform the string, which costs 40 times as much.) A proof that the
//! polynomial *p* takes certain values rests on division: *p* − *r* is divisible by *Z*, where *r* takes the claimed values at
//! the claimed places and *Z* vanishes there. Two forms of proof are offered:
//! - [`Opening`](crate::Opening): one symbol, one point. Other KZG libraries make and check the same.
//! - [`JointOpening`](crate::JointOpening): any set of up to 256 symbols, two points.

use ark_bn254::{Fr, G1Affine};
use ark_ec::CurveGroup;

use crate::blob::Blob;
use crate::domain::Domain;
use crate::point::{self, POINT_BYTES, PointError};
use crate::products::sum_of_products;
use crate::srs::Srs;
use crate::symbol::Symbol;

/// A commitment or a proof could not be made, or a proof does not hold. None of them goes away by trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KzgError {
    /// The reference string is too short for the blob: load more points.
    #[error("the blob has {symbols} symbols, the reference string only {points} points")]
    SrsTooShort {
        /// Symbols of the blob.
        symbols: u32,
        /// Points of the string.
        points: usize,
    },
    /// There is no such symbol in a blob of this size.
    #[error("there is no symbol {index} among {symbols}")]
    Place {
        /// Where it should be.
        index: u32,
        /// How many there are.
        symbols: u32,
    },
    /// A joint opening is of at least one symbol and at most 256, in ascending order, none twice.
    #[error("{count} places, which are not 1 to {} in ascending order", crate::joint::SYMBOLS_MAX)]
    Places {
        /// How many places were named.
        count: usize,
    },
    /// The proof does not prove the claim: the symbols are not these, or not there, or not in that blob.
    #[error("the proof does not hold")]
    False,
}

/// That a symbol is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The place, from 0, which is the header's.
    pub index: u32,
    /// The symbol.
    pub symbol: Symbol,
}

impl Claim {
    /// The value that the polynomial must take.
    pub(crate) fn value(&self) -> Fr {
        self.symbol.number()
    }
}

/// A commitment to a blob: to its coefficients, not to its size, for zeros at the end do not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment(G1Affine);

impl Commitment {
    /// Commits to a blob.
    ///
    /// # Errors
    /// [`KzgError::SrsTooShort`].
    pub fn to(blob: &Blob, srs: &Srs) -> Result<Self, KzgError> {
        check_srs(blob, srs)?;
        Ok(Self(combine(srs, blob.coefficients())))
    }

    /// The commitment with these bytes, in the long form of [`crate::point`].
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

    pub(crate) const fn point(&self) -> G1Affine {
        self.0
    }
}

pub(crate) fn check_srs(blob: &Blob, srs: &Srs) -> Result<(), KzgError> {
    let (symbols, points) = (blob.domain().symbols(), srs.points());
    if points < symbols as usize { Err(KzgError::SrsTooShort { symbols, points }) } else { Ok(()) }
}

pub(crate) fn check_place(domain: Domain, index: u32) -> Result<(), KzgError> {
    let symbols = domain.symbols();
    if index < symbols { Ok(()) } else { Err(KzgError::Place { index, symbols }) }
}

/// The polynomial at τ, as a point. The caller has checked that the string is long enough.
pub(crate) fn combine(srs: &Srs, coefficients: &[Fr]) -> G1Affine {
    if coefficients.is_empty() {
        return G1Affine::identity();
    }
    sum_of_products(&srs.powers()[..coefficients.len()], coefficients).into_affine()
}

/// Divides by X − `at`, in place, and gives the remainder, which is the value there. Synthetic division, or Horner's scheme: the
/// running values are the coefficients of the quotient.
pub(crate) fn divide(coefficients: &mut Vec<Fr>, at: Fr) -> Fr {
    let mut running = Fr::from(0u64);
    for coefficient in coefficients.iter_mut().rev() {
        running = running * at + *coefficient;
        *coefficient = running;
    }
    if coefficients.is_empty() { running } else { coefficients.remove(0) }
}

#[cfg(test)]
mod tests {
    use ark_bn254::G1Projective;
    use ark_ff::Field;
    use proptest::prelude::*;

    use super::*;

    fn value(coefficients: &[Fr], at: Fr) -> Fr {
        coefficients.iter().rev().fold(Fr::from(0u64), |value, coefficient| value * at + coefficient)
    }

    proptest! {
        #[test]
        fn quotient_times_divisor_plus_remainder_is_the_polynomial(
            coefficients in prop::collection::vec(any::<u64>(), 0..20), at in any::<u64>(), elsewhere in any::<u64>(),
        ) {
            let polynomial = coefficients.into_iter().map(Fr::from).collect::<Vec<_>>();
            let (at, elsewhere) = (Fr::from(at), Fr::from(elsewhere));
            let mut quotient = polynomial.clone();
            let remainder = divide(&mut quotient, at);
            prop_assert_eq!(remainder, value(&polynomial, at));
            prop_assert_eq!(quotient.len(), polynomial.len().saturating_sub(1));
            prop_assert_eq!(value(&quotient, elsewhere) * (elsewhere - at) + remainder, value(&polynomial, elsewhere));
        }

        /// Small numbers, and those next to the modulus, take paths of their own in the library.
        #[test]
        fn the_sum_of_products_is_right_for_every_size_of_number(sizes in prop::collection::vec((0u32..255, any::<bool>()), 1..40)) {
            let bytes = include_bytes!("../testdata/g1-1024.point");
            let srs = Srs::read(&bytes[..sizes.len() * 32]).expect("they are points");
            let numbers = sizes.iter().map(|(bits, negative)| {
                let number = Fr::from(2u64).pow([u64::from(*bits)]) - Fr::from(u64::from(bits % 2));
                if *negative { -number } else { number }
            });
            let numbers = numbers.collect::<Vec<_>>();
            let sum = srs.powers().iter().zip(&numbers).map(|(power, number)| *power * number).sum::<G1Projective>();
            prop_assert_eq!(combine(&srs, &numbers), sum.into_affine());
        }
    }
}
