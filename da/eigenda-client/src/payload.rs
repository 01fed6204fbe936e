//! The encoding of payloads, version 0: the header, 31 bytes in every symbol, zeros up to a power of two.
//!
//! ```text
//! symbol 0      00 | 00 (version) | length of the payload, 4 bytes, big endian | 26 zeros
//! symbol 1      00 | bytes 0 to 30 of the payload
//! symbol 2      00 | bytes 31 to 61
//! ...           00 | the rest, then zeros; then symbols of zeros up to a power of two
//! ```
//! The format is that of EigenDA's integration specification, chapter *Data structs*.

use std::ops::Range;

use crate::domain::Domain;
use crate::symbol::Symbol;

/// Bytes of the largest payload: 31 in each of the 524,287 symbols after the header's.
pub const PAYLOAD_BYTES_MAX: usize = (Domain::SYMBOLS_MAX as usize - 1) * Symbol::PAYLOAD_BYTES;

const VERSION: u8 = 0;

/// A payload cannot be encoded, or bytes are no encoded payload. None of them goes away by trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// An empty payload: EigenDA would take it and bill it, and could not give it back.
    #[error("the payload is empty: EigenDA takes none such")]
    Empty,
    /// The payload is larger than a blob of the given or of the largest size holds. Split it.
    #[error("a payload of {bytes} bytes does not fit: the largest that EigenDA takes has {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The bytes are not a power of two of symbols, or more than the largest blob has.
    #[error("{bytes} bytes are no power of two of symbols of 32 bytes, at most {}", Domain::SYMBOLS_MAX)]
    Size {
        /// How many bytes they are.
        bytes: usize,
    },
    /// The header's version is another than 0.
    #[error("encoded payloads of version {version} are not known")]
    Version {
        /// The version.
        version: u8,
    },
    /// The header says that the payload is longer than the symbols after it can hold.
    #[error("the header claims a payload of {claimed} bytes where {room} have room")]
    Length {
        /// Bytes that the header claims.
        claimed: u32,
        /// Bytes that there is room for.
        room: usize,
    },
    /// A byte that must be zero is not.
    #[error("byte {at} of the encoded payload must be zero")]
    Padding {
        /// Its place.
        at: usize,
    },
    /// A symbol is no number of the field.
    #[error("symbol {index} is not below the modulus of the scalar field")]
    NotInField {
        /// Its place.
        index: usize,
    },
}

/// The places of the symbols that hold these bytes of a payload; empty for no bytes. The places depend on nothing else, so a
/// verifier computes them itself.
///
/// ```
/// # use eigenda_client::payload::symbols_of;
/// assert_eq!(symbols_of(0..31), Some(1..2));
/// assert_eq!(symbols_of(30..32), Some(1..3));
/// ```
///
/// `None` if the range is reversed or reaches beyond the largest payload.
pub fn symbols_of(range: Range<usize>) -> Option<Range<u32>> {
    if range.start > range.end || range.end > PAYLOAD_BYTES_MAX {
        return None;
    }
    let first = u32::try_from(1 + range.start / Symbol::PAYLOAD_BYTES).ok()?;
    let end = u32::try_from(1 + range.end.div_ceil(Symbol::PAYLOAD_BYTES)).ok()?;
    Some(if range.is_empty() { first..first } else { first..end })
}

/// The bytes of an encoded payload, known to be well formed: decoding cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPayload {
    bytes: Vec<u8>,
    domain: Domain,
    payload_bytes: usize,
}

impl EncodedPayload {
    /// Encodes a payload in the smallest blob that holds it, as the EigenDA proxy does.
    ///
    /// # Errors
    /// [`PayloadError::Empty`] and [`PayloadError::TooLarge`].
    pub fn encode(payload: &[u8]) -> Result<Self, PayloadError> {
        Self::encode_in(Domain::of_payload(payload.len())?, payload)
    }

    /// Encodes a payload in a blob of a given size, such as that of a certificate which is to be checked.
    ///
    /// # Errors
    /// [`PayloadError::Empty`], and [`PayloadError::TooLarge`] if it does not fit.
    pub fn encode_in(domain: Domain, payload: &[u8]) -> Result<Self, PayloadError> {
        if payload.is_empty() {
            return Err(PayloadError::Empty);
        }
        let too_large = PayloadError::TooLarge { bytes: payload.len() };
        if payload.len() > domain.payload_bytes_max() {
            return Err(too_large);
        }
        let length = u32::try_from(payload.len()).map_err(|_| too_large)?;
        let mut bytes = vec![0; domain.bytes()];
        let (symbols, _) = bytes.as_chunks_mut::<{ Symbol::BYTES }>();
        symbols[0][1] = VERSION;
        symbols[0][2..6].copy_from_slice(&length.to_be_bytes());
        for (symbol, part) in symbols[1..].iter_mut().zip(payload.chunks(Symbol::PAYLOAD_BYTES)) {
            symbol[1..=part.len()].copy_from_slice(part);
        }
        Ok(Self { bytes, domain, payload_bytes: payload.len() })
    }

    /// Takes bytes for an encoded payload, if they are one to the last byte.
    ///
    /// # Errors
    /// [`PayloadError`] with the first thing wrong: the size, the header, the length, or a byte that is not zero.
    pub fn read(bytes: Vec<u8>) -> Result<Self, PayloadError> {
        let domain = domain_of_bytes(bytes.len())?;
        let (symbols, _) = bytes.as_chunks::<{ Symbol::BYTES }>();
        if let Some(index) = symbols.iter().position(|symbol| symbol[0] != 0) {
            return Err(PayloadError::Padding { at: index * Symbol::BYTES });
        }
        let [_, version, a, b, c, d, rest @ ..] = &symbols[0];
        if *version != VERSION {
            return Err(PayloadError::Version { version: *version });
        }
        if let Some(at) = rest.iter().position(|byte| *byte != 0) {
            return Err(PayloadError::Padding { at: at + 6 });
        }
        let claimed = u32::from_be_bytes([*a, *b, *c, *d]);
        let payload_bytes = claimed as usize;
        let room = domain.payload_bytes_max();
        if payload_bytes == 0 {
            return Err(PayloadError::Empty);
        }
        if payload_bytes > room {
            return Err(PayloadError::Length { claimed, room });
        }
        let (used, left) = (payload_bytes / Symbol::PAYLOAD_BYTES, payload_bytes % Symbol::PAYLOAD_BYTES);
        let end = Symbol::BYTES * (1 + used) + if left == 0 { 0 } else { 1 + left };
        if let Some(at) = bytes[end..].iter().position(|byte| *byte != 0) {
            return Err(PayloadError::Padding { at: end + at });
        }
        Ok(Self { bytes, domain, payload_bytes })
    }

    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        let (symbols, _) = self.bytes.as_chunks::<{ Symbol::BYTES }>();
        let mut payload = Vec::with_capacity(symbols.len() * Symbol::PAYLOAD_BYTES);
        for symbol in &symbols[1..] {
            payload.extend_from_slice(&symbol[1..]);
        }
        payload.truncate(self.payload_bytes);
        payload
    }

    /// The size of its blob.
    pub const fn domain(&self) -> Domain {
        self.domain
    }

    /// One symbol, or `None` beyond the last.
    pub fn symbol(&self, index: u32) -> Option<Symbol> {
        let (symbols, _) = self.bytes.as_chunks::<{ Symbol::BYTES }>();
        let symbol = symbols.get(index as usize)?;
        Some(Symbol::new(*symbol).expect("the first byte of each is zero, which is below the modulus"))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The domain of so many bytes of symbols.
pub(crate) fn domain_of_bytes(bytes: usize) -> Result<Domain, PayloadError> {
    let wrong = PayloadError::Size { bytes };
    if !bytes.is_multiple_of(Symbol::BYTES) {
        return Err(wrong);
    }
    let symbols = u32::try_from(bytes / Symbol::BYTES).map_err(|_| wrong)?;
    Domain::new(symbols).map_err(|_| wrong)
}
