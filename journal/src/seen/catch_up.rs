//! Brings the seen-index up to the journal's head.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tributary_schemas::ids::{Partition, Seq};

use super::{SeenIndex, SeenWriter, horizon};
use crate::background::blocking;
use crate::error::JournalError;
use crate::header::Header;
use crate::idlist::{self, Entries};
use crate::metrics::PartitionLabel;
use crate::store::Journal;

/// Lists that are read ahead of the one that is taken in.
const LISTS_AHEAD: usize = 16;

/// Takes in every batch of the window that the index does not know yet. An index whose head is not in this journal is
/// built anew. Gives the right to write what comes next.
///
/// # Errors
/// `Corrupt` if a batch is damaged; `Retry` if store or disk do not answer; what was taken in by then stays.
pub(crate) async fn catch_up(
    seen: &SeenIndex,
    journal: &Journal,
    partition: Partition,
    window: Duration,
) -> Result<SeenWriter, JournalError> {
    let turn = seen.turn(partition);
    let _one_at_a_time = turn.catching_up.lock().await;
    let writer = seen.writer(partition);
    let known = seen.head(partition)?;
    let Some(head) = journal.head(partition) else {
        if known.is_some() {
            writer.clear()?;
        }
        return Ok(writer);
    };
    let mut from = None;
    if let Some(known) = known {
        if known.seq == head.seq && known.hash == head.hash() {
            return Ok(writer);
        }
        if known.seq < head.seq && journal.header(partition, known.seq).await?.hash() == known.hash {
            from = Some(known.seq.next());
        }
    }
    let began = Instant::now();
    if from.is_none() {
        writer.clear()?;
    }
    let first = first_in_window(journal, &head, window).await?;
    let first = from.map_or(first, |from| from.max(first));
    let identities = match take_in(&writer, journal, &head, (first, Source::Lists), window).await {
        Err(error) if error.is_corrupt() => {
            tracing::warn!(%partition, %error, "the batches are read instead of their lists of identities");
            writer.clear()?;
            let first = first_in_window(journal, &head, window).await?;
            take_in(&writer, journal, &head, (first, Source::Batches), window).await?
        }
        identities => identities?,
    };
    let (batches, seconds) = (head.seq.get() + 1 - first.get(), began.elapsed().as_secs_f64());
    journal.metrics().catch_up_seconds.get_or_create(&PartitionLabel(partition)).observe(seconds);
    tracing::info!(%partition, anew = from.is_none(), batches, identities, seconds, "the seen-index is up to date");
    Ok(writer)
}

/// Where the identities of a batch are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Its list, or its events if it has none.
    Lists,
    /// Its events.
    Batches,
}

/// Takes in the batches from `first` to the head, and says how many identities they have.
async fn take_in(
    writer: &SeenWriter,
    journal: &Journal,
    head: &Header,
    (first, source): (Seq, Source),
    window: Duration,
) -> Result<u64, JournalError> {
    let numbers = first.get()..=head.seq.get();
    let lists = futures::stream::iter(numbers.filter_map(Seq::new))
        .map(|seq| entries_of(journal, head.partition, seq, source))
        .buffered(LISTS_AHEAD);
    let mut lists = std::pin::pin!(lists);
    let (mut before, mut identities): (Option<Header>, u64) = (None, 0);
    while let Some((header, entries)) = lists.try_next().await? {
        // Each header names the one before, and the last is the head: so all are those of the chain.
        let follows = before.as_ref().is_none_or(|before| before.hash() == header.previous_hash);
        let ends = header.seq < head.seq || header.hash() == head.hash();
        if !follows || !ends {
            let object = idlist::path(head.partition, header.seq).to_string();
            return Err(JournalError::corrupt(object, "its header is not that of the batch in the chain"));
        }
        identities += entries.len() as u64;
        let (writer, recorded) = (writer.clone(), header.clone());
        blocking(move || writer.record(&recorded, &entries, horizon(recorded.sealed_at, window))).await?;
        before = Some(header);
    }
    Ok(identities)
}

/// The identities of a batch. One that has no list gets it, for the next who asks.
async fn entries_of(
    journal: &Journal,
    partition: Partition,
    seq: Seq,
    source: Source,
) -> Result<(Header, Entries), JournalError> {
    if source == Source::Lists
        && let Some(listed) = journal.ids(partition, seq).await?
    {
        return Ok(listed);
    }
    let batch = journal.read(partition, seq).await?;
    let header = batch.header.clone();
    let entries = blocking(move || idlist::of_batch(&batch)).await?;
    if source == Source::Lists
        && let Err(error) = journal.put_ids(&header, &entries).await
    {
        tracing::debug!(%partition, %seq, %error, "the list of identities is not written");
    }
    Ok((header, entries))
}

/// The first batch that was sealed within the window before the head; `sealed_at` never goes back.
async fn first_in_window(journal: &Journal, head: &Header, window: Duration) -> Result<Seq, JournalError> {
    let horizon = horizon(head.sealed_at, window);
    let (mut least, mut most) = (Seq::FIRST, head.seq);
    while least < most {
        let middle = Seq::new(least.get() + (most.get() - least.get()) / 2).expect("lies between two sequence numbers");
        if journal.header(head.partition, middle).await?.sealed_at < horizon {
            least = middle.next();
        } else {
            most = middle;
        }
    }
    Ok(least)
}
