//! The whole sequence of batches, from blobs alone.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tributary_journal::batch::SealedBatch;
use tributary_journal::genesis::DeploymentId;
use tributary_schemas::units::Hash;

use crate::certificates::Certificates;
use crate::client::DaClient;
use crate::error::DaError;
use crate::fetch::fetch;
use crate::names;
use crate::record::BlobRecord;

/// Every certified batch, partition by partition in ascending order, each partition from its first batch without a gap.
///
/// Verified on the way: payloads against certificates, headers, bodies and Merkle roots, the hash chain also across blobs, and
/// that all batches belong to one deployment. One blob is in memory at a time. The certificates are those recorded when the
/// stream is first polled. The stream ends after its first error.
pub fn batches(certificates: Arc<Certificates>, client: Arc<dyn DaClient>) -> BoxStream<'static, Result<SealedBatch, DaError>> {
    let listed = async move {
        let blobs = certificates.blobs().await?;
        let walk = Walk { blobs: blobs.into_iter(), before: None, deployment: None, client };
        Ok::<_, DaError>(stream::try_unfold(walk, Walk::next).try_flatten())
    };
    stream::once(listed).try_flatten().boxed()
}

struct Walk {
    blobs: std::vec::IntoIter<BlobRecord>,
    before: Option<SealedBatch>,
    deployment: Option<DeploymentId>,
    client: Arc<dyn DaClient>,
}

type Batches = stream::Iter<std::vec::IntoIter<Result<SealedBatch, DaError>>>;

impl Walk {
    async fn next(mut self) -> Result<Option<(Batches, Self)>, DaError> {
        let Some(blob) = self.blobs.next() else { return Ok(None) };
        let batches = fetch(&blob, self.client.as_ref()).await?;
        self.check_start(&blob, &batches)?;
        for batch in &batches {
            let name = || names::payload(&blob.certificate.commitment);
            batch.verify_root().map_err(|e| DaError::corrupt(name(), format!("batch {}: {e}", batch.header.seq)))?;
        }
        self.deployment = Some(blob.deployment);
        self.before = batches.last().cloned();
        Ok(Some((stream::iter(batches.into_iter().map(Ok).collect::<Vec<_>>()), self)))
    }

    fn check_start(&self, blob: &BlobRecord, batches: &[SealedBatch]) -> Result<(), DaError> {
        let bad = |what: String| Err(DaError::corrupt(names::certificate(blob.partition, blob.first_seq), what));
        if self.deployment.is_some_and(|deployment| deployment != blob.deployment) {
            return bad("it belongs to another deployment than the blobs before it".to_owned());
        }
        let first = batches.first().expect("a fetched blob holds the batches of its record, at least one");
        match self.before.as_ref().filter(|before| before.header.partition == blob.partition) {
            Some(before) => crate::blob::check_follows(before, first).or_else(bad),
            None if first.header.previous_hash == Hash::ZERO => Ok(()),
            None => bad("the first batch of the partition names a header before it".to_owned()),
        }
    }
}
