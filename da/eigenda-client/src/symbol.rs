//! One symbol: the unit in which EigenDA counts, stores and bills, and the least that can be proven.

use ark_bn254::Fr;

use crate::field;

/// 32 bytes, big endian, that are a number below the modulus of BN254's scalar field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol([u8; Symbol::BYTES]);

/// The bytes are no symbol: as a number they are not below the modulus of the scalar field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the 32 bytes are not below the modulus of the scalar field")]
pub struct NotInField;

impl Symbol {
    /// Bytes of a symbol.
    pub const BYTES: usize = 32;
    /// Bytes of payload in a symbol; the first byte of each is zero, which keeps it below the modulus.
    pub const PAYLOAD_BYTES: usize = 31;

    /// The symbol with these bytes.
    ///
    /// # Errors
    /// [`NotInField`], for a symbol is written in one way only.
    pub fn new(bytes: [u8; Self::BYTES]) -> Result<Self, NotInField> {
        field::read::<Fr>(&bytes).map(|_| Self(bytes)).ok_or(NotInField)
    }

    /// The symbol that holds these bytes of a payload: a zero byte, the bytes, zeros. `None` for more than 31 bytes.
    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        bytes[1..].get_mut(..payload.len())?.copy_from_slice(payload);
        Some(Self(bytes))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The 31 bytes of payload in it, or `None` if its first byte is not zero, so that it is none of an encoded payload.
    pub fn payload(&self) -> Option<&[u8]> {
        self.0.split_first().filter(|(first, _)| **first == 0).map(|(_, payload)| payload)
    }

    pub(crate) fn number(&self) -> Fr {
        field::read(&self.0).expect("a symbol is below the modulus: every constructor sees to it")
    }

    pub(crate) fn of_number(number: Fr) -> Self {
        Self(field::write(number))
    }
}
