//! Recomputes everything that can be recomputed and compares it with what is stored. The first difference ends it.
//!
//! The order is that of the flow, so that the first difference is the one nearest to its cause: genesis, records of epochs,
//! the chain of every partition, data availability, the files of the lake, its tables of events against the batches,
//! the tables of settlement against a replay of the batches that shares nothing with the job but the split of one fee, and the
//! manifests against all of it.
//! A difference names the [`Invariant`] that it breaks; only the genesis record, from which all others start, breaks none.

mod chain;
mod epochs;
mod event;
mod manifests;
mod no_more;
mod sample;
mod window;

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;
use tributary_da::check::{Checked, Depth, Step};
use tributary_da::{Certificates, Committer, DaClient, FromArchive, Witness};
use tributary_indexer::lake::Lake;
use tributary_journal::{Genesis, Journal};
use tributary_query::Engine;
use tributary_schemas::cut::Cut;
use tributary_schemas::event::EventType;
use tributary_schemas::ids::{Epoch, Partition, Seq};
use tributary_schemas::tables::Table;
use tributary_schemas::units::Hash;

use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::ledger::EpochRow;
use crate::metrics::Metrics;
use crate::parts::APPLICATION;
use crate::progress::Progress;
use crate::record::EpochRecord;
use crate::records::EpochRecords;

#[cfg(test)]
pub(crate) use chain::places;
pub use event::EventReport;
pub use sample::{Drawn, Sample, Sampled};

/// What is checked, and what it is checked with.
#[derive(Clone)]
pub struct Sources {
    /// Everything lies here.
    pub store: Arc<dyn ObjectStore>,
    /// The sealed batches.
    pub journal: Arc<Journal>,
    /// What is certified.
    pub certificates: Arc<Certificates>,
    /// The backend of data availability and the archive behind it, from which nothing was read yet.
    pub client: Arc<Witness>,
    /// What proofs are made with.
    pub committer: Arc<Committer>,
    /// The tables.
    pub lake: Arc<Lake>,
    /// Reads the tables of settlement as anybody sees them.
    pub engine: Arc<Engine>,
}

/// What to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Check the tables of this epoch alone, and of everything else what lies before it.
    pub epoch: Option<Epoch>,
    /// Check one event alone, from its bytes to the blob.
    pub event: Option<EventQuery>,
    /// Check what is small in full, and of what is large a part drawn by chance.
    pub sample: Option<Sample>,
}

/// Which event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `id`.
    pub id: String,
    /// Its type; needed if several types share source and id.
    pub event_type: Option<EventType>,
    /// Its key; needed if several keys share source, id and type.
    pub key: Option<String>,
}

/// What was checked and found right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The deployment.
    pub deployment: String,
    /// Its partitions.
    pub partitions: u32,
    /// Sealed batches whose hashes, links, roots and events were recomputed.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Batches that record a gap of the log, as an operator decided.
    pub gaps: u64,
    /// Lists of identities compared with the events of their batches.
    pub identity_lists: u64,
    /// Identities that were forgotten before their window ended, because a partition has more of them than fit the memory:
    /// so many events were not searched for repetitions at the whole distance. 0: J4 was checked in full.
    pub identities_forgotten: u64,
    /// Blobs compared with the batches.
    pub blobs: u64,
    /// Of them and of the pages of manifests, those that the backend did not give, so that what the archive has was compared alone.
    #[serde(flatten)]
    pub from_archive: FromArchive,
    /// Tables whose files were hashed.
    pub tables: u64,
    /// Rows of events compared with the batches.
    pub rows: u64,
    /// Inferences settled again.
    pub inferences: u64,
    /// Reward lines compared with a replay of the batches.
    pub lines: u64,
    /// Manifests compared with the records and roots of their epochs.
    pub manifests: u64,
    /// Closed epochs, the latest ones, whose manifests are not published, or not whole: a job is under way, or ended before its time.
    pub epochs_without_manifest: u64,
    /// The epochs whose tables and roots were recomputed.
    pub epochs: Vec<EpochRow>,
    /// The event that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventReport>,
    /// What was drawn, if that was asked for: the counts above are then of what was recomputed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sampled>,
}

/// Checks; the report says what was checked.
///
/// # Errors
/// `Difference`: the first thing that is not what it must be. `NoSuchEpoch` or `Refused`: what was asked for does not exist.
/// `Retry`: something could not be read, so that it could not be checked.
pub async fn verify(sources: &Sources, request: &VerifyRequest, progress: &dyn Progress) -> Result<Report, SettlementError> {
    let report = recompute(sources, request, progress).await?;
    Ok(Report { from_archive: sources.client.from_archive(), ..report })
}

async fn recompute(sources: &Sources, request: &VerifyRequest, progress: &dyn Progress) -> Result<Report, SettlementError> {
    let genesis = check_genesis(sources).await?;
    let mut report =
        Report { deployment: genesis.deployment.to_string(), partitions: genesis.partitions.get(), ..Report::default() };
    if let Some(query) = &request.event {
        progress.stage("event", None);
        report.event = Some(event::check(sources, query).await.map_err(|error| Invariant::J3.name_in(error))?);
        return Ok(report);
    }
    progress.stage("epoch records", None);
    let records = EpochRecords::new(Arc::clone(&sources.store), Metrics::default()).load().await;
    let records = up_to(records.map_err(|error| Invariant::S3.name_in(error))?, request.epoch)?;
    check_partitions(&genesis, &records)?;
    let heads = heads(sources).await?;
    // S3: what a record covers must be there.
    if let Some((record, (partition, seq))) = first_beyond(&records, &heads) {
        let path = crate::records::path(record.number);
        let what = format!("the batch is missing: {path} covers {}, but the journal ends at {heads}", record.cut);
        return Err(Invariant::S3.broken(chain::name(partition, seq), what));
    }
    if let Some(sample) = request.sample {
        sample::check(sources, sample, (&records, &heads), progress, &mut report).await?;
        return Ok(report);
    }
    let whole = match (request.epoch, records.last()) {
        (Some(_), Some(last)) => last.cut.clone(),
        _ => heads,
    };
    chain::check(sources, &whole, progress, &mut report).await?;
    let available = check_availability(sources, &records, Depth::All, progress, &mut report).await;
    available.map_err(|error| Invariant::D1.name_in(error))?;
    check_lake(sources, &records, &whole, progress, &mut report).await.map_err(|error| Invariant::T1.name_in(error))?;
    let replayed = epochs::check(sources, &records, request.epoch, progress, &mut report).await;
    let replayed = replayed.map_err(|error| Invariant::S3.name_in(error))?;
    if request.epoch.is_none() {
        no_more::check(sources, records.last().map(|record| record.number), &replayed)
            .await
            .map_err(|error| Invariant::S3.name_in(error))?;
    }
    let roots = roots(&records, &report);
    let manifests = manifests::check(sources, (&records, &roots), request.epoch.is_none(), progress, &mut report).await;
    manifests.map_err(|error| Invariant::D3.name_in(error))?;
    Ok(report)
}

/// The root of every epoch as it was recomputed: each record has that of the one before, which was compared.
fn roots(records: &[EpochRecord], report: &Report) -> Vec<Hash> {
    let compared = records.iter().skip(1).map(|record| record.previous_root);
    compared.chain(report.epochs.last().map(|row| row.root)).collect()
}

/// The first record whose cut is not all reached, with the first place that it covers beyond that.
fn first_beyond<'a>(records: &'a [EpochRecord], reached: &Cut) -> Option<(&'a EpochRecord, (Partition, Seq))> {
    records.iter().find_map(|record| {
        let (partition, _) = record.cut.iter().find(|(partition, last)| !reached.covers(*partition, *last))?;
        Some((record, (partition, reached.get(partition).map_or(Seq::FIRST, Seq::next))))
    })
}

/// The last batch of every partition, as it lies in the store now.
async fn heads(sources: &Sources) -> Result<Cut, SettlementError> {
    match sources.journal.refresh_all().await {
        Ok(heads) => Ok(heads),
        Err(error) => Err(chain::unreadable(&*sources.store, error).await),
    }
}

/// The object as it lies in the store, not as the journal remembers it.
async fn check_genesis(sources: &Sources) -> Result<Genesis, SettlementError> {
    let path = tributary_journal::store::genesis_path();
    let read = async { sources.store.get(&path).await?.bytes().await };
    let bytes = read.await.map_err(|error| match error {
        object_store::Error::NotFound { .. } => SettlementError::difference(path.to_string(), "the record is missing"),
        error => SettlementError::retry(format!("reading {path}"), error),
    })?;
    let genesis = Genesis::decode(&bytes).map_err(|e| SettlementError::difference(path.to_string(), e.to_string()))?;
    if genesis != *sources.journal.genesis() {
        return Err(SettlementError::difference(path.to_string(), "it changed while the journal was open"));
    }
    Ok(genesis)
}

fn up_to(mut records: Vec<EpochRecord>, epoch: Option<Epoch>) -> Result<Vec<EpochRecord>, SettlementError> {
    let latest = records.last().map(|record| record.number);
    if let Some(asked) = epoch {
        if latest < Some(asked) {
            return Err(SettlementError::NoSuchEpoch { asked, latest });
        }
        records.retain(|record| record.number <= asked);
    }
    Ok(records)
}

fn check_partitions(genesis: &Genesis, records: &[EpochRecord]) -> Result<(), SettlementError> {
    let count = genesis.partitions.get();
    let beyond = |cut: &Cut| cut.iter().any(|(partition, _)| partition.get() >= count);
    match records.iter().find(|record| beyond(&record.cut)) {
        Some(record) => {
            let what = format!("its cut names a partition that the deployment does not have; it has {count}");
            Err(Invariant::S3.broken(crate::records::path(record.number).to_string(), what))
        }
        None => Ok(()),
    }
}

/// D1 and, as deep as is asked, D2, and that the cut of every record is certified.
async fn check_availability(
    sources: &Sources,
    records: &[EpochRecord],
    depth: Depth,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    let blobs = sources.certificates.blobs().await?;
    progress.stage("data availability", Some(blobs.len() as u64));
    let Sources { store, journal, client, committer, .. } = sources.clone();
    let client: Arc<dyn DaClient> = client;
    let checked = Checked { store, journal, client, committer };
    let mut steps = tributary_da::check::check(checked, manifests::outstanding(sources), depth);
    while let Some(step) = steps.try_next().await? {
        match step {
            Step::Found(finding) => return Err(of_finding(&finding.object).broken(finding.object, finding.what)),
            Step::Right { compared } => {
                report.blobs += u64::from(compared);
                progress.advance(1);
            }
        }
    }
    let certified = sources.certificates.certified().await?;
    if let Some((record, (partition, seq))) = first_beyond(records, &certified) {
        let path = crate::records::path(record.number);
        let what = format!("no certificate is recorded here: {path} covers {}, but certified is {certified}", record.cut);
        return Err(Invariant::S3.broken(tributary_da::names::certificate(partition, seq).to_string(), what));
    }
    Ok(())
}

/// Plans and certificates say which batches a blob holds, records of manifests which blobs an epoch has; anything else under `da/` is
/// what was fetched.
fn of_finding(object: &str) -> Invariant {
    use tributary_da::names;
    let is_under = |folder: &str| object.starts_with(folder);
    match (is_under(names::PLANS) || is_under(names::CERTIFICATES), is_under(names::MANIFESTS)) {
        (true, _) => Invariant::D1,
        (_, true) => Invariant::D3,
        _ => Invariant::D2,
    }
}

/// What a damaged object of a table breaks.
fn of_file(table: Table) -> Invariant {
    if table.is_event_table() { Invariant::T1 } else { Invariant::S3 }
}

/// T1, and the bytes of every file, those of settlement's tables too.
async fn check_lake(
    sources: &Sources,
    records: &[EpochRecord],
    whole: &Cut,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("files of the lake", Some(Table::ALL.len() as u64));
    for table in Table::ALL {
        if let Some(difference) = sources.lake.check_digests(*table).await?.into_iter().next() {
            return Err(of_file(*table).broken(difference.object.to_string(), difference.problem));
        }
        report.tables += 1;
        progress.advance(1);
    }
    progress.stage("tables of events", None);
    let indexed = sources.engine.indexed().await?;
    check_not_ahead(sources, &indexed).await?;
    check_last_commits(sources, records, &indexed).await?;
    let compared = tributary_indexer::check::compare(&sources.journal, &sources.lake, &indexed.meet(whole)).await;
    report.rows = compared.map_err(lake_failure)?.rows;
    Ok(())
}

/// T1: a commit that is lost from the end of a log leaves no gap in it. But every table of events exists before anything is
/// indexed, and an epoch is in the tables only after `events`, which is committed last, held all that it covers.
async fn check_last_commits(sources: &Sources, records: &[EpochRecord], indexed: &Cut) -> Result<(), SettlementError> {
    let name = |table: Table, version: i64| format!("lake/{}/_delta_log/{version:020}.json", table.name());
    for table in Table::EVENT_TABLES {
        if sources.lake.snapshot(*table).await?.version < 0 && !indexed.is_empty() {
            return Err(Invariant::T1.broken(name(*table, 0), "the commit is missing, though events are indexed"));
        }
    }
    let written = sources.lake.snapshot(Table::Epochs).await?.txns.get(APPLICATION).copied().unwrap_or_default();
    let settled = records.partition_point(|record| record.number.as_i64() <= written);
    if let Some((record, _)) = first_beyond(&records[..settled], indexed) {
        let next = sources.lake.snapshot(Table::Events).await?.version + 1;
        let (epoch, cut) = (record.number, &record.cut);
        let what = format!("the commit is missing: the tables have epoch {epoch}, which covers {cut}, but indexed is {indexed}");
        return Err(Invariant::T1.broken(name(Table::Events, next), what));
    }
    match records.get(settled) {
        Some(record) => {
            let what = "the epoch is closed, but its row is missing; `settle` completes it";
            Err(Invariant::S3.broken(format!("table epochs, epoch {}", record.number), what))
        }
        None => Ok(()),
    }
}

/// J1: whatever is indexed was sealed before, so a journal that is read after the tables holds it, however many sealers and
/// indexers run meanwhile. If it does not, its newest batches were taken away.
async fn check_not_ahead(sources: &Sources, indexed: &Cut) -> Result<(), SettlementError> {
    let sealed = heads(sources).await?;
    match indexed.iter().find(|(partition, last)| !sealed.covers(*partition, *last)) {
        Some((partition, last)) => {
            let missing = sealed.get(partition).map_or(Seq::FIRST, Seq::next);
            let what =
                format!("the batch is missing, but the tables hold the events of partition {partition} up to batch {last}");
            Err(Invariant::J1.broken(chain::name(partition, missing), what))
        }
        None => Ok(()),
    }
}

fn lake_failure(failure: tributary_indexer::check::Failure) -> SettlementError {
    use tributary_indexer::check::Failure;
    match failure {
        Failure::Differs(rows) => Invariant::T1.broken(format!("table {}", rows.table.name()), rows.to_string()),
        Failure::Failed(error) => error.into(),
    }
}
