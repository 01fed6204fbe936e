//! A gap of the log, and an operator's decision to go on behind it.
//!
//! The decision is a batch of the chain like any other: it holds no events, says where the log goes on, and has the reason as its
//! body. So it is fenced, published, rebuilt and proved like everything else.

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tributary_eventlog::{Bounds, EventLog, LogError};
use tributary_schemas::ids::{Clock, Offset, Partition, Seq, Timestamp};
use tributary_schemas::units::Hash;

use crate::batch::{Contents, SealedBatch};
use crate::error::{Damage, JournalError};
use crate::header::Header;
use crate::sealer::{candidate::examine, gaps};
use crate::store::Journal;

/// The longest reason.
pub const REASON_BYTES_MAX: usize = 4096;

/// Headers that are read at once.
const HEADERS_AHEAD: usize = 64;

/// The body of a batch that records a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Why the operator went on, in the operator's words.
    pub reason: String,
    /// What did not fit, as the sealer said it.
    pub found: String,
    /// The first offset that the log held.
    pub log_earliest: u64,
    /// The next offset of the log.
    pub log_next: u64,
}

/// A decision that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The partition.
    pub partition: u32,
    /// The batch that records it.
    pub seq: u64,
    /// Where the journal ended.
    pub journal_offset: u64,
    /// Where the log goes on.
    pub next_offset: u64,
    /// What was decided.
    #[serde(flatten)]
    pub decision: Decision,
}

impl SealedBatch {
    /// The decision that this batch records; `None` for a batch of events.
    ///
    /// # Errors
    /// [`Damage`] if the body is not what the header says.
    pub fn decision(&self) -> Result<Option<Decision>, Damage> {
        if !self.header.gap {
            return Ok(None);
        }
        serde_json::from_slice(&self.raw()?).map(Some).map_err(|_| Damage::Decision)
    }
}

/// Records that the operator knows of the gap between journal and log, and that sealing goes on behind it: at `from` if that is
/// named, else where no record that the log holds can be left out. Without a gap, one record that cannot be sealed is gone over, if
/// `from` is the offset after it. Sealers that stand still on this partition go on by themselves.
///
/// # Errors
/// `Refused` if there is nothing to go over, if `from` lies outside the log, or for a reason that is empty or too long; `Fenced`
/// if another process wrote the next batch meanwhile; `Retry` if log or store do not answer.
pub async fn accept(
    journal: &Journal,
    log: &dyn EventLog,
    clock: &dyn Clock,
    (partition, from): (Partition, Option<Offset>),
    reason: &str,
) -> Result<Accepted, JournalError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
        return Err(JournalError::Refused(format!("a reason of 1 to {REASON_BYTES_MAX} bytes is needed")));
    }
    let head = journal.refresh(partition).await?;
    let ends = head.as_ref().map_or(Offset::FIRST, |header| header.next_offset);
    let found = match (gaps::check(log, partition, head.as_ref()).await, from) {
        (Err(JournalError::Corrupt { reason, .. }), _) => reason,
        (Err(error), _) => return Err(error),
        (Ok(()), Some(from)) if from > ends => {
            let (reason, next) = unsealable(log, partition, ends).await?;
            if from != next {
                return Err(JournalError::Refused(format!("{reason}; it is gone over by naming offset {next}, and no other")));
            }
            reason
        }
        (Ok(()), _) => {
            let hint = format!("a record at offset {ends} that cannot be sealed is gone over by naming the offset behind it");
            return Err(JournalError::Refused(format!("log and journal of partition {partition} fit together: no gap; {hint}")));
        }
    };
    let bounds = log.bounds(partition).await.map_err(|error| JournalError::log(partition, error))?;
    let (next, last_record_hash) = match from {
        Some(from) if from < bounds.earliest || from > bounds.next => {
            let (earliest, next) = (bounds.earliest, bounds.next);
            return Err(JournalError::Refused(format!("offset {from} is not in the log: it holds {earliest} up to {next}")));
        }
        Some(from) => (from, hash_before(log, partition, from, bounds).await?),
        None => safe_start(journal, log, head.clone(), partition, bounds).await?,
    };
    let decision =
        Decision { reason: reason.to_owned(), found, log_earliest: bounds.earliest.get(), log_next: bounds.next.get() };
    let batch = seal(journal, clock, head, (partition, next, last_record_hash), &decision)?;
    journal.append(&batch).await?;
    let seq = batch.header.seq.get();
    Ok(Accepted { partition: partition.get(), seq, journal_offset: ends.get(), next_offset: next.get(), decision })
}

/// What an operator does about a partition that stands still because of this error.
pub(crate) fn cure(partition: Partition, error: &JournalError) -> String {
    const WHERE: &str = "docs/kafka.md, \"When a partition stands still\"";
    let of_log = format!("partition {partition} of the log, offset");
    match error {
        JournalError::Corrupt { object, .. } if *object == format!("partition {partition}") => format!(
            "look for what is missing first ({WHERE}); to go on without it: `tributary journal accept-gap --partition \
             {partition} --reason \"…\"`, with the --config or --data-dir of this process"
        ),
        JournalError::Corrupt { object, .. } if object.starts_with(&of_log) => {
            let last = object.rsplit(' ').next().and_then(|last| last.parse::<u64>().ok());
            let next = last.map_or_else(|| "…".to_owned(), |last| (last + 1).to_string());
            format!(
                "keep others from writing into the log ({WHERE}); to go over what cannot be sealed: `tributary journal accept-gap \
                 --partition {partition} --from {next} --reason \"…\"`, with the --config or --data-dir of this process"
            )
        }
        JournalError::Corrupt { .. } => {
            format!("`tributary verify` names all that is damaged; put it back from a copy ({WHERE})")
        }
        _ => "mend what it names, then start this process again".to_owned(),
    }
}

fn seal(
    journal: &Journal,
    clock: &dyn Clock,
    previous: Option<Header>,
    (partition, next_offset, last_record_hash): (Partition, Offset, Hash),
    decision: &Decision,
) -> Result<SealedBatch, JournalError> {
    let text = serde_json::to_string(decision).expect("a struct of texts and numbers is always JSON");
    let now: Timestamp = clock.now();
    let contents = Contents {
        deployment: journal.genesis().deployment,
        partition,
        previous,
        next_offset,
        last_record_hash,
        times: (now, now),
        sealed_at: now,
        events: Vec::new(),
    };
    SealedBatch::seal_gap(contents, &text)
        .map_err(|damage| JournalError::Refused(format!("the gap cannot be recorded: {damage}")))
}

/// Where nothing is left out, with the hash of the record before: behind the newest batch whose last record the log still holds, for
/// then it is the same log, cut off; else at the first record, and what is sealed already is dropped as a duplicate.
async fn safe_start(
    journal: &Journal,
    log: &dyn EventLog,
    head: Option<Header>,
    partition: Partition,
    bounds: Bounds,
) -> Result<(Offset, Hash), JournalError> {
    let mut header = head;
    // Ends at the first batch at the latest.
    while let Some(known) = header {
        let last = known.next_offset.previous();
        if known.gap || last.is_none_or(|last| last < bounds.earliest) {
            break;
        }
        if known.next_offset <= bounds.next {
            let found = hash_before(log, partition, known.next_offset, bounds).await?;
            if found == known.last_record_hash {
                return Ok((known.next_offset, found));
            }
            break;
        }
        header = match known.seq.previous() {
            Some(before) => Some(journal.header(partition, before).await?),
            None => None,
        };
    }
    Ok((bounds.earliest, Hash::ZERO))
}

/// The hash of the record before the offset; zero if the log does not hold it.
async fn hash_before(log: &dyn EventLog, partition: Partition, offset: Offset, bounds: Bounds) -> Result<Hash, JournalError> {
    let Some(last) = offset.previous().filter(|last| *last >= bounds.earliest && *last < bounds.next) else {
        return Ok(Hash::ZERO);
    };
    Ok(gaps::record_at(log, partition, last).await?.map_or(Hash::ZERO, |record| record.hash()))
}

/// Why the record at the offset cannot be sealed, and what comes behind it.
///
/// # Errors
/// `Refused` if it can.
async fn unsealable(log: &dyn EventLog, partition: Partition, offset: Offset) -> Result<(String, Offset), JournalError> {
    let (examined, next) = match log.read(partition, offset, 1).await {
        Err(LogError::Missing { next, .. }) => {
            (Err(JournalError::log(partition, LogError::Missing { partition, offset, next })), next)
        }
        Err(error) => return Err(JournalError::log(partition, error)),
        Ok(records) => (examine(partition, offset, records), offset.next()),
    };
    match examined {
        Err(JournalError::Corrupt { object, reason }) => Ok((format!("{object}: {reason}"), next)),
        Err(error) => Err(error),
        Ok(_) => {
            let reason = format!("the record at offset {offset} of partition {partition} can be sealed: no gap");
            Err(JournalError::Refused(reason))
        }
    }
}

/// Every gap that was accepted, in the order of partitions and batches.
///
/// # Errors
/// `Corrupt` if a batch is damaged, `Retry` if the store does not answer.
pub async fn list(journal: &Journal) -> Result<Vec<Accepted>, JournalError> {
    let mut all = Vec::new();
    for partition in journal.partitions() {
        let Some(head) = journal.refresh(partition).await? else { continue };
        let numbers = Seq::FIRST.get()..=head.seq.get();
        let headers =
            futures::stream::iter(numbers.filter_map(Seq::new)).map(|seq| journal.header(partition, seq)).buffered(HEADERS_AHEAD);
        let mut headers = std::pin::pin!(headers);
        while let Some(header) = headers.try_next().await? {
            if header.gap {
                all.extend(read_one(journal, &header).await?);
            }
        }
    }
    Ok(all)
}

async fn read_one(journal: &Journal, header: &Header) -> Result<Option<Accepted>, JournalError> {
    let batch = journal.read(header.partition, header.seq).await?;
    let object = crate::store::batch_path(header.partition, header.seq).to_string();
    let decision = batch.decision().map_err(|damage| JournalError::corrupt(object, damage))?;
    Ok(decision.map(|decision| Accepted {
        partition: header.partition.get(),
        seq: header.seq.get(),
        journal_offset: header.first_offset.get(),
        next_offset: header.next_offset.get(),
        decision,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_cure_of_a_partition_that_stands_still_is_the_command_that_helps() {
        let partition = Partition::new(3).unwrap();
        let corrupt = |object: &str| cure(partition, &JournalError::corrupt(object, "why"));
        let gap = corrupt("partition 3");
        assert!(gap.contains("accept-gap --partition 3 --reason") && gap.contains("docs/kafka.md"), "{gap}");
        let record = corrupt("partition 3 of the log, offset 41");
        assert!(record.contains("accept-gap --partition 3 --from 42 --reason") && record.contains("docs/kafka.md"), "{record}");
        let hole = corrupt("partition 3 of the log, offsets 41 to 43");
        assert!(hole.contains("accept-gap --partition 3 --from 44 --reason"), "{hole}");
        // A decision does not mend an object.
        let object = corrupt("journal/p-00003/00000000000000000007.batch");
        assert!(object.contains("tributary verify") && !object.contains("accept-gap"), "{object}");
        let refused = cure(partition, &JournalError::Refused("no".to_owned()));
        assert!(!refused.contains("accept-gap"), "{refused}");
    }
}
