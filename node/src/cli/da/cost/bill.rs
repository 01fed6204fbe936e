//! What was published in the last 24 hours, read from what is recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;
use tributary_da::bundle::symbols_billed;
use tributary_da::outbox::{Entry, State};
use tributary_da::{DaError, ListedBlob, ManifestRecord, names};
use tributary_schemas::ids::{Partition, Timestamp};
use tributary_schemas::units::Hash;

use super::projection::Stream;
use crate::wire::Record;

/// It is looked back for so long.
const LOOK_BACK: Duration = Duration::from_secs(24 * 60 * 60);

/// What was published, and what of it is billed.
#[derive(Clone, Debug, Serialize)]
pub struct Bill {
    /// From when on.
    #[serde(skip)]
    pub since: Timestamp,
    /// Blobs that are billed.
    pub blobs: u64,
    /// The batches in them.
    pub batches: u64,
    /// Pages of manifests that are billed.
    pub manifest_pages: u64,
    /// The bytes of the payloads of both.
    pub payload_bytes: u64,
    /// The symbols that both are billed for.
    pub symbols_billed: u64,
    /// Certificates that are billed too and are in no record: another came first, or they were given up; or one is still to be recorded.
    pub certificates_in_vain: u64,
    /// The symbols that those are billed for.
    pub symbols_in_vain: u64,
    /// Attempts that may be billed and have no certificate.
    pub attempts_possibly_billed: u64,
    /// The symbols that those may be billed for.
    pub symbols_possibly_billed: u64,
    /// Blobs and pages of a backend that bills nothing.
    pub unbilled: u64,
    /// What each partition published, whoever did.
    #[serde(skip)]
    published: BTreeMap<Partition, Published>,
    /// In which time: shorter than a day if the deployment is younger.
    #[serde(skip)]
    pub span: Duration,
}

/// Billed certificates that arrived, with the symbols that they are billed for.
type Certified = BTreeMap<Hash, u64>;

#[derive(Clone, Copy, Debug, Default)]
struct Published {
    batches: u64,
    /// With their headers.
    bytes: u64,
}

/// Reads the bill of the 24 hours up to now.
pub async fn of_the_last_day(record: &Record) -> Result<Bill, DaError> {
    let until = record.clock.now();
    let back = i64::try_from(LOOK_BACK.as_micros()).expect("a day has fewer microseconds than 63 bits");
    let since = Timestamp::from_micros(until.micros() - back).unwrap_or(until);
    let mut bill = Bill::empty(since);
    // Before the records: what is recorded meanwhile is not in vain.
    let mut certified = bill.add_attempts(record).await?;
    let blobs = record.certificates.blobs().await?;
    for blob in blobs.iter() {
        certified.remove(&blob.blob_id);
    }
    let counted: Vec<&ListedBlob> = blobs.iter().filter(|blob| blob.certified_at >= since).collect();
    if counted.len() == blobs.len() {
        bill.span = since_first_batch(record, &counted).await?;
    }
    counted.iter().for_each(|blob| bill.add_blob(blob));
    bill.add_manifests(record, &mut certified).await?;
    bill.certificates_in_vain = certified.len() as u64;
    bill.symbols_in_vain = certified.values().sum();
    Ok(bill)
}

/// A deployment that is younger than what is looked at has published in the time since its first batch.
async fn since_first_batch(record: &Record, blobs: &[&ListedBlob]) -> Result<Duration, DaError> {
    let mut first = record.clock.now();
    for blob in blobs.iter().filter(|blob| blob.first_seq.get() == 0) {
        first = first.min(record.journal.header(blob.partition, blob.first_seq).await?.sealed_at);
    }
    let micros = record.clock.now().micros().saturating_sub(first.micros());
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)).clamp(Duration::from_secs(1), LOOK_BACK))
}

impl Bill {
    fn empty(since: Timestamp) -> Self {
        Self {
            since,
            blobs: 0,
            batches: 0,
            manifest_pages: 0,
            payload_bytes: 0,
            symbols_billed: 0,
            certificates_in_vain: 0,
            symbols_in_vain: 0,
            attempts_possibly_billed: 0,
            symbols_possibly_billed: 0,
            unbilled: 0,
            published: BTreeMap::new(),
            span: LOOK_BACK,
        }
    }

    /// What each partition published on average, as a stream of batches that are all alike.
    pub fn streams(&self) -> Vec<(Stream, u32)> {
        let stream = |published: &Published| Stream {
            batch_bytes: usize::try_from(published.bytes / published.batches).unwrap_or(usize::MAX),
            interval: self.span / u32::try_from(published.batches).unwrap_or(u32::MAX),
        };
        self.published.values().map(|published| (stream(published), 1)).collect()
    }

    fn add_blob(&mut self, blob: &ListedBlob) {
        let batches = blob.last_seq.get() - blob.first_seq.get() + 1;
        let published = self.published.entry(blob.partition).or_default();
        published.batches += batches;
        published.bytes += blob.payload_bytes;
        if self.add(blob.is_billed(), blob.payload_bytes) {
            self.blobs += 1;
            self.batches += batches;
        }
    }

    /// Takes the certificates that are recorded from those that arrived.
    async fn add_manifests(&mut self, record: &Record, certified: &mut Certified) -> Result<(), DaError> {
        for meta in list(record, names::MANIFESTS).await? {
            let Some((epoch, page)) = names::parse_manifest(&meta.location) else { continue };
            let manifest = ManifestRecord::decode(epoch, page, &read(record, &meta.location).await?)?;
            certified.remove(&manifest.certificate.blob_id());
            if manifest.certificate.certified_at >= self.since
                && self.add(manifest.certificate.is_billed(), manifest.certificate.payload_bytes)
            {
                self.manifest_pages += 1;
            }
        }
        Ok(())
    }

    /// Adds a payload, and says whether it is billed.
    fn add(&mut self, is_billed: bool, payload_bytes: u64) -> bool {
        if !is_billed {
            self.unbilled += 1;
            return false;
        }
        self.payload_bytes += payload_bytes;
        self.symbols_billed += symbols_of(payload_bytes);
        true
    }

    /// Attempts that ended without a certificate after something was sent, and the certificates that the others ended with. An entry is
    /// never changed, so the store's own time tells which need not be read.
    async fn add_attempts(&mut self, record: &Record) -> Result<Certified, DaError> {
        let mut certified = Certified::new();
        for meta in list(record, names::OUTBOX).await? {
            let ended = |state| matches!(state, State::Certified | State::Unknown | State::Failed);
            let Some((attempt, state)) = names::parse_outbox(&meta.location).filter(|(_, state)| ended(*state)) else { continue };
            if meta.last_modified.timestamp_micros() < self.since.micros() {
                continue;
            }
            let entry = Entry::decode(&attempt, state, &read(record, &meta.location).await?)?;
            let symbols = symbols_of(entry.payload_bytes);
            match &entry.certificate {
                Some(certificate) if certificate.is_billed() && certificate.certified_at >= self.since => {
                    certified.insert(certificate.blob_id(), symbols);
                }
                None if entry.at >= self.since => {
                    self.attempts_possibly_billed += 1;
                    self.symbols_possibly_billed += symbols;
                }
                _ => {}
            }
        }
        Ok(certified)
    }
}

fn symbols_of(payload_bytes: u64) -> u64 {
    symbols_billed(usize::try_from(payload_bytes).unwrap_or(usize::MAX))
}

async fn list(record: &Record, under: &str) -> Result<Vec<ObjectMeta>, DaError> {
    let listed = record.store.list(Some(&Path::from(under))).try_collect().await;
    listed.map_err(|source| unanswered(under, source))
}

async fn read(record: &Record, name: &Path) -> Result<bytes::Bytes, DaError> {
    let read = async { record.store.get(name).await?.bytes().await };
    read.await.map_err(|source| unanswered(name.as_ref(), source))
}

fn unanswered(object: &str, source: object_store::Error) -> DaError {
    DaError::Retry { object: object.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests;
