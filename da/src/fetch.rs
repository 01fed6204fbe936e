//! From a recorded certificate back to batches.
//!
//! With an [`crate::Archive`] for a client the backend is asked first, and the archive makes up for what it does not give.

use bytes::Bytes;
use tributary_journal::batch::SealedBatch;

use crate::blob;
use crate::client::DaClient;
use crate::error::DaError;
use crate::names;
use crate::record::BlobRecord;

/// The batches of a blob, verified: the payload has the recorded length and hash, holds exactly the recorded batches of the
/// recorded partition and deployment, and each of them names the header before it.
///
/// Whether the first continues the blob before, the caller checks ([`crate::recover`] does).
///
/// # Errors
/// What [`DaClient::retrieve`] gives; [`DaError::Corrupt`] with the record's name if the payload is another than recorded.
pub async fn fetch(blob: &BlobRecord, client: &dyn DaClient) -> Result<Vec<SealedBatch>, DaError> {
    fetch_whole(blob, client).await.map(|(_, batches)| batches)
}

/// The same with the payload that they come in.
pub(crate) async fn fetch_whole(blob: &BlobRecord, client: &dyn DaClient) -> Result<(Bytes, Vec<SealedBatch>), DaError> {
    let name = names::certificate(blob.partition, blob.first_seq);
    if !client.serves(&blob.certificate.backend) {
        let what = format!("it is certified by `{}`, the backend at hand is `{}`", blob.certificate.backend, client.backend());
        return Err(DaError::Reject { object: name.to_string(), what });
    }
    let payload = client.retrieve(&blob.certificate.wanted()).await?;
    blob.certificate.check_payload(&payload)?;
    let batches =
        blob::decode(&payload).map_err(|e| DaError::corrupt(names::payload(&blob.certificate.commitment), e.to_string()))?;
    let ends = batches.first().zip(batches.last()).map(|(first, last)| (&first.header, &last.header));
    let right = ends.is_some_and(|(first, last)| {
        (first.deployment, first.partition, first.seq, last.seq)
            == (blob.deployment, blob.partition, blob.first_seq, blob.last_seq)
    });
    if !right {
        return Err(DaError::corrupt(name, "its payload holds other batches than it certifies"));
    }
    Ok((payload, batches))
}
