//! Where the certificates of manifests are recorded: `da/manifests/0000000001/00000.json` and so on, each written once.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tributary_schemas::ids::Epoch;

use super::page::PageAt;
use super::record::ManifestRecord;
use crate::error::DaError;
use crate::names;
use crate::placement::read;

/// Where recorded pages, in their order, leave one out: the page that is missing, and the one that is there instead. Pages are
/// published one after the other, so that nothing but the end may be missing.
pub(crate) fn first_gap(records: &[ManifestRecord]) -> Option<(PageAt, PageAt)> {
    let mut expected = PageAt::first(Epoch::FIRST);
    for record in records {
        let at = PageAt { epoch: record.epoch, page: record.page };
        if at != expected {
            return Some((expected, at));
        }
        expected = if record.last { PageAt::first(at.epoch.next()) } else { PageAt { page: at.page + 1, ..at } };
    }
    None
}

/// The recorded certificates of manifests in one store.
#[derive(Clone)]
pub struct ManifestRecords {
    store: Arc<dyn ObjectStore>,
}

impl ManifestRecords {
    /// Those of this store. Nothing is read yet.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// The record of one page; `None` if it is not certified.
    ///
    /// # Errors
    /// [`DaError::Corrupt`] naming a record that is damaged, [`DaError::Retry`] if the store does not answer; so for all of these.
    pub async fn page(&self, at: PageAt) -> Result<Option<ManifestRecord>, DaError> {
        let bytes = read(&self.store, &names::manifest(at.epoch, at.page)).await?;
        bytes.map(|bytes| ManifestRecord::decode(at.epoch, at.page, &bytes)).transpose()
    }

    /// The last page of the last epoch that has one; it is the last of its manifest if the record says so.
    pub async fn latest(&self) -> Result<Option<ManifestRecord>, DaError> {
        let folder = Path::from(names::MANIFESTS);
        let listed = self.store.list_with_delimiter(Some(&folder)).await.map_err(|e| DaError::retry(names::MANIFESTS, e))?;
        match listed.common_prefixes.iter().filter_map(names::parse_manifest_folder).max() {
            Some(epoch) => self.last_page(epoch).await,
            None => Ok(None),
        }
    }

    /// The last page of the last manifest that is whole; `None` if there is none. Manifests are published one after the other, so
    /// that only the last may be unfinished.
    pub async fn latest_whole(&self) -> Result<Option<ManifestRecord>, DaError> {
        let latest = match self.latest().await? {
            Some(unfinished) if !unfinished.last => unfinished,
            latest => return Ok(latest),
        };
        self.before(latest.epoch).await
    }

    /// The last page of the epoch before; `None` for the first epoch. It must be there: manifests are published in order.
    pub(crate) async fn before(&self, epoch: Epoch) -> Result<Option<ManifestRecord>, DaError> {
        let Some(before) = epoch.previous() else { return Ok(None) };
        let found = self.last_page(before).await?;
        let next = found.as_ref().map_or(0, |record| record.page + 1);
        let missing = || DaError::corrupt(names::manifest(before, next), "it is missing: manifests are published in order");
        found.filter(|record| record.last).ok_or_else(missing).map(Some)
    }

    /// The page of an epoch with the greatest number.
    pub async fn last_page(&self, epoch: Epoch) -> Result<Option<ManifestRecord>, DaError> {
        let folder = names::manifest_folder(epoch);
        let mut objects = self.store.list(Some(&folder));
        let mut last = None;
        while let Some(object) = objects.try_next().await.map_err(|e| DaError::retry(&folder, e))? {
            last = last.max(names::parse_manifest(&object.location).map(|(_, page)| page));
        }
        match last {
            Some(page) => self.page(PageAt { epoch, page }).await,
            None => Ok(None),
        }
    }
}
