//! The chain of every partition: each batch's own hashes, its link to the one before, its root over its events, and that no
//! event repeats another within the window.

use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tributary_journal::idlist::{self, Entries};
use tributary_journal::{Header, JournalError, SealedBatch};
use tributary_schemas::cut::Cut;
use tributary_schemas::identity::{ContentDigest, Identities, Identity};
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;

use super::window::{IDENTITIES_MAX, Repeated, Window};
use super::{Report, Sources};
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::progress::Progress;

/// The invariant that is broken, and by what.
type Broken = (Invariant, String);

/// Checks every batch that the cut covers: J1, J3, J4 and J5.
pub(super) async fn check(
    sources: &Sources,
    cut: &Cut,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("batches", Some(cut.iter().map(|(_, last)| last.get() + 1).sum()));
    let length = sources.journal.settings().seen_window;
    for (partition, last) in cut.iter() {
        let mut previous: Option<Header> = None;
        let mut window = Window::new(length, IDENTITIES_MAX);
        for seq in (0..=last.get()).filter_map(Seq::new) {
            let batch = match sources.journal.read(partition, seq).await {
                Ok(batch) => batch,
                Err(error) => return Err(unreadable(&*sources.store, error).await),
            };
            let entries = check_batch(sources, batch.clone(), previous.as_ref(), (partition, seq))
                .await
                .map_err(|(invariant, what)| invariant.broken(name(partition, seq), what))?;
            let identities: Vec<Identity> = entries.iter().map(|(identity, _)| *identity).collect();
            if let Some(repeated) = window.take(&batch.header, &identities) {
                return Err(repetition(&batch, repeated, length));
            }
            report.identity_lists += u64::from(check_list(sources, &batch.header, &entries).await?);
            report.gaps += u64::from(batch.header.gap);
            report.batches += 1;
            report.events += u64::from(batch.header.events);
            previous = Some(batch.header);
            progress.advance(1);
        }
        report.identities_forgotten += window.forgotten();
    }
    Ok(())
}

pub(super) fn name(partition: Partition, seq: Seq) -> String {
    tributary_journal::store::batch_path(partition, seq).to_string()
}

/// What the journal says of an object, with the invariant that it breaks: J3 if its own bytes are damaged, J1 if they are
/// whole but have no place in the chain, or are missing from it.
pub(super) async fn unreadable(store: &dyn ObjectStore, error: JournalError) -> SettlementError {
    let JournalError::Corrupt { object, .. } = &error else { return error.into() };
    let path = Path::from(object.as_str());
    let read = async { store.get(&path).await?.bytes().await };
    let damaged = read.await.is_ok_and(|bytes| SealedBatch::decode(bytes).is_err());
    let invariant = if damaged { Invariant::J3 } else { Invariant::J1 };
    invariant.name_in(error.into())
}

/// J4, in words.
fn repetition(batch: &SealedBatch, repeated: Repeated, window: Duration) -> SettlementError {
    let (partition, seq) = (batch.header.partition, batch.header.seq);
    let bytes = batch.events().ok().and_then(|events| events.get(repeated.ordinal).cloned());
    let event = match bytes.and_then(|bytes| protobuf::decode(&bytes).ok()) {
        Some(event) => format!("(id {:?}, source {:?}) ", event.draft.id, event.draft.source),
        None => String::new(),
    };
    let Repeated { ordinal, first_in } = repeated;
    let what = format!(
        "event {ordinal} {event}has the identity of an event of {}, sealed within the window of {} seconds",
        name(partition, first_in),
        window.as_secs()
    );
    Invariant::J4.broken(name(partition, seq), what)
}

/// J5. Whether the batch has a list of identities; it can be made again, so that one is missing is no difference.
async fn check_list(sources: &Sources, header: &Header, entries: &Entries) -> Result<bool, SettlementError> {
    let listed = match sources.journal.ids(header.partition, header.seq).await {
        Ok(None) => return Ok(false),
        Ok(Some(listed)) => listed,
        Err(error) => return Err(Invariant::J5.name_in(error.into())),
    };
    if (&listed.0, &listed.1) == (header, entries) {
        return Ok(true);
    }
    let object = idlist::path(header.partition, header.seq).to_string();
    Err(Invariant::J5.broken(object, "it is not the list of the identities in its batch"))
}

/// Checks one batch; gives the identities of its events in their order.
async fn check_batch(
    sources: &Sources,
    batch: SealedBatch,
    previous: Option<&Header>,
    (partition, seq): (Partition, Seq),
) -> Result<Entries, Broken> {
    let genesis = sources.journal.genesis().clone();
    check_link(&batch.header, previous, (partition, seq)).map_err(|what| (Invariant::J1, what))?;
    if batch.header.deployment != genesis.deployment {
        return Err((Invariant::J1, "it belongs to another deployment".to_owned()));
    }
    let checked = tokio::task::spawn_blocking(move || -> Result<Entries, Broken> {
        // J3.
        batch.verify_root().map_err(|damage| (Invariant::J3, damage.to_string()))?;
        batch.decision().map_err(|damage| (Invariant::J3, damage.to_string()))?;
        let events = batch.events().map_err(|damage| (Invariant::J3, damage.to_string()))?;
        let (mut identities, mut digests) = (Identities::default(), Vec::with_capacity(events.len()));
        for (ordinal, bytes) in events.iter().enumerate() {
            let event = protobuf::decode(bytes).map_err(|error| (Invariant::J3, format!("event {ordinal}: {error}")))?;
            // J4: identities are compared within a partition, which a key never leaves.
            if genesis.partitions.partition_of(event.draft.key().as_bytes()) != batch.header.partition {
                return Err((Invariant::J4, format!("event {ordinal} has a key of another partition")));
            }
            identities.push(&event.draft);
            digests.push(ContentDigest::of(&event.draft));
        }
        Ok(identities.hash().into_iter().zip(digests).collect())
    });
    checked.await.map_err(|_| (Invariant::J3, "checking it was interrupted".to_owned()))?
}

/// J1: whether a header continues the one before it.
pub(super) fn check_link(header: &Header, previous: Option<&Header>, at: (Partition, Seq)) -> Result<(), String> {
    let hash = previous.map(Header::hash).unwrap_or_default();
    let offset = previous.map_or(0, |previous| previous.next_offset.get());
    let rules = [
        ((header.partition, header.seq) == at, "it is the batch of another place"),
        (header.previous_hash == hash, "previous_hash is not the hash of the batch before"),
        (header.first_offset.get() == offset, "its first offset is not where the batch before ends"),
        (previous.is_none_or(|previous| previous.sealed_at <= header.sealed_at), "it was sealed before the batch before"),
    ];
    rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, broken)| Err((*broken).to_owned()))
}
