//! How many symbols a blob has, and the points at which its polynomial is evaluated.

use ark_bn254::Fr;
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};

use crate::payload::{PAYLOAD_BYTES_MAX, PayloadError};
use crate::symbol::Symbol;

/// The size of a blob in symbols: a power of two, at most 524,288 (16 MiB).
///
/// It is also the domain of evaluation: symbol *i* of the encoded payload is the value of the blob's polynomial at ω^*i*, where
/// ω is the root of unity of exactly this order. A proof says nothing without it, and it must come from the certificate
/// ([`crate::certificate::BlobHeader::domain`]), never from whoever brings the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    symbols: u32,
}

/// There is no blob of so many symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob has a power of two of symbols, at most {}, not {symbols}", Domain::SYMBOLS_MAX)]
pub struct DomainError {
    /// How many they were.
    pub symbols: u64,
}

impl Domain {
    /// Symbols of the largest blob.
    pub const SYMBOLS_MAX: u32 = 1 << 19;
    /// Symbols that the smallest blob is billed for (128 KiB).
    pub const SYMBOLS_BILLED_MIN: u32 = 4096;

    /// The domain of a blob of so many symbols.
    ///
    /// # Errors
    /// [`DomainError`] if EigenDA has no such blobs.
    pub const fn new(symbols: u32) -> Result<Self, DomainError> {
        if symbols.is_power_of_two() && symbols <= Self::SYMBOLS_MAX {
            Ok(Self { symbols })
        } else {
            Err(DomainError { symbols: symbols as u64 })
        }
    }

    /// The domain of the smallest blob that holds a payload of so many bytes. This is the one that the EigenDA proxy uses.
    ///
    /// # Errors
    /// [`PayloadError::Empty`] and [`PayloadError::TooLarge`].
    pub fn of_payload(bytes: usize) -> Result<Self, PayloadError> {
        if bytes == 0 {
            return Err(PayloadError::Empty);
        }
        let symbols = 1 + bytes.div_ceil(Symbol::PAYLOAD_BYTES);
        let domain = u32::try_from(symbols).ok().and_then(u32::checked_next_power_of_two).map(Self::new);
        match domain {
            Some(Ok(domain)) => {
                assert!(bytes <= PAYLOAD_BYTES_MAX, "the largest payload fills the largest blob");
                Ok(domain)
            }
            _ => Err(PayloadError::TooLarge { bytes }),
        }
    }

    /// How many symbols.
    pub const fn symbols(self) -> u32 {
        self.symbols
    }

    /// Bytes of a blob, and of an encoded payload, of this size.
    pub const fn bytes(self) -> usize {
        self.symbols as usize * Symbol::BYTES
    }

    /// The largest payload that a blob of this size holds: 31 bytes in each symbol but the header. A payload of exactly
    /// this size wastes nothing; one byte more doubles the blob, and above 4,096 symbols the bill.
    pub const fn payload_bytes_max(self) -> usize {
        (self.symbols as usize - 1) * Symbol::PAYLOAD_BYTES
    }

    /// How many symbols a blob of this size is billed for.
    pub const fn symbols_billed(self) -> u32 {
        if self.symbols < Self::SYMBOLS_BILLED_MIN { Self::SYMBOLS_BILLED_MIN } else { self.symbols }
    }

    /// ω^*index*, the point at which the polynomial takes the value of that symbol.
    pub(crate) fn point(self, index: u32) -> Fr {
        self.radix2().element(index as usize)
    }

    pub(crate) fn radix2(self) -> Radix2EvaluationDomain<Fr> {
        Radix2EvaluationDomain::new(self.symbols as usize).expect("the field has roots of unity of order 2^28, a blob needs 2^19")
    }
}
