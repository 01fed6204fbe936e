//! Whom `verify` and a rebuild ask: a backend with the archive behind it, and a memory of which of the two gave each payload.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::{Hash, keccak256};

use crate::archive::{Archive, Missed};
use crate::client::{Certificate, DaClient, Wanted};
use crate::error::DaError;

/// What came from the archive alone, because the backend did not give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FromArchive {
    /// Payloads of blobs and of pages of manifests, each counted once.
    pub blobs_from_archive: u64,
    /// Those of them that the backend keeps no longer, because their time is over.
    pub blobs_expired: u64,
    /// Why the backend did not give the first of them: the first that has not expired, if there is one.
    pub archive_reason: Option<String>,
}

impl fmt::Display for FromArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blobs_from_archive: all, blobs_expired: expired, archive_reason } = self;
        let reason = archive_reason.as_deref().unwrap_or_default();
        write!(f, "{all} payloads of blobs and manifests from the archive alone")?;
        match expired {
            0 => write!(f, ": {reason}"),
            _ if expired == all => write!(f, ", for they have expired: {reason}"),
            _ => write!(f, ", {expired} of them for they have expired, the others: {reason}"),
        }
    }
}

/// A [`DaClient`] for readers, as an [`Archive`] is one, that remembers what the archive made up for. What it remembers grows with the
/// number of payloads that are read, so each check and each rebuild has one of its own.
pub struct Witness {
    reader: Archive,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    counted: BTreeSet<Hash>,
    expired: u64,
    first: Option<String>,
    first_expired: Option<String>,
}

impl Witness {
    /// Over a reader through which nothing else is read.
    pub fn new(reader: Archive) -> Self {
        Self { reader, tally: Mutex::default() }
    }

    /// What came from the archive alone so far.
    pub fn from_archive(&self) -> FromArchive {
        let tally = self.tally.lock();
        FromArchive {
            blobs_from_archive: tally.counted.len() as u64,
            blobs_expired: tally.expired,
            archive_reason: tally.first.clone().or_else(|| tally.first_expired.clone()),
        }
    }
}

impl Tally {
    fn add(&mut self, blob_id: Hash, missed: &Missed) {
        if !self.counted.insert(blob_id) {
            return;
        }
        let first = match missed.has_expired() {
            true => {
                self.expired += 1;
                &mut self.first_expired
            }
            false => &mut self.first,
        };
        first.get_or_insert_with(|| missed.to_string());
    }
}

#[async_trait]
impl DaClient for Witness {
    fn backend(&self) -> &'static str {
        self.reader.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.reader.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.reader.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        self.reader.disperse(payload).await
    }

    async fn under_way(&self, content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        self.reader.under_way(content_hash).await
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let (payload, missed) = self.reader.find(wanted).await?;
        if let Some(missed) = missed {
            self.tally.lock().add(keccak256(&wanted.certificate), &missed);
        }
        Ok(payload)
    }
}

#[cfg(test)]
mod tests;
