//! One event, from its bytes to the blob.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tributary_da::{BlobRecord, EventProof, blob, committed, proof};
use tributary_journal::{Header, SealedBatch, merkle};
use tributary_schemas::event::EventType;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;
use tributary_schemas::units::Hash;

use super::{EventQuery, Sources, chain};
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::metrics::Metrics;
use crate::records::EpochRecords;
use crate::tables::Columns;

/// An event of which everything was recomputed. Hashes are 0x text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventReport {
    /// Its partition.
    pub partition: u32,
    /// Its batch.
    pub seq: u64,
    /// Its place in the batch.
    pub ordinal: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its key.
    pub key: String,
    /// Its leaf in the batch's tree.
    pub leaf: String,
    /// The siblings from the leaf to the root.
    pub path: Vec<String>,
    /// The root, as the batch's header holds it.
    pub root: String,
    /// The header's hash, which the next header and the blob hold.
    pub header_hash: String,
    /// The blob whose payload was fetched and holds the batch; `None` before it is certified.
    pub blob_id: Option<String>,
    /// All of it, to be checked by anybody who knows the blob's id; `None` before it is certified.
    pub proof: Option<EventProof>,
    /// The first epoch that covers it.
    pub epoch: Option<u64>,
}

struct Place {
    partition: Partition,
    seq: Seq,
    ordinal: u32,
}

/// Finds the event and recomputes its proof.
pub(super) async fn check(sources: &Sources, query: &EventQuery) -> Result<EventReport, SettlementError> {
    let place = find(sources, query).await?;
    let (partition, seq) = (place.partition, place.seq);
    // J3: bytes, leaf, path and root.
    let differs = |what: String| Invariant::J3.broken(chain::name(partition, seq), what);
    let batch = match sources.journal.read(partition, seq).await {
        Ok(batch) => batch,
        Err(error) => return Err(chain::unreadable(&*sources.store, error).await),
    };
    let events = batch.events().map_err(|damage| differs(damage.to_string()))?;
    let bytes = events.get(place.ordinal as usize).ok_or_else(|| differs(format!("it has no event {}", place.ordinal)))?;
    let event = protobuf::decode(bytes).map_err(|error| differs(format!("event {}: {error}", place.ordinal)))?;
    if (event.draft.source.as_str(), event.draft.id.as_str()) != (query.source.as_str(), query.id.as_str()) {
        let object = format!("table events, batch {seq} of partition {partition}, event {}", place.ordinal);
        return Err(Invariant::T1.broken(object, "the batch holds another event there"));
    }
    let leaf = merkle::event_leaf(place.ordinal, bytes);
    let path = batch.proof(place.ordinal).map_err(|damage| differs(damage.to_string()))?;
    if !merkle::verify(batch.header.root, leaf, &path) {
        return Err(differs(format!("the proof of event {} does not lead to its root", place.ordinal)));
    }
    check_links(sources, &batch).await?;
    let published = check_blob(sources, &batch).await?;
    let blob_id = published.as_ref().map(|(blob, _)| format!("{:#x}", blob.blob_id));
    let proof = match published {
        Some(published) => Some(prove(sources, published, &batch.header, ((place.ordinal, bytes.clone()), &path[..])).await?),
        None => None,
    };
    Ok(EventReport {
        partition: partition.get(),
        seq: seq.get(),
        ordinal: place.ordinal,
        event_type: event.draft.event_type().as_str().to_owned(),
        key: event.draft.key().to_owned(),
        leaf: format!("{leaf:#x}"),
        path: path.iter().map(|hash| format!("{hash:#x}")).collect(),
        root: format!("{:#x}", batch.header.root),
        header_hash: format!("{:#x}", batch.header.hash()),
        blob_id,
        proof,
        epoch: covering_epoch(sources, partition, seq).await?,
    })
}

/// Where the event lies. It must be one: source and id alone need not be unique.
async fn find(sources: &Sources, query: &EventQuery) -> Result<Place, SettlementError> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut sql = format!(
        "SELECT type, key, _partition, _seq, _ordinal FROM events WHERE source = {} AND event_id = {}",
        quoted(&query.source),
        quoted(&query.id)
    );
    if let Some(event_type) = query.event_type {
        sql += &format!(" AND type = {}", quoted(event_type.as_str()));
    }
    if let Some(key) = &query.key {
        sql += &format!(" AND key = {}", quoted(key));
    }
    sql += " ORDER BY type, key, _partition, _seq, _ordinal";
    let head = sources.engine.indexed().await?;
    let mut found: Vec<(String, String, Place)> = Vec::new();
    for batch in sources.engine.session_unlimited(&head).await?.collect(&sql).await? {
        found.extend(read_places(Columns(&batch))?);
    }
    // Of a repeated identity the first counts.
    found.dedup_by(|b, a| (&a.0, &a.1) == (&b.0, &b.1));
    let named = format!("source {:?}, id {:?}", query.source, query.id);
    match found.len() {
        0 => Err(SettlementError::Refused(format!("no indexed event has {named}"))),
        1 => Ok(found.remove(0).2),
        n => {
            let some: Vec<String> = found.iter().take(5).map(|(kind, key, _)| format!("{kind} {key:?}")).collect();
            Err(SettlementError::Refused(format!("{n} events have {named}: say which by --type and --key: {}", some.join(", "))))
        }
    }
}

fn read_places(columns: Columns<'_>) -> Result<Vec<(String, String, Place)>, SettlementError> {
    let (types, keys) = (columns.texts("type")?, columns.texts("key")?);
    let (partitions, seqs, ordinals) =
        (columns.integers("_partition")?, columns.integers("_seq")?, columns.integers("_ordinal")?);
    debug_assert!(types.iter().flatten().all(|text| EventType::parse(text).is_some()));
    let place = |i: usize| {
        let partition = u32::try_from(partitions.value(i)).ok().and_then(Partition::new);
        let seq = u64::try_from(seqs.value(i)).ok().and_then(Seq::new);
        let place = Place { partition: partition?, seq: seq?, ordinal: u32::try_from(ordinals.value(i)).ok()? };
        Some((types.value(i).to_owned(), keys.value(i).to_owned(), place))
    };
    let wrong = || Invariant::T1.broken("table events", "a row lies in no batch");
    (0..columns.0.column(0).len()).map(|i| place(i).ok_or_else(wrong)).collect()
}

/// J1: the links to the batches before and after it.
async fn check_links(sources: &Sources, batch: &SealedBatch) -> Result<(), SettlementError> {
    let header = &batch.header;
    let (partition, seq) = (header.partition, header.seq);
    let before = match seq.previous() {
        Some(before) => Some(sources.journal.header(partition, before).await?),
        None => None,
    };
    let linked = |header: &Header, before: Option<&Header>, at| {
        chain::check_link(header, before, at).map_err(|what| Invariant::J1.broken(chain::name(at.0, at.1), what))
    };
    linked(header, before.as_ref(), (partition, seq))?;
    if sources.journal.head(partition).is_some_and(|head| head.seq > seq) {
        let after = sources.journal.header(partition, seq.next()).await?;
        linked(&after, Some(header), (partition, seq.next()))?;
    }
    Ok(())
}

/// D2: fetches the blob and finds the batch in it, byte for byte.
async fn check_blob(sources: &Sources, batch: &SealedBatch) -> Result<Option<(BlobRecord, Vec<SealedBatch>)>, SettlementError> {
    let (partition, seq) = (batch.header.partition, batch.header.seq);
    let Some(listed) = sources.certificates.blob_of(partition, seq).await? else { return Ok(None) };
    let blob = sources.certificates.record(&listed).await.map_err(|error| Invariant::D1.name_in(error.into()))?;
    let batches = tributary_da::fetch(&blob, &*sources.client).await.map_err(|error| Invariant::D2.name_in(error.into()))?;
    if !batches.iter().any(|held| held.encoded == batch.encoded) {
        let what = format!("it does not hold batch {seq} of partition {partition} as the journal has it");
        return Err(Invariant::D2.broken(format!("blob {:#x}", blob.blob_id), what));
    }
    Ok(Some((blob, batches)))
}

/// D2: the proof of an event against the certificate of its blob, checked as anybody would who has only that.
async fn prove(
    sources: &Sources,
    (blob, batches): (BlobRecord, Vec<SealedBatch>),
    header: &Header,
    (event, path): ((u32, Bytes), &[Hash]),
) -> Result<EventProof, SettlementError> {
    let (_, committed) = committed(&blob.certificate.bytes).map_err(|error| Invariant::D2.name_in(error.into()))?;
    let (committer, seq) = (Arc::clone(&sources.committer), header.seq);
    let opened = tokio::task::spawn_blocking(move || proof::open(&blob::encode(&batches), seq, &committed, &committer)).await;
    let opened = opened.map_err(|error| SettlementError::Internal(error.to_string()))?;
    let opening = opened.map_err(|error| Invariant::D2.name_in(error.into()))?;
    let proof = EventProof::new(event, path, header, (blob.certificate.bytes.clone(), opening));
    match proof.verify(&blob.blob_id) {
        Ok(_) => Ok(proof),
        Err(broken) => Err(Invariant::D2.broken(format!("blob {:#x}", blob.blob_id), broken.to_string())),
    }
}

async fn covering_epoch(sources: &Sources, partition: Partition, seq: Seq) -> Result<Option<u64>, SettlementError> {
    let records = EpochRecords::new(Arc::clone(&sources.store), Metrics::default()).load().await;
    let records = records.map_err(|error| Invariant::S3.name_in(error))?;
    Ok(records.iter().find(|record| record.cut.covers(partition, seq)).map(|record| record.number.get()))
}
