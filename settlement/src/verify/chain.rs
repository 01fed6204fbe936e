//! The chain of every partition: each batch's own hashes, its link to the one before, its root over its events, and that no
//! event repeats another within the window.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tributary_journal::idlist::{self, Entries};
use tributary_journal::{Genesis, Header, JournalError, SealedBatch};
use tributary_schemas::cut::Cut;
use tributary_schemas::identity::{ContentDigest, Identities, Identity};
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;

use super::window::{IDENTITIES_MAX, Repeated, Window};
use super::{Report, Sources};
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::progress::Progress;

/// How many batches are read and hashed at the same time; headers alone are 248 bytes.
const BATCHES_AT_ONCE: usize = 4;
const HEADERS_AT_ONCE: usize = 32;

/// The invariant that is broken, and by what.
type Broken = (Invariant, String);

/// Where a batch lies.
type Place = (Partition, Seq);

/// Checks every batch that the cut covers: J1, J3, J4 and J5.
pub(super) async fn check(
    sources: &Sources,
    cut: &Cut,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("batches", Some(batches_of(cut)));
    for (partition, last) in cut.iter() {
        let mut previous: Option<Header> = None;
        let mut window = Window::new(sources.journal.settings().seen_window, IDENTITIES_MAX);
        let mut batches = stream::iter(places(partition, last).map(|place| Opened::of(sources, place))).buffered(BATCHES_AT_ONCE);
        while let Some(read) = batches.next().await {
            previous = Some(read?.check(sources, previous.as_ref(), &mut window, report)?);
            progress.advance(1);
        }
        report.identities_forgotten += window.forgotten();
    }
    Ok(())
}

/// Checks of every batch that the cut covers its header alone, and that it continues the one before: J1.
pub(super) async fn check_headers(
    sources: &Sources,
    cut: &Cut,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("headers", Some(batches_of(cut)));
    for (partition, last) in cut.iter() {
        let mut previous: Option<Header> = None;
        let headers = places(partition, last).map(|(partition, seq)| sources.journal.header(partition, seq));
        let mut headers = stream::iter(headers).buffered(HEADERS_AT_ONCE).zip(stream::iter(places(partition, last)));
        while let Some((header, place)) = headers.next().await {
            let header = match header {
                Ok(header) => header,
                Err(error) => return Err(unreadable(&*sources.store, error).await),
            };
            let linked = check_link(&header, previous.as_ref(), place);
            linked.map_err(|what| Invariant::J1.broken(name(place.0, place.1), what))?;
            report.gaps += u64::from(header.gap);
            previous = Some(header);
            progress.advance(1);
        }
    }
    Ok(())
}

/// Checks some batches, each by itself: J1 to the batch before, J3, J5, and of J4 that no event repeats another of its batch.
pub(super) async fn check_some(
    sources: &Sources,
    some: &BTreeSet<Place>,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("batches", Some(some.len() as u64));
    let gaps = report.gaps;
    let with_header_before = some.iter().map(|(partition, seq)| async move {
        let before = match seq.previous() {
            Some(before) => Some(sources.journal.header(*partition, before).await?),
            None => None,
        };
        Ok::<_, SettlementError>((before, Opened::of(sources, (*partition, *seq)).await?))
    });
    let mut batches = stream::iter(with_header_before).buffered(BATCHES_AT_ONCE);
    while let Some(read) = batches.next().await {
        let (before, read) = read?;
        let mut alone = Window::new(sources.journal.settings().seen_window, IDENTITIES_MAX);
        read.check(sources, before.as_ref(), &mut alone, report)?;
        progress.advance(1);
    }
    // They were counted with the headers.
    report.gaps = gaps;
    Ok(())
}

/// How many batches a cut covers.
pub(super) fn batches_of(cut: &Cut) -> u64 {
    cut.iter().map(|(_, last)| last.get() + 1).sum()
}

/// The batches of a partition up to the last.
pub(crate) fn places(partition: Partition, last: Seq) -> impl Iterator<Item = Place> {
    (0..=last.get()).filter_map(Seq::new).map(move |seq| (partition, seq))
}

/// A batch, and what was computed and read for it; still to be compared.
struct Opened {
    batch: SealedBatch,
    place: Place,
    entries: Result<Entries, Broken>,
    listed: Result<Option<(Header, Entries)>, JournalError>,
}

impl Opened {
    async fn of(sources: &Sources, place: Place) -> Result<Self, SettlementError> {
        let (partition, seq) = place;
        let batch = match sources.journal.read(partition, seq).await {
            Ok(batch) => batch,
            Err(error) => return Err(unreadable(&*sources.store, error).await),
        };
        let entries = entries_of(sources.journal.genesis().clone(), batch.clone()).await;
        Ok(Self { batch, place, entries, listed: sources.journal.ids(partition, seq).await })
    }

    /// Compares it with the header before and the events in the window, in the order in which a difference is nearest to its
    /// cause. Gives its header.
    fn check(
        self,
        sources: &Sources,
        previous: Option<&Header>,
        window: &mut Window,
        report: &mut Report,
    ) -> Result<Header, SettlementError> {
        let Self { batch, place: (partition, seq), entries, listed } = self;
        let broken = |(invariant, what): Broken| invariant.broken(name(partition, seq), what);
        check_link(&batch.header, previous, (partition, seq)).map_err(|what| broken((Invariant::J1, what)))?;
        if batch.header.deployment != sources.journal.genesis().deployment {
            return Err(broken((Invariant::J1, "it belongs to another deployment".to_owned())));
        }
        let entries = entries.map_err(broken)?;
        let identities: Vec<Identity> = entries.iter().map(|(identity, _)| *identity).collect();
        if let Some(repeated) = window.take(&batch.header, &identities) {
            return Err(repetition(&batch, repeated, sources.journal.settings().seen_window));
        }
        report.identity_lists += u64::from(is_listed(listed, &batch.header, &entries)?);
        report.gaps += u64::from(batch.header.gap);
        report.batches += 1;
        report.events += u64::from(batch.header.events);
        Ok(batch.header)
    }
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
fn is_listed(
    listed: Result<Option<(Header, Entries)>, JournalError>,
    header: &Header,
    entries: &Entries,
) -> Result<bool, SettlementError> {
    match listed.map_err(|error| Invariant::J5.name_in(error.into()))? {
        None => Ok(false),
        Some(listed) if (&listed.0, &listed.1) == (header, entries) => Ok(true),
        Some(_) => {
            let object = idlist::path(header.partition, header.seq).to_string();
            Err(Invariant::J5.broken(object, "it is not the list of the identities in its batch"))
        }
    }
}

/// J3: recomputes the root, and decodes every event. Gives the identities of the events in their order.
async fn entries_of(genesis: Genesis, batch: SealedBatch) -> Result<Entries, Broken> {
    let checked = tokio::task::spawn_blocking(move || -> Result<Entries, Broken> {
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
