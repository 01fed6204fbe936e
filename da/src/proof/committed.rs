//! What a certificate commits to.

use bytes::Bytes;

use crate::client::Certificate;
use crate::committer::BlobCommitment;
use crate::eigenda;
use crate::error::DaError;
use crate::local::{self, LocalCertificate};

/// The first bytes of a certificate of the local backend. None of EigenDA's begins so.
const LOCAL_MAGIC: &[u8] = b"TRDC";

/// What a recorded certificate commits to, read from its own bytes alone.
///
/// # Errors
/// [`DaError::Reject`] if it makes no commitment, as the local backend's of version 1, or cannot be read.
pub fn committed(certificate: &Certificate) -> Result<BlobCommitment, DaError> {
    let refused = |what| DaError::Reject { object: format!("certificate {}", certificate.blob_id()), what };
    read(&certificate.bytes).map(|(_, committed)| committed).map_err(refused)
}

/// Reads the certificate of any backend, and says whose it is. All of its bytes must be as they must be.
pub(super) fn read(certificate: &Bytes) -> Result<(&'static str, BlobCommitment), String> {
    match certificate.starts_with(LOCAL_MAGIC) {
        true => Ok((local::BACKEND, of_local(certificate)?)),
        false => Ok((eigenda::BACKEND, of_eigenda(certificate)?)),
    }
}

fn of_local(certificate: &[u8]) -> Result<BlobCommitment, String> {
    let none = "the local backend's certificates of version 1 have no commitment";
    LocalCertificate::decode(certificate)?.committed.ok_or_else(|| none.to_owned())
}

/// Of any version and mode.
fn of_eigenda(certificate: &Bytes) -> Result<BlobCommitment, String> {
    let opened = eigenda_client::Certificate::read(certificate.clone()).and_then(|certificate| certificate.open());
    let contents = opened.map_err(|error| error.to_string())?;
    let header = contents.blob_header();
    Ok(BlobCommitment { commitment: header.commitment, domain: header.domain })
}
