//! Looks at everything this stage ever wrote and names what is not as it must be.

mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use tributary_journal::{Journal, JournalError};
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units::{Hash, keccak256};

use crate::blob;
use crate::client::{Certificate, DaClient};
use crate::committer::Committer;
use crate::error::DaError;
use crate::manifest::{ManifestRecord, PageAt, first_gap};
use crate::names;
use crate::outbox::{Attempt, State};
use crate::placement::read;
use crate::plan::Plan;
use crate::record::BlobRecord;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object concerned.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
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
/// - each certificate carries out its plan; only the last plan of a partition may still lack one;
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
    let listed = async move {
        // In the opposite order of writing, so that whatever a listed object needs is listed too. But for pages of manifests: the one
        // that is written now is known only after those that were.
        let mut listing = Listing::default();
        for under in [names::CERTIFICATES, names::OUTBOX, names::BLOBS, names::PLANS, names::ROOT] {
            listing.add(&checked.store, under).await?;
        }
        // Now every batch that a listed plan names is sealed.
        checked.journal.refresh_all().await?;
        let audit = Arc::new(Audit { checked });
        let lanes = audit.lanes(&listing).await?;
        let (manifests, mut damaged) = audit.manifests().await?;
        damaged.extend(audit.genesis(!lanes.is_empty()).await?);
        let owners = audit.owners(&lanes, &manifests, outstanding).await?;
        let strays = audit.strays(&listing, &owners).await?;
        let of_manifests = Arc::clone(&audit).published_manifests(manifests);
        let lanes = stream::iter(lanes).map(move |lane| Arc::clone(&audit).lane(lane)).flatten();
        // Strays last: a damaged record leaves its payload without one, and the damage is to be named first.
        let found = stream::iter(damaged.into_iter().map(Ok)).chain(lanes).chain(of_manifests);
        Ok::<_, DaError>(found.chain(stream::iter(strays.into_iter().map(Ok))))
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
    blobs: BTreeMap<Seq, BlobRecord>,
    findings: Vec<Finding>,
}

struct Audit {
    checked: Checked,
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
        for (partition, first) in &listing.certificates {
            let lane = lanes.entry(*partition).or_default();
            let Some(bytes) = read(store, &names::certificate(*partition, *first)).await? else { continue };
            match BlobRecord::decode(*partition, *first, &bytes) {
                Ok(blob) => lane.blobs.extend([(*first, blob)]),
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

    /// The findings of one partition: the shape of its records first, then blob by blob.
    fn lane(self: Arc<Self>, lane: LaneRecords) -> BoxStream<'static, Result<Finding, DaError>> {
        let LaneRecords { plans, mut blobs, mut findings } = lane;
        findings.extend(tiling(&plans));
        let last = plans.len().saturating_sub(1);
        let mut pairs = Vec::with_capacity(plans.len());
        for (i, plan) in plans.into_iter().enumerate() {
            let blob = blobs.remove(&plan.first_seq);
            if blob.is_none() && i < last {
                let name = names::certificate(plan.partition, plan.first_seq);
                findings.push(found(&name, "it is missing or damaged, though a later blob is planned"));
            }
            pairs.push((plan, blob));
        }
        for (first, blob) in blobs {
            let what = format!("its plan, {}, is missing or damaged", names::plan(blob.partition, first));
            findings.push(found(&names::certificate(blob.partition, first), &what));
        }
        let pairs = stream::iter(pairs).then(move |(plan, blob)| {
            let audit = Arc::clone(&self);
            async move { audit.pair(plan, blob).await.map(|found| stream::iter(found.into_iter().map(Ok))) }
        });
        stream::iter(findings.into_iter().map(Ok)).chain(pairs.try_flatten()).boxed()
    }

    /// One plan and its certificate, if it has one already.
    async fn pair(&self, plan: Plan, blob: Option<BlobRecord>) -> Result<Vec<Finding>, DaError> {
        let name = names::plan(plan.partition, plan.first_seq);
        let expected = match self.planned(&plan).await? {
            Ok(expected) => expected,
            Err(what) => return Ok(vec![found(&name, &what)]),
        };
        let Some(blob) = blob else { return self.outstanding(&expected).await };
        if !blob.carries_out(&plan) {
            let certificate = names::certificate(plan.partition, plan.first_seq);
            return Ok(vec![found(&certificate, "it certifies something else than its plan")]);
        }
        match self.published(&blob.certificate).await {
            Ok(payload) if payload == expected => Ok(Vec::new()),
            Ok(_) => Ok(vec![found(&names::payload(&blob.certificate.commitment), "it differs from the journal's batches")]),
            Err(error) => Ok(vec![finding(error)?]),
        }
    }

    /// What the backend gives for a certificate. A network's copy is not the only one: the archive has the payload as well.
    async fn published(&self, certificate: &Certificate) -> Result<Bytes, DaError> {
        if certificate.is_billed() {
            let name = names::payload(&certificate.commitment);
            let archived = read(&self.checked.store, &name).await?;
            certificate.check_payload(&archived.ok_or_else(|| DaError::corrupt(name, "the archive does not have it"))?)?;
        }
        let payload = self.checked.client.retrieve(&certificate.wanted()).await?;
        certificate.check_payload(&payload)?;
        Ok(payload)
    }

    /// The findings of the pages of manifests, page by page.
    fn published_manifests(self: Arc<Self>, records: Vec<ManifestRecord>) -> BoxStream<'static, Result<Finding, DaError>> {
        let pages = stream::iter(records).then(move |record| {
            let audit = Arc::clone(&self);
            async move {
                match audit.published(&record.certificate).await {
                    Ok(_) => Ok(None),
                    Err(error) => finding(error).map(Some),
                }
            }
        });
        pages.filter_map(|found| async { found.transpose() }).boxed()
    }

    /// A plan that is not certified yet: its payload may lie in the archive already, and is right if it does.
    async fn outstanding(&self, expected: &Bytes) -> Result<Vec<Finding>, DaError> {
        let name = self.checked.committer.commit(expected).await?.payload_name();
        let payload = read(&self.checked.store, &name).await?;
        let wrong = payload.is_some_and(|payload| payload != expected);
        Ok(wrong.then(|| found(&name, "it differs from the journal's batches")).into_iter().collect())
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
        DaError::Corrupt { object, what } | DaError::Reject { object, what } => Ok(Finding { object, what }),
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
