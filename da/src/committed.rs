//! What a certificate says of itself: whose it is, and what it commits to.

use bytes::Bytes;
use tributary_schemas::units::keccak256;

use crate::committer::BlobCommitment;
use crate::eigenda;
use crate::error::DaError;
use crate::local::{self, LocalCertificate};

/// The backend that made a certificate and what it commits to, read from its bytes alone: those of the local backend begin with
/// `TRDC`, and whatever else is a certificate is EigenDA's, of any version and mode.
///
/// # Errors
/// [`DaError::Reject`] if it cannot be read: every byte must be as it must be.
pub fn committed(certificate: &Bytes) -> Result<(&'static str, BlobCommitment), DaError> {
    read(certificate).map_err(|what| DaError::reject(name_of(certificate), what))
}

pub(crate) fn read(certificate: &Bytes) -> Result<(&'static str, BlobCommitment), String> {
    match certificate.starts_with(&local::MAGIC) {
        true => Ok((local::BACKEND, LocalCertificate::decode(certificate)?.committed)),
        false => Ok((eigenda::BACKEND, of_eigenda(certificate)?)),
    }
}

/// A certificate, for messages: by the id of its blob.
pub(crate) fn name_of(certificate: &[u8]) -> String {
    format!("certificate {}", keccak256(certificate))
}

fn of_eigenda(certificate: &Bytes) -> Result<BlobCommitment, String> {
    let read = eigenda_client::Certificate::read(certificate.clone());
    read.and_then(|certificate| eigenda::blob_of(&certificate)).map_err(|error| error.to_string())
}
