//! A gap is never silent: the log must go on exactly where the journal ends.

use tributary_eventlog::EventLog;
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
    let nobody_read_it = head.gap && head.last_record_hash.is_zero();
    if last < bounds.earliest || nobody_read_it {
        // Forgotten, which is allowed for what is sealed; the next record is there or yet to come.
        return Ok(());
    }
    let records = log.read(partition, last, 1).await.map_err(failed)?;
    let found = records.first().filter(|record| record.offset == last);
    if found.is_some_and(|record| record.hash() == head.last_record_hash) {
        return Ok(());
    }
    let reason = format!("the record at offset {last} is not the one that batch {} was sealed with", head.seq);
    Err(JournalError::corrupt(format!("partition {partition}"), reason))
}
