//! The manifest of an epoch: from the certificate of its last page alone everything that is published comes back.
//!
//! A manifest is published like a blob, in pages. It lists the recorded blobs of its epoch; its last page has the genesis record, the
//! record that closed the epoch, and its root; and each page names the certificate of the one before, across epochs. What a page
//! holds is a function of what is recorded, so that whoever makes it makes the same; the certificate that is recorded first counts.

mod chain;
mod page;
mod record;
mod records;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStore;
use tokio::time::Instant;
use tributary_journal::Genesis;
use tributary_journal::genesis::DeploymentId;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::keccak256;

use crate::certificates::Certificates;
use crate::client::Certificate;
use crate::dispersal::Dispersal;
use crate::error::DaError;
use crate::names;
use crate::placement::{Placed, put_once};
use crate::record::BlobRecord;
use crate::retry::Patience;
use crate::settings::PAYLOAD_BYTES_LIMIT;

pub use chain::{Chain, LastPage, read_page};
pub use page::{Closing, Page, PageAt, PageError, Pages, Previous};
pub use record::ManifestRecord;
pub use records::ManifestRecords;
pub(crate) use records::first_gap;

/// The most bytes of a page, which every backend takes. Part of the format: where pages end follows from it.
pub const PAGE_BYTES_MAX: usize = PAYLOAD_BYTES_LIMIT;

/// How manifests are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSettings {
    /// While set, nothing is published.
    pub paused: bool,
    /// The most bytes of a page. All publishers of one store must have the same; only tests have another than [`PAGE_BYTES_MAX`].
    pub page_bytes_max: usize,
}

impl Default for ManifestSettings {
    fn default() -> Self {
        Self { paused: false, page_bytes_max: PAGE_BYTES_MAX }
    }
}

/// An epoch that is closed.
#[derive(Clone, Debug)]
pub struct Closed<'a> {
    /// Which.
    pub epoch: Epoch,
    /// What the epoch before covers.
    pub after: &'a Cut,
    /// What this one covers.
    pub cut: &'a Cut,
    /// What its last page has besides blobs.
    pub closing: Closing,
}

/// Publishes manifests.
pub struct Manifests {
    store: Arc<dyn ObjectStore>,
    records: ManifestRecords,
    certificates: Arc<Certificates>,
    dispersal: Dispersal,
    genesis: Genesis,
    settings: ManifestSettings,
    patience: Patience,
}

impl Manifests {
    /// Those of this deployment in this store, over the blobs that are certified there.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        genesis: Genesis,
        certificates: Arc<Certificates>,
        dispersal: Dispersal,
        settings: ManifestSettings,
    ) -> Self {
        let patience = dispersal.patience.clone();
        let records = ManifestRecords::new(Arc::clone(&store));
        Self { store, records, certificates, dispersal, genesis, settings, patience }
    }

    /// What is recorded.
    pub fn records(&self) -> &ManifestRecords {
        &self.records
    }

    /// The genesis record, as it lies in the journal.
    pub fn genesis(&self) -> String {
        String::from_utf8(self.genesis.encode().into()).expect("a genesis record is JSON, which is text")
    }

    /// Publishes what is missing of the manifest of a closed epoch. The manifest of the epoch before must be there. When it
    /// returns, every page is certified and recorded; doing it again, or by several at once, changes nothing.
    ///
    /// A backend that does not work is asked again until the deadline. A dispersal that has begun is not given up there: it may be
    /// billed.
    ///
    /// # Errors
    /// [`DaError::Late`] if the epoch covers batches that are not certified. [`DaError::Corrupt`] naming a recorded page that is
    /// another than follows from what is recorded, or one that is missing. Otherwise what kept a page from being certified; all
    /// before it are.
    pub async fn publish(&self, closed: Closed<'_>, deadline: Instant) -> Result<ManifestRecord, DaError> {
        let (deployment, epoch) = (self.genesis.deployment, closed.epoch);
        let listed = self.certificates.beginning_in(closed.after, closed.cut).await?;
        let blobs = self.certificates.records(listed.into_iter()).try_collect().await?;
        let mut before = self.records.before(epoch).await?;
        let mut pages = Pages::new(deployment, epoch, blobs, closed.closing, self.settings.page_bytes_max);
        loop {
            let page = pages.next(before.as_ref().map(Previous::of))?;
            let record = self.publish_page(&page, deadline).await?;
            if record.last {
                return Ok(record);
            }
            before = Some(record);
        }
    }

    /// The record of this page: the one that lies there, or after it is published.
    async fn publish_page(&self, page: &Page, deadline: Instant) -> Result<ManifestRecord, DaError> {
        let payload = page.encode();
        let expected = |record: ManifestRecord| self.check_is(&record, page, &payload).map(|()| record);
        if let Some(recorded) = self.records.page(page.at).await? {
            return expected(recorded);
        }
        let certificate = self.certify(&payload, deadline).await?;
        let record = page.certified(certificate);
        let name = names::manifest(page.at.epoch, page.at.page);
        match put_once(&self.store, &name, &record.encode(), &self.patience).await? {
            Placed::Ours => {
                let (epoch, blobs) = (page.at.epoch.get(), page.blobs.len());
                tracing::info!(epoch, page = page.at.page, blobs, last = record.last, "certified a page of a manifest");
                Ok(record)
            }
            Placed::Theirs(bytes) => expected(ManifestRecord::decode(page.at.epoch, page.at.page, &bytes)?),
        }
    }

    fn check_is(&self, record: &ManifestRecord, page: &Page, payload: &Bytes) -> Result<(), DaError> {
        let same = record.deployment == page.deployment
            && record.last == page.closing.is_some()
            && record.certificate.content_hash == keccak256(payload);
        match same {
            true => Ok(()),
            false => {
                let name = names::manifest(page.at.epoch, page.at.page);
                Err(DaError::corrupt(
                    name,
                    "it certifies another page than follows from the recorded blobs and the record of its epoch",
                ))
            }
        }
    }

    async fn certify(&self, payload: &Bytes, deadline: Instant) -> Result<Certificate, DaError> {
        if self.settings.paused {
            return Err(DaError::retry("the manifest", "data availability is paused (`da.paused`)"));
        }
        let mut failures = 0;
        loop {
            match self.dispersal.certify(payload.clone(), deadline).await {
                Err(error) if passes(&error) && Instant::now() < deadline => {
                    failures += 1;
                    self.patience.pause(failures).await;
                }
                answer => return answer,
            }
        }
    }
}

/// The page that is to be published next of a closed epoch's manifest over these blobs, given what is recorded of all manifests, in
/// their order; `None` if it is whole. For whoever looks on while others publish, or after one died.
///
/// # Errors
/// [`DaError::Reject`] as [`Pages::next`].
pub fn outstanding(
    recorded: &[ManifestRecord],
    deployment: DeploymentId,
    blobs: Vec<BlobRecord>,
    closed: Closed<'_>,
) -> Result<Option<Page>, DaError> {
    let of_epoch = recorded.partition_point(|record| record.epoch < closed.epoch);
    let mut before = of_epoch.checked_sub(1).map(|before| &recorded[before]);
    let mut pages = Pages::new(deployment, closed.epoch, blobs, closed.closing, PAGE_BYTES_MAX);
    for record in &recorded[of_epoch..] {
        if pages.next(before.map(Previous::of))?.closing.is_some() {
            return Ok(None);
        }
        before = Some(record);
    }
    pages.next(before.map(Previous::of)).map(Some)
}

/// Whether the payload may be given to the backend again a little later, as publishers of blobs do. One of which nobody knows whether it
/// is published is left to the next job.
fn passes(error: &DaError) -> bool {
    matches!(error, DaError::Retry { .. } | DaError::Down { .. } | DaError::Expired { .. })
}

#[cfg(test)]
mod tests;
