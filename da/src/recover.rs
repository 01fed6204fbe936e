//! The whole sequence of batches, from blobs alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use tributary_journal::batch::SealedBatch;
use tributary_journal::genesis::DeploymentId;
use tributary_journal::header::Header;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units::Hash;

use crate::certificates::{self, Certificates};
use crate::client::DaClient;
use crate::error::DaError;
use crate::fetch::fetch_whole;
use crate::listed::ListedBlob;
use crate::names;
use crate::placement::read;
use crate::record::BlobRecord;

/// A blob that came back: what its certificate is of, checked by [`crate::fetch()`], and the roots of its batches recomputed.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Its record.
    pub blob: BlobRecord,
    /// Its payload.
    pub payload: Bytes,
    /// The batches in it.
    pub batches: Vec<SealedBatch>,
}

/// Every certified batch, partition by partition in ascending order, each partition from its first batch without a gap.
///
/// Verified on the way: payloads against certificates, headers, bodies and Merkle roots, the hash chain also across blobs, and
/// that all batches belong to one deployment. One blob is in memory at a time. The blobs are those recorded when the
/// stream is first polled. The stream ends after its first error.
pub fn batches(certificates: Arc<Certificates>, client: Arc<dyn DaClient>) -> BoxStream<'static, Result<SealedBatch, DaError>> {
    let listed = async move {
        let listed: Vec<ListedBlob> = certificates.blobs().await?.iter().copied().collect();
        let records = stream::iter(listed).map(move |blob| {
            let certificates = Arc::clone(&certificates);
            async move { certificates.record(&blob).await }
        });
        let records = records.buffered(2).boxed();
        let walk = (Walk::default(), blobs(records, client, 1));
        let checked = stream::try_unfold(walk, |(mut walk, mut blobs)| async move {
            let Some(recovered) = blobs.try_next().await? else { return Ok::<_, DaError>(None) };
            walk.check(&recovered)?;
            Ok(Some((stream::iter(recovered.batches.into_iter().map(Ok)), (walk, blobs))))
        });
        Ok::<_, DaError>(checked.try_flatten())
    };
    stream::once(listed).try_flatten().boxed()
}

/// The blobs of these records in their order, of which so many are fetched at once. Whether they continue each other, a [`Walk`]
/// checks.
pub fn blobs(
    records: BoxStream<'_, Result<BlobRecord, DaError>>,
    client: Arc<dyn DaClient>,
    at_once: usize,
) -> BoxStream<'_, Result<Recovered, DaError>> {
    records.map_ok(move |record| blob(record, Arc::clone(&client))).try_buffered(at_once.max(1)).boxed()
}

/// The blob of one record.
///
/// # Errors
/// Those of [`crate::fetch()`]; [`DaError::Corrupt`] naming the payload if a batch in it has another root than its header says.
pub async fn blob(blob: BlobRecord, client: Arc<dyn DaClient>) -> Result<Recovered, DaError> {
    let (payload, batches) = fetch_whole(&blob, client.as_ref()).await?;
    let checked = tokio::task::spawn_blocking(move || {
        for batch in &batches {
            let name = || names::payload(&blob.certificate.commitment);
            batch.verify_root().map_err(|e| DaError::corrupt(name(), format!("batch {}: {e}", batch.header.seq)))?;
        }
        Ok(Recovered { blob, payload, batches })
    });
    checked.await.map_err(|ended| DaError::retry("checking what was fetched", ended))?
}

/// Recorded blobs of a store that begin after a cut, partition by partition, each without a gap from there on.
pub fn recorded_after(store: Arc<dyn ObjectStore>, cut: Cut) -> BoxStream<'static, Result<BlobRecord, DaError>> {
    let listed = async move {
        let partitions = certificates::partitions(&store, names::CERTIFICATES).await?;
        let lanes = partitions.into_iter().map(move |partition| {
            let next = cut.get(partition).map_or(Seq::FIRST, Seq::next);
            stream::try_unfold((Arc::clone(&store), next), move |(store, next)| async move {
                let Some(bytes) = read(&store, &names::certificate(partition, next)).await? else { return Ok(None) };
                let blob = BlobRecord::decode(partition, next, &bytes)?;
                let after = blob.last_seq.next();
                Ok::<_, DaError>(Some((blob, (store, after))))
            })
        });
        Ok::<_, DaError>(stream::iter(lanes).flatten())
    };
    stream::once(listed).try_flatten().boxed()
}

/// Follows the chains of all partitions, blob by blob.
#[derive(Debug, Default)]
pub struct Walk {
    heads: BTreeMap<Partition, Header>,
    deployment: Option<DeploymentId>,
}

impl Walk {
    /// Of one deployment; by default that of the first blob.
    pub fn of(deployment: DeploymentId) -> Self {
        Self { heads: BTreeMap::new(), deployment: Some(deployment) }
    }

    /// The last batch of every partition so far.
    pub fn reached(&self) -> Cut {
        self.heads.iter().map(|(partition, head)| (*partition, head.seq)).collect()
    }

    /// Goes on with a blob, whose batches continue each other.
    ///
    /// # Errors
    /// [`DaError::Corrupt`] naming the record of a blob that is of another deployment or does not continue its partition.
    pub fn check(&mut self, recovered: &Recovered) -> Result<(), DaError> {
        let blob = &recovered.blob;
        let bad = |what: String| DaError::corrupt(names::certificate(blob.partition, blob.first_seq), what);
        if self.deployment.is_some_and(|deployment| deployment != blob.deployment) {
            return Err(bad("it belongs to another deployment than the blobs before it".to_owned()));
        }
        let ends = recovered.batches.first().zip(recovered.batches.last());
        let (first, last) = ends.expect("a fetched blob holds the batches of its record, at least one");
        match self.heads.get(&blob.partition) {
            Some(before) => crate::blob::check_follows(before, &first.header).map_err(bad)?,
            None if first.header.seq == Seq::FIRST && first.header.previous_hash == Hash::ZERO => {}
            None => return Err(bad("the first batch of the partition names one before it".to_owned())),
        }
        self.deployment = Some(blob.deployment);
        self.heads.insert(blob.partition, last.header.clone());
        Ok(())
    }
}
