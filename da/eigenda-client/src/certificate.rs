//! Certificates: what a dispersal gives, and what is needed to get the payload back and to check it.
//!
//! A certificate is kept byte for byte as the proxy gave it. Its identity is its hash, and the proxy's own secondary storage
//! finds the payload under a hash of it too (of the RLP alone, without the bytes before); so it is never re-encoded. Opening it ([`Certificate::open`]) is a
//! second step, which reads all of it or refuses it.
//!
//! | commitment mode | bytes |
//! |---|---|
//! | standard | version byte, RLP |
//! | OP generic | `01 00`, version byte, RLP |
//!
//! The version byte is one less than the version of the certificate: `01` is V2, `02` V3, `03` V4. `00`, of EigenDA's first
//! protocol, is no longer in use. The two modes cannot be confused: in the standard mode an RLP list follows the first byte, and
//! none begins with `00`.

mod contents;
mod rlp;

use alloy_primitives::{B256, hex, keccak256};
use bytes::Bytes;

use crate::domain::DomainError;
use crate::point::PointError;

pub use contents::{
    BatchHeader, BlobCertificate, BlobHeader, Contents, G1Coordinates, G2Coordinates, Inclusion, NonSignerStakesAndSignature,
};

/// The longest certificate that is taken. One of mainnet has about 4,300 bytes. It is written in hex in a URL to get its
/// payload back, and the `http` crate takes no URL longer than 65,534 bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 32_000;

/// The first bytes in the OP generic mode: a commitment of the generic type, of the layer EigenDA.
const OP_GENERIC: [u8; 2] = [0x01, 0x00];

/// Around the certificate's version and its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nothing. Arbitrum's stack and everybody without a reason for another.
    Standard,
    /// The two bytes of the OP stack's generic commitments (without the third before them, which its batcher adds).
    OpGeneric,
}

/// The version of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The first of the second protocol; the inclusion stands before the batch's header.
    V2,
    /// The batch's header stands first.
    V3,
    /// V3 and the version of the rules by which a rollup derives from it.
    V4,
}

impl Version {
    /// The byte before the certificate.
    pub const fn byte(self) -> u8 {
        match self {
            Self::V2 => 1,
            Self::V3 => 2,
            Self::V4 => 3,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::V2),
            2 => Some(Self::V3),
            3 => Some(Self::V4),
            _ => None,
        }
    }
}

/// The bytes are no certificate. Keep them nevertheless: if EigenDA's proxy gave them, a payload was stored and paid for, and a
/// later version of this crate may read them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There are more than any certificate has.
    #[error("{bytes} bytes are too many for a certificate: it has at most {CERTIFICATE_BYTES_MAX}")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// The version byte is missing.
    #[error("the version byte is missing")]
    Empty,
    /// The version byte is none of a version that is known here.
    #[error("certificates with the version byte {byte:#04x} are not known")]
    Version {
        /// The byte.
        byte: u8,
    },
    /// A field is not what it must be.
    #[error("{field}: {what}")]
    Field {
        /// The field, by its name in the contracts.
        field: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The length of the blob is none that a blob has.
    #[error("length: {0}")]
    Domain(#[from] DomainError),
    /// The commitment is no point of the curve.
    #[error("commitment: {0}")]
    Commitment(#[from] PointError),
}

/// A certificate, verbatim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    bytes: Bytes,
    mode: Mode,
    version: Version,
}

impl Certificate {
    /// Takes bytes for a certificate if its first bytes are right and one RLP list fills the rest. Its fields are not read yet.
    ///
    /// # Errors
    /// [`CertificateError`] if they cannot be a certificate of a known version.
    pub fn read(bytes: Bytes) -> Result<Self, CertificateError> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLong { bytes: bytes.len() });
        }
        let (mode, versioned) = match bytes.strip_prefix(&OP_GENERIC) {
            Some(versioned) => (Mode::OpGeneric, versioned),
            None => (Mode::Standard, &bytes[..]),
        };
        let (byte, rlp) = versioned.split_first().ok_or(CertificateError::Empty)?;
        let version = Version::of_byte(*byte).ok_or(CertificateError::Version { byte: *byte })?;
        rlp::Fields::whole(rlp, "certificate")?;
        Ok(Self { bytes, mode, version })
    }

    /// Reads all of its fields.
    ///
    /// # Errors
    /// [`CertificateError`] with the first field that is not in its only valid form, that is missing, or that is too much.
    pub fn open(&self) -> Result<Contents, CertificateError> {
        let before = if self.mode == Mode::OpGeneric { OP_GENERIC.len() + 1 } else { 1 };
        contents::read(&self.bytes[before..], self.version)
    }

    /// keccak-256 of all its bytes, its name. The same certificate in the other mode has another.
    pub fn id(&self) -> B256 {
        keccak256(&self.bytes)
    }

    /// The bytes as they came.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes in hex, as a URL of the proxy has them.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }

    /// What stands before the version.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The version.
    pub const fn version(&self) -> Version {
        self.version
    }
}
