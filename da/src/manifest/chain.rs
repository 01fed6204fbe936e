//! The chain of pages, read back from its last one.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use tributary_journal::genesis::DeploymentId;
use tributary_schemas::ids::{Epoch, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use super::page::{Page, PageAt, PageError};
use crate::client::{Certificate, DaClient, Wanted};
use crate::committed;
use crate::error::DaError;
use crate::names;
use crate::placement::read;
use crate::restore::Restored;

/// The page that a certificate is of, with its payload.
///
/// # Errors
/// Those of [`DaClient::retrieve`]. [`DaError::Reject`] naming the certificate if its payload is no manifest, [`DaError::Corrupt`]
/// if it is a damaged one.
pub async fn read_page(client: &dyn DaClient, wanted: &Wanted) -> Result<(Page, Bytes), DaError> {
    let payload = client.retrieve(wanted).await?;
    let name = committed::name_of(&wanted.certificate);
    match Page::decode(&payload) {
        Ok(page) => Ok((page, payload)),
        Err(error @ PageError::NoManifest(_)) => Err(DaError::reject(name, error.to_string())),
        Err(error @ PageError::Damaged(_)) => Err(DaError::corrupt(name, error.to_string())),
    }
}

/// Where a chain is taken up.
#[derive(Clone, Debug)]
pub struct LastPage {
    /// The last page of a manifest.
    pub page: Page,
    /// Its payload.
    pub payload: Bytes,
    /// Its certificate.
    pub certificate: Certificate,
    /// Nothing of the deployment was certified before.
    pub since: Timestamp,
}

/// Every page from the first epoch's to one that was the last, all checked; they lie in a store's archive.
pub struct Chain {
    pages: Vec<Kept>,
    blobs: u64,
    store: Arc<dyn ObjectStore>,
}

/// What is kept of a page in memory.
struct Kept {
    at: PageAt,
    payload: Path,
    payload_hash: Hash,
}

impl Chain {
    /// Follows the pages from the last one, whose certificate is given, to the first. Each is brought into the target with its
    /// certificate before the one before it is asked for. One page is in memory at a time. `told` hears of every epoch that is through.
    ///
    /// # Errors
    /// Those of [`read_page`] and of the target. [`DaError::Corrupt`] naming the certificate of a page that is not what the page after
    /// it says: of another deployment, out of its place, or with another content or genesis record.
    pub async fn follow(
        client: &dyn DaClient,
        last: LastPage,
        target: &Restored,
        told: &(dyn Fn() + Sync),
    ) -> Result<Self, DaError> {
        let LastPage { mut page, mut payload, mut certificate, since } = last;
        let born = page.closing.as_ref().map(|closing| closing.genesis.clone());
        let deployment = page.deployment;
        let (mut pages, mut blobs) = (Vec::new(), 0);
        loop {
            blobs += page.blobs.len() as u64;
            target.page(&page.certified(certificate.clone()), &payload).await?;
            let (at, content_hash) = (page.at, certificate.content_hash);
            pages.push(Kept { at, payload: names::payload(&certificate.commitment), payload_hash: content_hash });
            if at.page == 0 {
                told();
            }
            let Some(previous) = page.previous.take() else { break };
            let wanted = Wanted { certificate: previous.certificate, expires_at: previous.expires_at };
            let bad = |what: String| DaError::corrupt(committed::name_of(&wanted.certificate), what);
            let (before, found) = read_page(client, &wanted).await?;
            if keccak256(&found) != previous.payload_hash {
                return Err(bad(format!("its payload is not the one that {at} names")));
            }
            check_before(at, &before, deployment).map_err(bad)?;
            if before.closing.as_ref().is_some_and(|closing| Some(&closing.genesis) != born.as_ref()) {
                return Err(bad("it has another genesis record than the pages after it".to_owned()));
            }
            certificate = Certificate::recovered(&wanted, &found, since)?;
            (page, payload) = (before, found);
        }
        pages.reverse();
        Ok(Self { pages, blobs, store: Arc::clone(target.store()) })
    }

    /// How many blobs they list together.
    pub fn blobs(&self) -> u64 {
        self.blobs
    }

    /// The pages from the first to the last, read from the store when their turn comes.
    pub fn pages(&self) -> BoxStream<'_, Result<Page, DaError>> {
        stream::iter(&self.pages).then(|kept| self.load(kept)).boxed()
    }

    async fn load(&self, kept: &Kept) -> Result<Page, DaError> {
        let bad = |what: String| DaError::corrupt(&kept.payload, what);
        let payload = read(&self.store, &kept.payload).await?.ok_or_else(|| bad(format!("{} is missing", kept.at)))?;
        match keccak256(&payload) == kept.payload_hash {
            true => Page::decode(&payload).map_err(|error| bad(error.to_string())),
            false => Err(bad(format!("it is no longer {}", kept.at))),
        }
    }
}

/// Whether `page` can be the one before the page at `after`.
fn check_before(after: PageAt, page: &Page, deployment: DeploymentId) -> Result<(), String> {
    if page.deployment != deployment {
        return Err(format!("it belongs to deployment {}, the pages after it to {deployment}", page.deployment));
    }
    let (place, last) = match after.page.checked_sub(1) {
        Some(before) => (page.at == PageAt { epoch: after.epoch, page: before }, false),
        None => (Some(page.at.epoch) == Epoch::previous(after.epoch), true),
    };
    match place && page.closing.is_some() == last {
        true => Ok(()),
        false if place && last => Err(format!("it is {}, but not the last of its epoch, and {after} comes after it", page.at)),
        false => Err(format!("it is {}, which does not come before {after}", page.at)),
    }
}
