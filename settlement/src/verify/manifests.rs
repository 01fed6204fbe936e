//! D3: the manifest of every epoch against the recorded blobs, the record of the epoch and its root.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use tributary_da::check::Outstanding;
use tributary_da::manifest::{self, Closed, Closing, ManifestRecord, ManifestRecords, Page, PageAt, Previous};
use tributary_da::{BlobRecord, DaClient, DaError, names};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::Hash;

use super::{Report, Sources};
use crate::epoch::read_row;
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::manifests::text_of;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::record::EpochRecord;
use crate::records::EpochRecords;

/// Checks the manifests of these epochs, whose roots were recomputed; `all` says whether they are all that are closed. That pages
/// follow each other without a gap was looked at before.
///
/// A job that runs beside the check may be anywhere: an epoch may be closed and its manifest not begun, or some of its pages not
/// certified yet. So what is missing at the end is no difference.
pub(super) async fn check(
    sources: &Sources,
    (epochs, roots): (&[EpochRecord], &[Hash]),
    all: bool,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("manifests", Some(epochs.len() as u64));
    let records = ManifestRecords::new(Arc::clone(&sources.store));
    let latest = records.latest().await?;
    let mut check = Check { sources, records, before: None };
    let none = Cut::empty();
    let mut after = &none;
    for (epoch, root) in epochs.iter().zip(roots) {
        let blobs = beginning_in(sources, after, &epoch.cut).await?;
        if !check.epoch(epoch, *root, &blobs).await? {
            break;
        }
        report.manifests += 1;
        after = &epoch.cut;
        progress.advance(1);
    }
    report.epochs_without_manifest = epochs.len() as u64 - report.manifests;
    match latest.filter(|latest| all && Some(latest.epoch) > epochs.last().map(|epoch| epoch.number)) {
        Some(latest) => check.is_closed(latest.epoch).await,
        None => Ok(()),
    }
}

/// The page that a job is about to publish, or was when it died: its payload may lie there without a record. Records of epochs are
/// read when that is asked, for a job may have closed one meanwhile.
pub(super) fn outstanding(sources: &Sources) -> Outstanding {
    let sources = sources.clone();
    Box::new(move |recorded| {
        Box::pin(async move {
            match next_page(&sources, &recorded).await {
                Ok(page) => Ok(page.into_iter().collect()),
                Err(error @ (SettlementError::Retry { .. } | SettlementError::Closed)) => {
                    Err(DaError::Retry { object: "the manifest that is published next".to_owned(), source: error.into() })
                }
                // Damage has a check of its own, which names it.
                Err(_) => Ok(Vec::new()),
            }
        })
    })
}

async fn next_page(sources: &Sources, recorded: &[ManifestRecord]) -> Result<Option<Bytes>, SettlementError> {
    let next = match recorded.last() {
        None => Epoch::FIRST,
        Some(record) if record.last => record.epoch.next(),
        Some(record) => record.epoch,
    };
    let records = EpochRecords::new(Arc::clone(&sources.store), Metrics::default());
    let Some(record) = records.get(next).await? else { return Ok(None) };
    let before = match next.previous() {
        Some(before) => records.get(before).await?.map(|record| record.cut).unwrap_or_default(),
        None => Cut::empty(),
    };
    let session = sources.engine.session_unlimited(&record.cut).await?;
    // A manifest comes after the tables.
    let Some(row) = read_row(&session, next).await? else { return Ok(None) };
    let blobs = beginning_in(sources, &before, &record.cut).await?;
    let closing = closing(sources, &record, row.root);
    let closed = Closed { epoch: next, after: &before, cut: &record.cut, closing };
    let page = manifest::outstanding(recorded, sources.journal.genesis().deployment, blobs, closed)?;
    Ok(page.map(|page| page.encode()))
}

/// The blobs that a manifest lists, with their certificates.
async fn beginning_in(sources: &Sources, after: &Cut, cut: &Cut) -> Result<Vec<BlobRecord>, SettlementError> {
    let listed = sources.certificates.beginning_in(after, cut).await?;
    let records = sources.certificates.records(listed.into_iter()).try_collect().await;
    records.map_err(|error| Invariant::D1.name_in(error.into()))
}

fn closing(sources: &Sources, epoch: &EpochRecord, root: Hash) -> Closing {
    let genesis = String::from_utf8(sources.journal.genesis().encode().into());
    Closing { genesis: genesis.expect("a genesis record is JSON, which is text"), epoch_record: text_of(epoch), root }
}

struct Check<'a> {
    sources: &'a Sources,
    records: ManifestRecords,
    before: Option<ManifestRecord>,
}

impl Check<'_> {
    /// Whether the manifest of this epoch is whole.
    async fn epoch(&mut self, epoch: &EpochRecord, root: Hash, mut blobs: &[BlobRecord]) -> Result<bool, SettlementError> {
        let deployment = self.sources.journal.genesis().deployment;
        let closing = closing(self.sources, epoch, root);
        let mut at = PageAt::first(epoch.number);
        while let Some(record) = self.records.page(at).await? {
            let found = self.page(&record).await?;
            let (listed, rest) = blobs.split_at(blobs.len().min(found.blobs.len()));
            let expected = Page {
                deployment,
                at,
                blobs: listed.to_vec(),
                previous: self.before.as_ref().map(Previous::of),
                closing: found.closing.as_ref().map(|_| closing.clone()),
            };
            if let Some(what) = difference(&expected, &found) {
                return Err(broken(at, what));
            }
            if (record.deployment, record.last) != (deployment, found.closing.is_some()) {
                return Err(broken(at, "it says something else of its page than the page itself".to_owned()));
            }
            let last = record.last;
            (blobs, self.before) = (rest, Some(record));
            match blobs.first().filter(|_| last) {
                Some(blob) => {
                    let lacks = names::certificate(blob.partition, blob.first_seq);
                    return Err(broken(at, format!("the manifest ends with it, but lacks the blob of {lacks}")));
                }
                None if last => return Ok(true),
                None => at.page += 1,
            }
        }
        Ok(false)
    }

    /// The page of a record. That backend and archive both have it was looked at before.
    async fn page(&self, record: &ManifestRecord) -> Result<Page, SettlementError> {
        let payload = self.sources.client.retrieve(&record.certificate.wanted()).await?;
        record.certificate.check_payload(&payload)?;
        let name = || names::payload(&record.certificate.commitment).to_string();
        Page::decode(&payload).map_err(|error| Invariant::D3.broken(name(), error.to_string()))
    }

    /// An epoch that has a manifest must have a record. The record comes first, so it is looked for after the manifest: a job may have
    /// closed the epoch meanwhile.
    async fn is_closed(&self, epoch: Epoch) -> Result<(), SettlementError> {
        let records = EpochRecords::new(Arc::clone(&self.sources.store), Metrics::default());
        match records.get(epoch).await? {
            Some(_) => Ok(()),
            None => {
                let what = format!("no record closed the epoch: {} is missing", crate::records::path(epoch));
                Err(broken(PageAt::first(epoch), what))
            }
        }
    }
}

/// The first thing in which a page is not what it must be.
fn difference(expected: &Page, found: &Page) -> Option<String> {
    let members = [
        ("deployment", expected.deployment == found.deployment),
        ("place", expected.at == found.at),
        ("list of blobs", expected.blobs == found.blobs),
        ("certificate of the page before", expected.previous == found.previous),
    ];
    let differs = members.iter().find(|(_, same)| !same).map(|(member, _)| *member);
    let closing = expected.closing.as_ref().zip(found.closing.as_ref()).and_then(|(expected, found)| {
        let members = [
            ("genesis record", expected.genesis == found.genesis),
            ("record of the epoch", expected.epoch_record == found.epoch_record),
            ("root", expected.root == found.root),
        ];
        members.iter().find(|(_, same)| !same).map(|(member, _)| *member)
    });
    differs.or(closing).map(|member| format!("its page has another {member} than is recorded or recomputed"))
}

fn broken(at: PageAt, what: String) -> SettlementError {
    Invariant::D3.broken(names::manifest(at.epoch, at.page).to_string(), what)
}
