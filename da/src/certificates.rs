//! The shared reader of recorded certificates: what is available.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::ready;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq, Timestamp};

use crate::error::DaError;
use crate::listed::{Blobs, ListedBlob, Prefix};
use crate::names;
use crate::placement::read;
use crate::record::BlobRecord;

/// How often [`Certificates::wait_for`] looks for records that another process wrote.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How many records are read at the same time where many are wanted.
const READ_AT_ONCE: usize = 32;

/// Reads the recorded certificates and remembers which blobs there are: a record never changes. The certificates themselves are read
/// again where they are wanted.
///
/// Only the **contiguous prefix** of each partition counts: a blob beyond a gap is not available yet, because a batch is worth
/// nothing without those before it. A record is written only after its blob was read back once, so what is certified was seen.
pub struct Certificates {
    store: Arc<dyn ObjectStore>,
    known: Mutex<BTreeMap<Partition, Arc<Prefix>>>,
    recorded: watch::Sender<u64>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    /// A reader on this store. Nothing is read yet.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, known: Mutex::new(BTreeMap::new()), recorded: watch::Sender::new(0) }
    }

    /// The contiguous certified prefix of every partition, now.
    ///
    /// # Errors
    /// [`DaError::Retry`] if the store does not answer, [`DaError::Corrupt`] naming a record that is damaged or does not
    /// continue the one before it.
    pub async fn certified(&self) -> Result<Cut, DaError> {
        let mut known = self.known.lock().await;
        self.refresh(&mut known).await?;
        Ok(known.iter().filter_map(|(partition, blobs)| Some((*partition, blobs.last()?.last_seq))).collect())
    }

    /// The blobs of the certified prefix, by partition and sequence. Errors as [`Self::certified`].
    pub async fn blobs(&self) -> Result<Blobs, DaError> {
        let mut known = self.known.lock().await;
        self.refresh(&mut known).await?;
        Ok(Blobs::of(&known))
    }

    /// The record of a blob, with its certificate.
    ///
    /// # Errors
    /// [`DaError::Retry`] if the store does not answer, [`DaError::Corrupt`] if the record is another than it was.
    pub async fn record(&self, blob: &ListedBlob) -> Result<BlobRecord, DaError> {
        record_of(&self.store, blob).await
    }

    /// The records of blobs in their order, a few of which are read at once. Errors as [`Self::record`].
    pub fn records<'a>(
        &'a self,
        blobs: impl Iterator<Item = ListedBlob> + Send + 'a,
    ) -> BoxStream<'a, Result<BlobRecord, DaError>> {
        stream::iter(blobs).map(move |blob| async move { self.record(&blob).await }).buffered(READ_AT_ONCE).boxed()
    }

    /// The blob of the certified prefix that holds a batch. Errors as [`Self::certified`].
    pub async fn blob_of(&self, partition: Partition, seq: Seq) -> Result<Option<ListedBlob>, DaError> {
        let mut known = self.known.lock().await;
        let blobs = known.entry(partition).or_default();
        if blobs.last().is_none_or(|last| last.last_seq < seq) {
            self.extend(partition, blobs).await?;
        }
        let place = blobs.partition_point(|blob| blob.last_seq < seq);
        Ok(blobs.get(place).copied())
    }

    /// Where the certified prefix of one partition ends: its last blob. Errors as [`Self::certified`].
    pub async fn last_blob(&self, partition: Partition) -> Result<Option<ListedBlob>, DaError> {
        let mut known = self.known.lock().await;
        let blobs = known.entry(partition).or_default();
        self.extend(partition, blobs).await?;
        Ok(blobs.last().copied())
    }

    /// The blobs that begin after one cut and in another, by partition and sequence; all that the second covers must be certified.
    ///
    /// # Errors
    /// [`DaError::Late`] if it is not. Otherwise as [`Self::certified`].
    pub async fn beginning_in(&self, after: &Cut, cut: &Cut) -> Result<Vec<ListedBlob>, DaError> {
        self.between(after, cut, |blob| blob.first_seq).await
    }

    /// The blobs that hold batches of the second cut that the first does not cover. Order and errors as [`Self::beginning_in`].
    pub async fn holding(&self, after: &Cut, cut: &Cut) -> Result<Vec<ListedBlob>, DaError> {
        self.between(after, cut, |blob| blob.last_seq).await
    }

    /// The blobs of which one place lies after the first cut, and the first batch in the second.
    async fn between(&self, after: &Cut, cut: &Cut, place: fn(&ListedBlob) -> Seq) -> Result<Vec<ListedBlob>, DaError> {
        let certified = self.certified().await?;
        if !certified.is_at_least(cut) {
            return Err(DaError::Late { wanted: cut.clone(), certified });
        }
        let known = self.known.lock().await;
        let mut within = Vec::new();
        for (partition, last) in cut.iter() {
            let Some(blobs) = known.get(&partition) else { continue };
            let begin = after.get(partition).map_or(0, |after| blobs.partition_point(|blob| place(blob) <= after));
            let end = blobs.partition_point(|blob| blob.first_seq <= last);
            within.extend((begin..end).filter_map(|at| blobs.get(at)));
        }
        Ok(within)
    }

    /// How many blobs, of those that were read, a backend will forget within this time. Nothing is read.
    pub(crate) async fn expiring_within(&self, soon: Duration, now: Timestamp) -> u64 {
        let soon = i64::try_from(soon.as_micros()).unwrap_or(i64::MAX);
        let known = self.known.lock().await;
        let left = |blob: &ListedBlob| Some(blob.expires_at?.micros().saturating_sub(now.micros()));
        let expires = |blob: &&ListedBlob| blob.is_billed() && left(blob).is_some_and(|left| (1..=soon).contains(&left));
        known.values().flat_map(|blobs| blobs.iter()).filter(expires).count() as u64
    }

    /// Returns once everything in `cut` is certified, with the certified cut.
    ///
    /// # Errors
    /// [`DaError::Late`] at the deadline, with how far it had come; otherwise as [`Self::certified`].
    pub async fn wait_for(&self, cut: &Cut, deadline: Instant) -> Result<Cut, DaError> {
        let mut recorded = self.recorded.subscribe();
        loop {
            let certified = self.certified().await?;
            if certified.is_at_least(cut) {
                return Ok(certified);
            }
            if Instant::now() >= deadline {
                return Err(DaError::Late { wanted: cut.clone(), certified });
            }
            tokio::select! {
                _ = recorded.changed() => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + POLL_INTERVAL)) => {}
            }
        }
    }

    /// Wakes those who wait: a certificate was recorded in this process.
    pub(crate) fn wake(&self) {
        self.recorded.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn refresh(&self, known: &mut BTreeMap<Partition, Arc<Prefix>>) -> Result<(), DaError> {
        // In place: what was read stays known, however this ends.
        for partition in partitions(&self.store, names::CERTIFICATES).await? {
            self.extend(partition, known.entry(partition).or_default()).await?;
        }
        Ok(())
    }

    /// The name of the next record follows from the last, so no listing is needed and a gap ends the prefix by itself. Only who begins
    /// lists what there is, to read many at once.
    async fn extend(&self, partition: Partition, blobs: &mut Arc<Prefix>) -> Result<(), DaError> {
        if blobs.last().is_none() {
            match read(&self.store, &names::certificate(partition, Seq::FIRST)).await? {
                Some(bytes) => append(partition, blobs, &bytes)?,
                None => return Ok(()),
            }
            let listed = self.listed(partition).await?.into_iter().filter(|first| *first != Seq::FIRST);
            let read = |first: Seq| async move {
                Ok::<_, DaError>((first, read(&self.store, &names::certificate(partition, first)).await?))
            };
            let mut records = stream::iter(listed).map(read).buffered(READ_AT_ONCE);
            while let Some((first, bytes)) = records.try_next().await? {
                match bytes.filter(|_| first == next_after(blobs)) {
                    Some(bytes) => append(partition, blobs, &bytes)?,
                    None => break,
                }
            }
        }
        while let Some(bytes) = read(&self.store, &names::certificate(partition, next_after(blobs))).await? {
            append(partition, blobs, &bytes)?;
        }
        Ok(())
    }

    /// The first batches of the blobs that have a record, in ascending order.
    async fn listed(&self, partition: Partition) -> Result<Vec<Seq>, DaError> {
        let folder = names::folder(names::CERTIFICATES, partition);
        let objects = self.store.list(Some(&folder)).map_err(|e| DaError::retry(&folder, e));
        let first = |object: ObjectMeta| names::parse_record(names::CERTIFICATES, &object.location).map(|(_, first)| first);
        let mut listed: Vec<Seq> = objects.try_filter_map(|object| ready(Ok(first(object)))).try_collect().await?;
        listed.sort_unstable();
        Ok(listed)
    }
}

/// The record of a blob as it lies in a store now.
pub(crate) async fn record_of(store: &Arc<dyn ObjectStore>, blob: &ListedBlob) -> Result<BlobRecord, DaError> {
    let name = names::certificate(blob.partition, blob.first_seq);
    let Some(bytes) = read(store, &name).await? else { return Err(DaError::corrupt(name, "it was there, and is gone")) };
    let record = BlobRecord::decode(blob.partition, blob.first_seq, &bytes)?;
    match ListedBlob::of(&record) == *blob {
        true => Ok(record),
        false => Err(DaError::corrupt(name, "it is another record than it was")),
    }
}

fn next_after(blobs: &Prefix) -> Seq {
    blobs.last().map_or(Seq::FIRST, |last| last.last_seq.next())
}

fn append(partition: Partition, blobs: &mut Arc<Prefix>, bytes: &[u8]) -> Result<(), DaError> {
    let first = next_after(blobs);
    let blob = ListedBlob::of(&BlobRecord::decode(partition, first, bytes)?);
    if blobs.last().is_some_and(|last| last.deployment != blob.deployment) {
        let name = names::certificate(partition, first);
        return Err(DaError::corrupt(name, "it belongs to another deployment than the record before it"));
    }
    Arc::make_mut(blobs).push(blob);
    Ok(())
}

/// The partitions that have a folder under `da/plans` or `da/certs`, in ascending order.
pub(crate) async fn partitions(store: &Arc<dyn ObjectStore>, under: &str) -> Result<Vec<Partition>, DaError> {
    let listed = store.list_with_delimiter(Some(&Path::from(under))).await.map_err(|e| DaError::retry(under, e))?;
    let mut partitions: Vec<Partition> =
        listed.common_prefixes.iter().filter_map(|path| names::parse_folder(under, path)).collect();
    partitions.sort_unstable();
    Ok(partitions)
}
