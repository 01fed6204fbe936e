//! Points of G1 as bytes: 64 for commitments and proofs, 32 in files of the reference string.
//!
//! The long form is the one of Ethereum's precompiles and of EigenDA's certificates: x, then y, big endian; 64 zeros are the
//! point at infinity. A verifier needs no square root to read it. The short form is gnark's: x, with the two highest bits
//! telling which of the two y is meant.

use ark_bn254::{Fq, G1Affine};
use ark_ec::AffineRepr;

use crate::field;

/// Bytes of a point in the long form.
pub const POINT_BYTES: usize = 64;
/// Bytes of a point in the short form.
pub const COMPRESSED_BYTES: usize = 32;

/// The two highest bits of the short form.
const MASK: u8 = 0b1100_0000;
const SMALLER_Y: u8 = 0b1000_0000;
const LARGER_Y: u8 = 0b1100_0000;

/// Bytes are no point of G1. Trying again does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// A coordinate is not below the modulus of the base field.
    #[error("a coordinate is not below the modulus of the base field")]
    Coordinate,
    /// No point of the curve has these coordinates.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// The two highest bits of the short form are none that stand for a finite point.
    #[error("the highest bits say neither which y is meant nor that the point is finite")]
    Flags,
}

pub(crate) fn write(point: &G1Affine) -> [u8; POINT_BYTES] {
    let mut bytes = [0; POINT_BYTES];
    if let Some((x, y)) = point.xy() {
        bytes[..32].copy_from_slice(&field::write(x));
        bytes[32..].copy_from_slice(&field::write(y));
    }
    bytes
}

/// G1 is the whole curve, so that a point on the curve is in the group.
pub(crate) fn read(bytes: &[u8; POINT_BYTES]) -> Result<G1Affine, PointError> {
    if *bytes == [0; POINT_BYTES] {
        return Ok(G1Affine::identity());
    }
    let (x, y) = bytes.split_first_chunk::<32>().expect("64 bytes begin with 32");
    let y = y.first_chunk::<32>().expect("64 bytes are twice 32");
    let x = field::read::<Fq>(x).ok_or(PointError::Coordinate)?;
    let y = field::read::<Fq>(y).ok_or(PointError::Coordinate)?;
    let point = G1Affine::new_unchecked(x, y);
    if point.is_on_curve() { Ok(point) } else { Err(PointError::NotOnCurve) }
}

/// Reads a finite point in the short form.
pub(crate) fn read_compressed(bytes: &[u8; COMPRESSED_BYTES]) -> Result<G1Affine, PointError> {
    let larger = match bytes[0] & MASK {
        SMALLER_Y => false,
        LARGER_Y => true,
        _ => return Err(PointError::Flags),
    };
    let mut x = *bytes;
    x[0] &= !MASK;
    let x = field::read::<Fq>(&x).ok_or(PointError::Coordinate)?;
    G1Affine::get_point_from_x_unchecked(x, larger).ok_or(PointError::NotOnCurve)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ark_bn254::Fr;
    use ark_ec::CurveGroup;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_point_is_read_back_from_its_bytes(scalar in any::<u64>()) {
            let point = (G1Affine::generator() * Fr::from(scalar)).into_affine();
            prop_assert_eq!(read(&write(&point)), Ok(point));
        }

        #[test]
        fn no_flipped_bit_gives_a_point(scalar in 1u64.., bit in 0usize..512) {
            let mut bytes = write(&(G1Affine::generator() * Fr::from(scalar)).into_affine());
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Two points of one x differ in more than one bit of y, and so do those of one y in x.
            prop_assert!(read(&bytes).is_err());
        }
    }

    #[test]
    fn infinity_is_64_zeros_and_has_no_short_form() {
        assert_eq!(write(&G1Affine::identity()), [0; 64]);
        assert!(read(&[0; 64]).unwrap().is_zero());
        let mut infinity = [0; 32];
        infinity[0] = 0b0100_0000;
        assert_eq!(read_compressed(&infinity), Err(PointError::Flags));
        assert_eq!(read_compressed(&[0; 32]), Err(PointError::Flags));
    }

    #[test]
    fn the_highest_bits_choose_between_the_two_points() {
        let mut bytes = [0; 32];
        bytes[31] = 1;
        bytes[0] = SMALLER_Y;
        let generator = G1Affine::generator();
        assert_eq!(read_compressed(&bytes), Ok(generator));
        bytes[0] = LARGER_Y;
        assert_eq!(read_compressed(&bytes), Ok(-generator));
        bytes[31] = 4;
        assert_eq!(read_compressed(&bytes), Err(PointError::NotOnCurve));
        assert_eq!(read_compressed(&[0xff; 32]), Err(PointError::Coordinate));
    }
}
