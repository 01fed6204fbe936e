//! Brings the seen-index up to the journal's head.

use std::time::Duration;

use tributary_schemas::identity::{ContentDigest, Identity};
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;

use super::{SeenIndex, SeenWriter, horizon};
use crate::background::blocking;
use crate::batch::SealedBatch;
use crate::error::JournalError;
use crate::header::Header;
use crate::store::{Journal, batch_path};

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
    if from.is_none() {
        writer.clear()?;
    }
    let first = first_in_window(journal, &head, window).await?;
    let mut seq = from.map_or(first, |from| from.max(first));
    while seq <= head.seq {
        let batch = journal.read(partition, seq).await?;
        let writer = writer.clone();
        blocking(move || {
            let entries = identities(&batch)?;
            writer.record(&batch.header, &entries, horizon(batch.header.sealed_at, window))
        })
        .await?;
        seq = seq.next();
    }
    Ok(writer)
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

fn identities(batch: &SealedBatch) -> Result<Vec<(Identity, ContentDigest)>, JournalError> {
    let object = batch_path(batch.header.partition, batch.header.seq);
    let events = batch.events().map_err(|damage| JournalError::corrupt(object.to_string(), damage))?;
    let of_event = |(ordinal, event): (usize, &bytes::Bytes)| {
        let event =
            protobuf::decode(event).map_err(|error| JournalError::corrupt(format!("{object}, event {ordinal}"), error))?;
        Ok((Identity::of(&event.draft), ContentDigest::of(&event.draft)))
    };
    events.iter().enumerate().map(of_event).collect()
}
