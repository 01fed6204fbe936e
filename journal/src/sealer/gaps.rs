//! A gap is never silent: the log must go on exactly where the journal ends.

use tributary_eventlog::{EventLog, LogError, LoggedRecord};
use tributary_schemas::ids::{Offset, Partition};

use crate::error::JournalError;
use crate::header::Header;

/// Compares the log with the journal's head.
///
/// # Errors
/// `Corrupt`, naming partition and offsets, if the log starts after the journal's next offset, ends before it, or holds
/// another last record than the header remembers.
pub(crate) async fn check(log: &dyn EventLog, partition: Partition, head: Option<&Header>) -> Result<(), JournalError> {
    let failed = |error| JournalError::log(partition, error);
    let next = head.map_or(Offset::FIRST, |header| header.next_offset);
    let bounds = log.bounds(partition).await.map_err(failed)?;
    if bounds.earliest > next {
        let reason = format!(
            "the log starts at offset {}, but the journal ends before offset {next}: records {next} to {} are missing",
            bounds.earliest,
            bounds.earliest.get() - 1
        );
        return Err(JournalError::corrupt(format!("partition {partition}"), reason));
    }
    if bounds.next < next {
        let reason = format!("the log ends before offset {}, but the journal covers offsets up to {next}", bounds.next);
        return Err(JournalError::corrupt(format!("partition {partition}"), reason));
    }
    #[cfg(test)]
    if crate::simulation::planted::is_missing(crate::simulation::planted::Rule::CompareLast) {
        return Ok(());
    }
    let Some((head, last)) = head.zip(next.previous()) else { return Ok(()) };
    if last < bounds.earliest {
        // Forgotten, which is allowed for what is sealed; the next record is there or yet to come.
        return Ok(());
    }
    // A decision to go on where the log did not hold the record before.
    let was_absent = head.gap && head.last_record_hash.is_zero();
    let found = match record_at(log, partition, last).await {
        Err(error) if was_absent && error.is_corrupt() => None,
        found => found?,
    };
    if found.as_ref().map_or(was_absent, |record| record.hash() == head.last_record_hash) {
        return Ok(());
    }
    let reason = format!("the record at offset {last} is not the one that batch {} was sealed with", head.seq);
    Err(JournalError::corrupt(format!("partition {partition}"), reason))
}

/// The record at an offset at which the log said just now that it holds one; `None` if it has a hole there.
///
/// # Errors
/// `Retry` if it has forgotten the record meanwhile, or does not answer.
pub(crate) async fn record_at(
    log: &dyn EventLog,
    partition: Partition,
    offset: Offset,
) -> Result<Option<LoggedRecord>, JournalError> {
    match log.read(partition, offset, 1).await {
        Ok(records) => Ok(records.into_iter().next().filter(|record| record.offset == offset)),
        Err(LogError::Missing { .. }) => Ok(None),
        Err(error @ LogError::OutOfRange { .. }) => {
            Err(JournalError::retry(format!("event log of partition {partition}"), error))
        }
        Err(error) => Err(JournalError::log(partition, error)),
    }
}
