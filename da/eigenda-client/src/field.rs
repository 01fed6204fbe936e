//! Numbers of the two prime fields of BN254 as 32 big-endian bytes, each number in one way only.

use ark_ff::{BigInt, PrimeField};

/// The number, unless it is not below the modulus.
pub(crate) fn read<F: PrimeField<BigInt = BigInt<4>>>(bytes: &[u8; 32]) -> Option<F> {
    let (words, _) = bytes.as_chunks::<8>();
    let mut limbs = [0; 4];
    for (limb, word) in limbs.iter_mut().rev().zip(words) {
        *limb = u64::from_be_bytes(*word);
    }
    F::from_bigint(BigInt::new(limbs))
}

/// The 32 bytes of the number.
pub(crate) fn write<F: PrimeField<BigInt = BigInt<4>>>(number: F) -> [u8; 32] {
    let mut bytes = [0; 32];
    let (words, _) = bytes.as_chunks_mut::<8>();
    for (word, limb) in words.iter_mut().rev().zip(number.into_bigint().0) {
        *word = limb.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ark_bn254::{Fq, Fr};
    use ark_ff::{Field, PrimeField};

    use super::*;

    fn modulus<F: PrimeField<BigInt = BigInt<4>>>() -> [u8; 32] {
        let mut bytes = write(-F::ONE);
        bytes[31] += 1;
        bytes
    }

    #[test]
    fn the_modulus_and_what_is_above_it_is_refused() {
        assert_eq!(read::<Fr>(&modulus::<Fr>()), None);
        assert_eq!(read::<Fq>(&modulus::<Fq>()), None);
        assert_eq!(read::<Fr>(&[0xff; 32]), None);
        assert_eq!(read::<Fr>(&write(-Fr::ONE)), Some(-Fr::ONE));
    }

    #[test]
    fn bytes_are_big_endian() {
        let mut bytes = [0; 32];
        bytes[30] = 1;
        assert_eq!(read::<Fr>(&bytes), Some(Fr::from(256u64)));
        assert_eq!(write(Fr::from(256u64)), bytes);
    }
}
