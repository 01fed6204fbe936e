//! D3: the manifest of every epoch against the recorded blobs, the record of the epoch and its root.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_da::manifest::{Closing, ManifestRecord, ManifestRecords, Page, PageAt, PageError, Previous};
use tributary_da::{BlobRecord, DaError, names};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::Hash;

use super::{Report, Sources};
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::manifests::text_of;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::record::EpochRecord;
use crate::records::EpochRecords;

/// Checks the manifests of these epochs, whose roots were recomputed; `all` says whether they are all that are closed.
///
/// A job that runs beside the check may be anywhere: an epoch may be closed, its manifest not begun, or some of its pages not
/// certified yet. So what is missing at the end is none of a difference. What is missing before a later page is one, for manifests
/// are published one after the other.
pub(super) async fn check(
    sources: &Sources,
    (epochs, roots): (&[EpochRecord], &[Hash]),
    all: bool,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("manifests", Some(epochs.len() as u64));
    let records = ManifestRecords::new(Arc::clone(&sources.store));
    let mut check = Check { sources, records, listed: BTreeMap::new(), before: None };
    check.listed = check.records.listed().await?;
    let none = Cut::empty();
    let mut after = &none;
    for (epoch, root) in epochs.iter().zip(roots) {
        let blobs = sources.certificates.within(after, &epoch.cut).await?;
        if !check.epoch(epoch, *root, blobs).await? {
            break;
        }
        report.manifests += 1;
        after = &epoch.cut;
        progress.advance(1);
    }
    if all { check.nothing_beyond(epochs.last().map(|epoch| epoch.number)).await } else { Ok(()) }
}

struct Check<'a> {
    sources: &'a Sources,
    records: ManifestRecords,
    /// The greatest page of each epoch.
    listed: BTreeMap<Epoch, u32>,
    before: Option<ManifestRecord>,
}

impl Check<'_> {
    /// Whether the manifest of this epoch is whole; if not, nothing may come after it.
    async fn epoch(&mut self, epoch: &EpochRecord, root: Hash, blobs: Vec<BlobRecord>) -> Result<bool, SettlementError> {
        let genesis = self.sources.journal.genesis();
        let genesis_text = String::from_utf8(genesis.encode().into()).expect("a genesis record is JSON, which is text");
        let closing = Closing { genesis: genesis_text, epoch_record: text_of(epoch), root };
        let mut blobs = blobs.as_slice();
        for page in 0.. {
            let at = PageAt { epoch: epoch.number, page };
            let Some(record) = self.records.page(at).await? else { return self.ends(at).map(|()| false) };
            let found = self.page(&record).await?;
            let taken = blobs.len().min(found.blobs.len());
            let (listed, rest) = blobs.split_at(taken);
            let expected = Page {
                deployment: genesis.deployment,
                at,
                blobs: listed.to_vec(),
                previous: self.before.as_ref().map(Previous::of),
                closing: found.closing.as_ref().map(|_| closing.clone()),
            };
            if let Some(what) = difference(&expected, &found) {
                return Err(broken(at, what));
            }
            if record.deployment != genesis.deployment || record.last != found.closing.is_some() {
                return Err(broken(at, "the record says something else of its page than the page itself".to_owned()));
            }
            blobs = rest;
            let last = record.last;
            self.before = Some(record);
            if last {
                return self.is_whole(at, blobs).map(|()| true);
            }
        }
        Ok(false)
    }

    /// The page of a record, as its backend gives it and as it lies in the archive.
    async fn page(&self, record: &ManifestRecord) -> Result<Page, SettlementError> {
        let name = names::payload(&record.certificate.commitment).to_string();
        let payload = tributary_da::check::published(&self.sources.store, self.sources.client.as_ref(), &record.certificate).await?;
        Page::decode(&payload).map_err(|error| match error {
            PageError::NoManifest(_) | PageError::Damaged(_) => Invariant::D3.broken(name, error.to_string()),
        })
    }

    /// After the last page of an epoch there is neither a blob of it nor another page.
    fn is_whole(&self, last: PageAt, left: &[BlobRecord]) -> Result<(), SettlementError> {
        if let Some(blob) = left.first() {
            let missing = names::certificate(blob.partition, blob.first_seq);
            return Err(broken(last, format!("the manifest ends, but lacks the blob of {missing}")));
        }
        match self.listed.get(&last.epoch).filter(|greatest| **greatest > last.page) {
            Some(_) => {
                let more = PageAt { page: last.page + 1, ..last };
                Err(broken(more, format!("{last} is the last of its manifest already")))
            }
            None => Ok(()),
        }
    }

    /// No page is recorded here: then none is after it either.
    fn ends(&self, missing: PageAt) -> Result<(), SettlementError> {
        let later = self.listed.iter().map(|(epoch, page)| PageAt { epoch: *epoch, page: *page }).find(|at| *at > missing);
        match later {
            Some(later) => {
                let what = format!(
                    "it is missing, though {} is recorded: restore it from a copy; the page after it names its certificate",
                    names::manifest(later.epoch, later.page)
                );
                Err(broken(missing, what))
            }
            None => Ok(()),
        }
    }

    /// A manifest of an epoch that no record closed. The record comes first, so it is looked for after the manifest: a job may have
    /// closed the epoch meanwhile.
    async fn nothing_beyond(&self, last: Option<Epoch>) -> Result<(), SettlementError> {
        let Some((epoch, _)) = self.listed.iter().find(|(epoch, _)| Some(**epoch) > last) else { return Ok(()) };
        let closed = EpochRecords::new(Arc::clone(&self.sources.store), Metrics::default()).get(*epoch).await?;
        match closed {
            Some(_) => Ok(()),
            None => {
                let what = format!("no record closed the epoch: {} is missing", crate::records::path(*epoch));
                Err(broken(PageAt::first(*epoch), what))
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
