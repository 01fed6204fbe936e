//! Looks at everything this stage ever wrote and names what is not as it must be.

mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use tributary_journal::{Journal, JournalError};
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units::{Hash, keccak256};

use crate::blob;
use crate::certificates::record_of;
use crate::client::{Certificate, DaClient};
use crate::committer::Committer;
use crate::error::DaError;
use crate::listed::ListedBlob;
use crate::manifest::{ManifestRecord, PageAt, first_gap};
use crate::names;
use crate::outbox::{Attempt, State};
use crate::placement::read;
use crate::plan::Plan;
use crate::record::BlobRecord;

/// How many blobs are fetched and committed to at the same time: so many of the largest are held in memory, several times over.
const BLOBS_AT_ONCE: usize = 4;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object concerned.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

/// Of which blobs the payload is fetched and compared. Of all others their records are, and that their payload lies in the archive.
#[derive(Clone, Debug, Default)]
pub enum Depth {
    /// Of all.
    #[default]
    All,
    /// Of these, by partition and first batch.
    Only(BTreeSet<(Partition, Seq)>),
}

impl Depth {
    fn reaches(&self, plan: &Plan) -> bool {
        match self {
            Self::All => true,
            Self::Only(these) => these.contains(&(plan.partition, plan.first_seq)),
        }
    }
}

/// How far the check is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something is not as it must be.
    Found(Finding),
    /// A certified blob is as it must be: its payload, or its records alone.
    Right {
        /// Whether its payload was compared.
        compared: bool,
    },
}

/// What is checked, and with what.
#[derive(Clone)]
pub struct Checked {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The batches that blobs must hold.
    pub journal: Arc<Journal>,
    /// Whom readers ask.
    pub client: Arc<dyn DaClient>,
    /// Makes the commitments that name payloads.
    pub committer: Arc<Committer>,
}

/// The payloads of manifests that are about to be recorded, given those that are: who publishes them may be under way, or have died.
pub type Outstanding = Box<dyn FnOnce(Vec<ManifestRecord>) -> BoxFuture<'static, Result<Vec<Bytes>, DaError>> + Send>;

/// Checks every plan, payload and recorded certificate against each other, the backend and the journal:
///
/// - each record has its canonical spelling and its own hash, lies under its own name and belongs to this deployment;
/// - the plans of a partition tile its sequence from 0 without gap or overlap, and so do the certificates;
/// - each certificate carries out its plan; plans may lack one only behind the last that has one, however many of them are under way;
/// - each payload is what was certified, and its batches are byte for byte those of the journal: from the backend, and in the
///   archive;
/// - the recorded pages of manifests follow each other, and each comes back as it was certified; what they say is not looked at;
/// - the copy of the genesis record is one;
/// - each entry of the outbox is of a payload that was planned, and of an attempt that was noted before it was made;
/// - nothing else lies under `da/`.
///
/// It may run beside publishers: what they write meanwhile is left out or found complete. Findings come in no promised order.
///
/// # Errors
/// [`DaError::Retry`] or [`DaError::Journal`] where something could not be read, so that it could not be checked.
pub fn check_all(checked: Checked, outstanding: Outstanding) -> BoxStream<'static, Result<Finding, DaError>> {
    let found = |step| match step {
        Step::Found(finding) => Some(finding),
        Step::Right { .. } => None,
    };
    check(checked, outstanding, Depth::All).try_filter_map(move |step| ready(Ok(found(step)))).boxed()
}

/// [`check_all`] to some depth, blob by blob and several at a time: each that is right is a step as well.
pub fn check(checked: Checked, outstanding: Outstanding, depth: Depth) -> BoxStream<'static, Result<Step, DaError>> {
    let listed = async move {
        // In the opposite order of writing, so that whatever a listed object needs is listed too. But for pages of manifests: the one
        // that is written now is known only after those that were.
        let mut listing = Listing::default();
        for under in [names::CERTIFICATES, names::OUTBOX, names::BLOBS, names::PLANS, names::ROOT] {
            listing.add(&checked.store, under).await?;
        }
        // Now every batch that a listed plan names is sealed.
        checked.journal.refresh_all().await?;
        let mut audit = Audit { checked, depth, archived: BTreeSet::new() };
        let lanes = audit.lanes(&listing).await?;
        let (manifests, mut found) = audit.manifests().await?;
        found.extend(audit.genesis(!lanes.is_empty()).await?);
        let owners = audit.owners(&lanes, &manifests, outstanding).await?;
        let strays = audit.strays(&listing, &owners).await?;
        audit.archived = listing.payloads;
        let audit = Arc::new(audit);
        let mut pairs = Vec::new();
        for lane in lanes {
            let (wrong, of_lane) = paired(lane);
            found.extend(wrong);
            pairs.extend(of_lane);
        }
        let (of_pairs, of_manifests) = (Arc::clone(&audit).pairs(pairs), audit.published_manifests(manifests));
        // Strays last: a damaged record leaves its payload without one, and the damage is to be named first.
        Ok::<_, DaError>(steps(found).chain(of_pairs).chain(of_manifests).chain(steps(strays)))
    };
    stream::once(listed).try_flatten().boxed()
}

/// For where no manifests are published.
pub fn none_outstanding() -> Outstanding {
    Box::new(|_| Box::pin(async { Ok(Vec::new()) }))
}

/// What lies under `da/`.
#[derive(Default)]
struct Listing {
    certificates: BTreeSet<(Partition, Seq)>,
    plans: BTreeSet<(Partition, Seq)>,
    /// By the hashes in their names.
    payloads: BTreeSet<Hash>,
    outbox: BTreeSet<(Attempt, State)>,
    strays: BTreeSet<Path>,
}

impl Listing {
    async fn add(&mut self, store: &Arc<dyn ObjectStore>, under: &str) -> Result<(), DaError> {
        let mut objects = store.list(Some(&Path::from(under)));
        while let Some(object) = objects.try_next().await.map_err(|e| DaError::retry(under, e))? {
            let path = object.location;
            match under {
                names::CERTIFICATES => self.certificates.extend(names::parse_record(under, &path)),
                names::PLANS => self.plans.extend(names::parse_record(under, &path)),
                names::BLOBS => self.payloads.extend(names::parse_payload(&path)),
                names::OUTBOX => self.outbox.extend(names::parse_outbox(&path)),
                _ => self.strays.extend((!Self::has_a_name(&path)).then_some(path)),
            }
        }
        Ok(())
    }

    /// The certificates that are listed, and of plans before them those that are not: they may have been recorded behind the listing's
    /// back, which reads no two names at the same time.
    fn with_overtaken(&self) -> BTreeSet<(Partition, Seq)> {
        let overtaken = |(partition, first): &&(Partition, Seq)| {
            self.certificates.range((*partition, *first)..).next().is_some_and(|(later, _)| later == partition)
        };
        self.plans.iter().filter(overtaken).chain(&self.certificates).copied().collect()
    }

    fn has_a_name(path: &Path) -> bool {
        let record = |under| names::parse_record(under, path).is_some();
        let other = names::parse_payload(path).is_some() || names::parse_outbox(path).is_some();
        let single = path.as_ref() == names::GENESIS;
        record(names::CERTIFICATES) || record(names::PLANS) || other || single || names::parse_manifest(path).is_some()
    }
}

/// The records of one partition, those that could be read.
#[derive(Default)]
struct LaneRecords {
    plans: Vec<Plan>,
    blobs: BTreeMap<Seq, ListedBlob>,
    findings: Vec<Finding>,
}

/// A plan, and its blob if that is recorded already.
type Pair = (Plan, Option<ListedBlob>);

struct Audit {
    checked: Checked,
    depth: Depth,
    /// The names of all payloads in the archive.
    archived: BTreeSet<Hash>,
}

impl Audit {
    /// Reads plans and certificates.
    async fn lanes(&self, listing: &Listing) -> Result<Vec<LaneRecords>, DaError> {
        let store = &self.checked.store;
        let mut lanes: BTreeMap<Partition, LaneRecords> = BTreeMap::new();
        for (partition, first) in &listing.plans {
            let lane = lanes.entry(*partition).or_default();
            let Some(bytes) = read(store, &names::plan(*partition, *first)).await? else { continue };
            match Plan::decode(*partition, *first, &bytes).and_then(|plan| self.at_home(plan)) {
                Ok(plan) => lane.plans.push(plan),
                Err(error) => lane.findings.push(finding(error)?),
            }
        }
        for (partition, first) in listing.with_overtaken() {
            let lane = lanes.entry(partition).or_default();
            let Some(bytes) = read(store, &names::certificate(partition, first)).await? else { continue };
            match BlobRecord::decode(partition, first, &bytes) {
                Ok(blob) => lane.blobs.extend([(first, ListedBlob::of(&blob))]),
                Err(error) => lane.findings.push(finding(error)?),
            }
        }
        Ok(lanes.into_values().collect())
    }

    /// Reads the records of manifests; those that are damaged or missing come as findings.
    async fn manifests(&self) -> Result<(Vec<ManifestRecord>, Vec<Finding>), DaError> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        let mut objects = self.checked.store.list(Some(&Path::from(names::MANIFESTS)));
        while let Some(object) = objects.try_next().await.map_err(|e| DaError::retry(names::MANIFESTS, e))? {
            let Some((epoch, page)) = names::parse_manifest(&object.location) else { continue };
            let Some(bytes) = read(&self.checked.store, &object.location).await? else { continue };
            match ManifestRecord::decode(epoch, page, &bytes) {
                Ok(record) if record.deployment == self.checked.journal.genesis().deployment => records.push(record),
                Ok(_) => damaged.push(found(&object.location, "it belongs to another deployment")),
                Err(error) => damaged.push(finding(error)?),
            }
        }
        records.sort_unstable_by_key(|record| (record.epoch, record.page));
        if let Some((missing, later)) = first_gap(&records) {
            let name = names::manifest(missing.epoch, missing.page);
            if read(&self.checked.store, &name).await?.is_some() {
                // It is damaged, or was written behind the listing's back, as all after it were.
                records.retain(|record| PageAt { epoch: record.epoch, page: record.page } < missing);
            } else {
                let later = names::manifest(later.epoch, later.page);
                let what =
                    format!("it is missing, though {later} is recorded: restore it; the page after it names its certificate");
                damaged.push(found(&name, &what));
            }
        }
        Ok((records, damaged))
    }

    /// The copy of the genesis record, which was there before anything was planned.
    async fn genesis(&self, planned: bool) -> Result<Option<Finding>, DaError> {
        let name = Path::from(names::GENESIS);
        Ok(match read(&self.checked.store, &name).await? {
            Some(copy) if copy != self.checked.journal.genesis().encode() => {
                Some(found(&name, "it differs from the genesis record of the journal"))
            }
            None if planned => Some(found(&name, "it is missing: copy the genesis record of the journal to it")),
            _ => None,
        })
    }

    fn at_home(&self, plan: Plan) -> Result<Plan, DaError> {
        match plan.deployment == self.checked.journal.genesis().deployment {
            true => Ok(plan),
            false => Err(DaError::corrupt(names::plan(plan.partition, plan.first_seq), "it belongs to another deployment")),
        }
    }

    /// Plan by plan, several at a time: commitments are most of the work, and each keeps one processor busy.
    fn pairs(self: Arc<Self>, pairs: Vec<Pair>) -> BoxStream<'static, Result<Step, DaError>> {
        let looked_at = stream::iter(pairs).map(move |(plan, blob)| {
            let audit = Arc::clone(&self);
            async move { audit.pair(&plan, blob.as_ref()).await }
        });
        looked_at.buffered(BLOBS_AT_ONCE).try_filter_map(|step| ready(Ok(step))).boxed()
    }

    /// One plan and its certificate, if it has one already; without one it is no step that there is nothing wrong.
    async fn pair(&self, plan: &Plan, blob: Option<&ListedBlob>) -> Result<Option<Step>, DaError> {
        let compared = blob.is_none() || self.depth.reaches(plan);
        let wrong = match blob {
            Some(blob) if !blob.carries_out(plan) => {
                let certificate = names::certificate(plan.partition, plan.first_seq);
                Some(found(&certificate, "it certifies something else than its plan"))
            }
            Some(blob) if !compared => self.archived(blob),
            _ => self.compared(plan, blob).await?,
        };
        Ok(wrong.map(Step::Found).or_else(|| blob.is_some().then_some(Step::Right { compared })))
    }

    /// The payload of a plan against the journal's batches.
    async fn compared(&self, plan: &Plan, blob: Option<&ListedBlob>) -> Result<Option<Finding>, DaError> {
        let expected = match self.planned(plan).await? {
            Ok(expected) => expected,
            Err(what) => return Ok(Some(found(&names::plan(plan.partition, plan.first_seq), &what))),
        };
        let Some(blob) = blob else { return self.outstanding(&expected).await };
        let record = match record_of(&self.checked.store, blob).await {
            Ok(record) => record,
            Err(error) => return finding(error).map(Some),
        };
        match self.published(&record.certificate).await {
            Ok(payload) if payload == expected => Ok(None),
            Ok(_) => Ok(Some(found(&names::payload(&blob.commitment), "it differs from the journal's batches"))),
            Err(error) => finding(error).map(Some),
        }
    }

    /// That a payload lies in the archive, by the names there.
    fn archived(&self, blob: &ListedBlob) -> Option<Finding> {
        let is_there = self.archived.contains(&keccak256(blob.commitment));
        (!is_there).then(|| found(&names::payload(&blob.commitment), "the archive does not have it"))
    }

    /// What the backend gives for a certificate. A network's copy is not the only one: the archive has the payload as well.
    async fn published(&self, certificate: &Certificate) -> Result<Bytes, DaError> {
        if certificate.is_billed() {
            let name = names::payload(&certificate.commitment);
            let archived = read(&self.checked.store, &name).await?;
            certificate.check_payload(&archived.ok_or_else(|| DaError::missing(name, "the archive does not have it"))?)?;
        }
        let payload = self.checked.client.retrieve(&certificate.wanted()).await?;
        certificate.check_payload(&payload)?;
        Ok(payload)
    }

    /// The findings of the pages of manifests, page by page.
    fn published_manifests(self: Arc<Self>, records: Vec<ManifestRecord>) -> BoxStream<'static, Result<Step, DaError>> {
        let pages = stream::iter(records).map(move |record| {
            let audit = Arc::clone(&self);
            async move {
                match audit.published(&record.certificate).await {
                    Ok(_) => Ok(None),
                    Err(error) => finding(error).map(|wrong| Some(Step::Found(wrong))),
                }
            }
        });
        pages.buffered(BLOBS_AT_ONCE).try_filter_map(|step| ready(Ok(step))).boxed()
    }

    /// A plan that is not certified yet: its payload may lie in the archive already, and is right if it does.
    async fn outstanding(&self, expected: &Bytes) -> Result<Option<Finding>, DaError> {
        let name = self.checked.committer.commit(expected).await?.payload_name();
        let payload = read(&self.checked.store, &name).await?;
        let wrong = payload.is_some_and(|payload| payload != expected);
        Ok(wrong.then(|| found(&name, "it differs from the journal's batches")))
    }

    /// The payload that a plan names, or why the journal does not make it.
    async fn planned(&self, plan: &Plan) -> Result<Result<Bytes, String>, DaError> {
        let batches = match self.journal_batches(plan).await? {
            Ok(batches) => batches,
            Err(what) => return Ok(Err(what)),
        };
        let payload = blob::encode(&batches);
        match keccak256(&payload) == plan.payload_hash && payload.len() as u64 == plan.payload_bytes {
            true => Ok(Ok(payload)),
            false => Ok(Err("the journal's batches do not make the payload that it names".to_owned())),
        }
    }

    /// The batches that a plan names, or why the journal does not have them.
    async fn journal_batches(&self, plan: &Plan) -> Result<Result<Vec<tributary_journal::SealedBatch>, String>, DaError> {
        let mut batches = Vec::new();
        for seq in (plan.first_seq.get()..=plan.last_seq.get()).filter_map(Seq::new) {
            match self.checked.journal.read(plan.partition, seq).await {
                Ok(batch) => batches.push(batch),
                Err(error @ (JournalError::Corrupt { .. } | JournalError::Refused(_))) => {
                    return Ok(Err(format!("the journal does not have its batch {seq}: {error}")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ok(batches))
    }
}

fn steps(findings: Vec<Finding>) -> BoxStream<'static, Result<Step, DaError>> {
    stream::iter(findings.into_iter().map(|finding| Ok(Step::Found(finding)))).boxed()
}

/// The plans of one partition with their certificates, and what is wrong with the shape of its records.
fn paired(lane: LaneRecords) -> (Vec<Finding>, Vec<Pair>) {
    let LaneRecords { plans, mut blobs, mut findings } = lane;
    findings.extend(tiling(&plans));
    let last_recorded = blobs.keys().next_back().copied();
    let mut pairs = Vec::with_capacity(plans.len());
    for plan in plans {
        let blob = blobs.remove(&plan.first_seq);
        if blob.is_none() && last_recorded.is_some_and(|last| plan.first_seq < last) {
            let name = names::certificate(plan.partition, plan.first_seq);
            findings.push(found(&name, "it is missing or damaged, though a later blob has its certificate"));
        }
        pairs.push((plan, blob));
    }
    for (first, blob) in blobs {
        let what = format!("its plan, {}, is missing or damaged", names::plan(blob.partition, first));
        findings.push(found(&names::certificate(blob.partition, first), &what));
    }
    (findings, pairs)
}

/// Where plans leave a gap or overlap.
fn tiling(plans: &[Plan]) -> Vec<Finding> {
    let mut expected = Seq::FIRST;
    let mut findings = Vec::new();
    for plan in plans {
        let name = |first| names::plan(plan.partition, first);
        if plan.first_seq > expected {
            let what = format!("it is missing or damaged: the plans before it end here, the next begins with {}", plan.first_seq);
            findings.push(found(&name(expected), &what));
        } else if plan.first_seq < expected {
            let what = format!("it begins with batch {}, the plans before it end before {expected}", plan.first_seq);
            findings.push(found(&name(plan.first_seq), &what));
        }
        expected = plan.last_seq.next().max(expected);
    }
    findings
}

fn found(object: &Path, what: &str) -> Finding {
    Finding { object: object.to_string(), what: what.to_owned() }
}

/// An error that is a finding, or the error itself if it only says that nothing could be read.
fn finding(error: DaError) -> Result<Finding, DaError> {
    match error {
        DaError::Corrupt { object, what } | DaError::Missing { object, what } | DaError::Reject { object, what } => {
            Ok(Finding { object, what })
        }
        DaError::Expired { object, at } => {
            Ok(Finding { object, what: format!("it expired at {at}, and there is no archive to read instead") })
        }
        DaError::Retry { .. }
        | DaError::Down { .. }
        | DaError::OutcomeUnknown { .. }
        | DaError::UnderWay { .. }
        | DaError::Late { .. }
        | DaError::Journal(_) => Err(error),
    }
}

#[cfg(test)]
mod tests;
