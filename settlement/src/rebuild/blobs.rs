//! From blobs alone: the chain of manifests, the blobs that it lists, and those that were certified after it.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, TryStreamExt};
use object_store::ObjectStore;
use tributary_da::manifest::{Chain, Closing, LastPage, ManifestRecords, Page, read_page};
use tributary_da::recover::{self, Recovered, Walk};
use tributary_da::restore::{Nearby, Restored};
use tributary_da::{BlobRecord, Certificate, Committer, DaClient, DaError, Wanted, Witness};
use tributary_journal::{Genesis, Journal, Settings as JournalSettings};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Clock, Epoch};
use tributary_schemas::units::Hash;

use super::named::Named;
use super::{RebuildReport, Rebuilt, check_target, put_record, records_of};
use crate::error::SettlementError;
use crate::progress::Progress;
use crate::record::EpochRecord;
use crate::records::EpochRecords;

/// How many blobs are fetched at once. Each is held in memory until the ones before it are through.
const BLOBS_AT_ONCE: usize = 4;

/// What blobs come from.
#[derive(Clone)]
pub struct BlobSource {
    /// Gives the payload of a certificate; nothing was read through it yet.
    pub client: Arc<Witness>,
    /// What commitments are computed with.
    pub committer: Arc<Committer>,
    /// Where certificates are recorded; of no use if a manifest is named.
    pub store: Arc<dyn ObjectStore>,
    /// The certificate of the manifest to begin with; `None`: the last whole one that is recorded, and then what was certified
    /// after it.
    pub manifest: Option<Bytes>,
    /// Which archive that is, for whoever reads that it lacks a payload.
    pub place: String,
}

/// From blobs alone into `target`, which is empty or holds an unfinished rebuild of the same deployment; what that one fetched is
/// not fetched again. The source is only read. Batches, records of epochs, payloads and certificates are the same, byte for byte;
/// all tables are equal as multisets.
///
/// # Errors
/// `Refused`: the target holds something else, the certificate is none of a manifest, or there is nothing to rebuild from.
/// `Difference`: a payload is not what was certified, or a recomputed root is not the one in the manifest, which names the epoch.
/// `Retry`: a store or the backend did not answer, or a manifest was named and a payload that it leads to is nowhere; begin again
/// with the same target.
pub async fn rebuild_from_da(
    source: BlobSource,
    target: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<RebuildReport, SettlementError> {
    check_target(&target).await?;
    let client = client_of(&source, &target);
    let last = last_page(&source, client.as_ref()).await?;
    let genesis = match &last {
        Some(last) => genesis_of(last)?,
        None => genesis_beside(&source).await?,
    };
    let journal = Journal::adopt(Arc::clone(&target), genesis.clone(), JournalSettings::default()).await?;
    let restored = Restored::new(Arc::clone(&target));
    restored.genesis(&genesis).await?;
    let records = records_of(&target);
    let mut bringing = Bringing {
        report: RebuildReport { blobs: Some(0), ..RebuildReport::begun(&genesis) },
        walk: Walk::of(genesis.deployment),
        client,
        journal: &journal,
        restored: &restored,
        copies: &records,
        progress,
        epochs: Vec::new(),
        roots: Vec::new(),
    };
    if let Some(last) = last {
        bringing.manifests(last).await?;
    }
    if source.manifest.is_none() {
        bringing.beyond(Arc::clone(&source.store)).await?;
        let rebuilt = bringing.epochs.last().map(|record| record.number);
        bringing.report.epochs_without_manifest = Some(records_of(&source.store).closed_after(rebuilt).await?);
    }
    let Bringing { mut report, epochs, roots, .. } = bringing;
    report.from_archive = Some(source.client.from_archive());
    Rebuilt::open(target, journal, clock).build_tables(&epochs, progress, &mut report).await?;
    compare(&mut report, &roots)?;
    Ok(report)
}

/// The target first. A payload that is nowhere is a difference where a record of the store says that it was certified, and none where
/// that is only known from a certificate that was named.
fn client_of(source: &BlobSource, target: &Arc<dyn ObjectStore>) -> Arc<dyn DaClient> {
    let far = Arc::clone(&source.client) as Arc<dyn DaClient>;
    let near = Nearby::new(Arc::clone(target), Arc::clone(&source.committer), far);
    match &source.manifest {
        Some(_) => Arc::new(Named { near, place: source.place.clone() }),
        None => Arc::new(near),
    }
}

/// The page to begin with. `None`: no manifest is recorded.
async fn last_page(source: &BlobSource, client: &dyn DaClient) -> Result<Option<LastPage>, SettlementError> {
    let recorded = match &source.manifest {
        Some(_) => None,
        None => ManifestRecords::new(Arc::clone(&source.store)).latest_whole().await?.map(|record| record.certificate),
    };
    let named = source.manifest.clone().map(|certificate| Wanted { certificate, expires_at: None });
    let Some(wanted) = recorded.as_ref().map(Certificate::wanted).or(named) else { return Ok(None) };
    let (page, payload) = read_page(client, &wanted).await?;
    let Some(closing) = &page.closing else {
        let what = format!("this is {}, but not the last of its epoch: name the certificate that `settle` prints", page.at);
        return Err(SettlementError::Refused(what));
    };
    let since = record_in(closing, page.at.epoch)?.closed_at;
    let certificate = match recorded {
        Some(recorded) => recorded.check_payload(&payload).map(|()| recorded)?,
        None => Certificate::recovered(&wanted, &payload, since)?,
    };
    Ok(Some(LastPage { page, payload, certificate, since }))
}

fn genesis_of(last: &LastPage) -> Result<Genesis, SettlementError> {
    let text = last.page.closing.as_ref().map(|closing| closing.genesis.as_bytes()).unwrap_or_default();
    let object = || format!("the genesis record in the manifest of epoch {}", last.page.at.epoch);
    let genesis = Genesis::decode(text).map_err(|error| SettlementError::difference(object(), error.to_string()))?;
    match genesis.deployment == last.page.deployment {
        true => Ok(genesis),
        false => Err(SettlementError::difference(object(), "it is that of another deployment than the manifest")),
    }
}

/// Before any manifest is published, the copy beside the blobs tells.
async fn genesis_beside(source: &BlobSource) -> Result<Genesis, SettlementError> {
    let nothing = "there is nothing to rebuild from: no manifest and no blob is recorded here (da/manifests, da/certs). Name the \
                   certificate of a manifest with --manifest, or the store that has them";
    let found = tributary_da::genesis::found(&source.store).await?;
    let recorded = recover::recorded_after(Arc::clone(&source.store), Cut::empty()).try_next().await?;
    match (found, recorded) {
        (Some(genesis), Some(_)) => Ok(genesis),
        (None, Some(blob)) => {
            let what = format!(
                "there are blobs of deployment {}, but neither a manifest nor {} says with how many partitions it was born: \
                 settle an epoch, or start what publishes it once",
                blob.deployment,
                tributary_da::names::GENESIS
            );
            Err(SettlementError::Refused(what))
        }
        (_, None) => Err(SettlementError::Refused(nothing.to_owned())),
    }
}

/// The record of an epoch, as its manifest has it.
fn record_in(closing: &Closing, epoch: Epoch) -> Result<EpochRecord, SettlementError> {
    let object = || format!("the record in the manifest of epoch {epoch}");
    let record = EpochRecord::decode(closing.epoch_record.as_bytes());
    let record = record.map_err(|error| SettlementError::difference(object(), error.to_string()))?;
    match record.number == epoch {
        true => Ok(record),
        false => Err(SettlementError::difference(object(), format!("it is that of epoch {}", record.number))),
    }
}

/// What is on its way from blobs into the target.
struct Bringing<'a> {
    report: RebuildReport,
    walk: Walk,
    client: Arc<dyn DaClient>,
    journal: &'a Journal,
    restored: &'a Restored,
    copies: &'a EpochRecords,
    progress: &'a dyn Progress,
    epochs: Vec<EpochRecord>,
    /// The roots in the manifests.
    roots: Vec<Hash>,
}

impl Bringing<'_> {
    /// Everything up to the epoch of this page.
    async fn manifests(&mut self, last: LastPage) -> Result<(), SettlementError> {
        self.progress.stage("manifests", Some(last.page.at.epoch.get()));
        let progress = self.progress;
        let chain = Chain::follow(self.client.as_ref(), last, self.restored, &|| progress.advance(1)).await?;
        self.progress.stage("blobs", Some(chain.blobs()));
        let client = Arc::clone(&self.client);
        let steps = chain.pages().map_ok(|page| stream::iter(steps(page).map(Ok))).try_flatten();
        let fetched = steps.map_ok(move |step| fetch(step, Arc::clone(&client)));
        let mut fetched = std::pin::pin!(fetched.try_buffered(BLOBS_AT_ONCE));
        while let Some(step) = fetched.try_next().await? {
            match step {
                Fetched::Blob(recovered) => self.bring(*recovered).await?,
                Fetched::Closed(epoch, closing) => self.close(epoch, &closing).await?,
            }
        }
        Ok(())
    }

    /// What was certified after that.
    async fn beyond(&mut self, store: Arc<dyn ObjectStore>) -> Result<(), SettlementError> {
        self.progress.stage("later blobs", None);
        let records = recover::recorded_after(store, self.walk.reached());
        let mut blobs = recover::blobs(records, Arc::clone(&self.client), BLOBS_AT_ONCE);
        while let Some(recovered) = blobs.try_next().await? {
            self.bring(recovered).await?;
        }
        Ok(())
    }

    /// The batches of a blob, then what data availability has of it: so a record of it stands for batches that are there.
    async fn bring(&mut self, recovered: Recovered) -> Result<(), SettlementError> {
        self.walk.check(&recovered)?;
        for batch in &recovered.batches {
            self.journal.append(batch).await?;
            self.report.batches += 1;
            self.report.events += u64::from(batch.header.events);
        }
        self.restored.blob(&recovered.blob, &recovered.payload).await?;
        self.report.blobs = self.report.blobs.map(|blobs| blobs + 1);
        self.progress.advance(1);
        Ok(())
    }

    /// An epoch whose blobs are all there.
    async fn close(&mut self, epoch: Epoch, closing: &Closing) -> Result<(), SettlementError> {
        let record = record_in(closing, epoch)?;
        let differs = |what: String| SettlementError::difference(format!("the manifest of epoch {epoch}"), what);
        record.check_follows(self.epochs.last()).map_err(|what| differs(format!("in the record of the epoch: {what}")))?;
        let reached = self.walk.reached();
        if !reached.is_at_least(&record.cut) {
            return Err(differs(format!("the epoch covers {}, but the blobs end at {reached}", record.cut)));
        }
        put_record(self.copies, &record).await?;
        self.epochs.push(record);
        self.roots.push(closing.root);
        Ok(())
    }
}

/// What a page has to do.
enum Step {
    Blob(BlobRecord),
    Closed(Epoch, Closing),
}

enum Fetched {
    Blob(Box<Recovered>),
    Closed(Epoch, Closing),
}

fn steps(page: Page) -> impl Iterator<Item = Step> {
    let closed = page.closing.map(|closing| Step::Closed(page.at.epoch, closing));
    page.blobs.into_iter().map(Step::Blob).chain(closed)
}

async fn fetch(step: Step, client: Arc<dyn DaClient>) -> Result<Fetched, DaError> {
    match step {
        Step::Blob(blob) => Ok(Fetched::Blob(Box::new(recover::blob(blob, client).await?))),
        Step::Closed(epoch, closing) => Ok(Fetched::Closed(epoch, closing)),
    }
}

/// The roots that were computed from the batches against those in the manifests.
fn compare(report: &mut RebuildReport, roots: &[Hash]) -> Result<(), SettlementError> {
    for (row, root) in report.epochs.iter().zip(roots) {
        if row.root != *root {
            let what = format!("its root is {root:#x} in its manifest, rebuilt it is {:#x}", row.root);
            return Err(SettlementError::difference(format!("epoch {}", row.epoch), what));
        }
        report.compared += 1;
    }
    Ok(())
}
