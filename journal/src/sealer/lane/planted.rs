//! What a partition's sealer does where one of its rules is missing: bugs that the simulation must find.

use tributary_eventlog::{LogError, LoggedRecord};
use tributary_schemas::ids::Offset;

use super::{Lane, Ready, Sealed};
use crate::error::JournalError;
use crate::seen;
use crate::simulation::planted::{Rule, is_missing};

impl Lane {
    /// Whether a read that was interrupted is just tried again.
    pub(super) fn reads_on(&self) -> bool {
        is_missing(Rule::CompareAgain)
    }

    /// Reads on as if the reads followed each other.
    pub(super) async fn read_on(&mut self, from: Offset) -> Result<Vec<LoggedRecord>, JournalError> {
        match self.shared.log.read(self.partition, from, self.shared.settings.read_bytes_max).await {
            Ok(records) => Ok(records),
            Err(LogError::OutOfRange { .. } | LogError::Interrupted { .. }) => {
                self.ready = None;
                Ok(Vec::new())
            }
            Err(error) => Err(JournalError::log(self.partition, error)),
        }
    }

    /// After a lost race: does what the rest of the rules ask for.
    pub(super) async fn lose_without(&mut self, rule: Rule, lost: &Sealed) -> Result<(), JournalError> {
        if rule == Rule::DropIdentities {
            self.keep_identities(lost)?;
        }
        self.in_hand = None;
        if rule != Rule::DropWork {
            self.work = None;
        }
        let head = self.shared.journal.refresh(self.partition).await?;
        match &mut self.ready {
            Some(ready) if matches!(rule, Rule::DropWork | Rule::CatchUp) => ready.head = head,
            ready => *ready = None,
        }
        Ok(())
    }

    /// Leaves the identities in the index as if they had been sealed with the head.
    fn keep_identities(&self, lost: &Sealed) -> Result<(), JournalError> {
        let Some(Ready { head: Some(head), seen: writer }) = &self.ready else { return Ok(()) };
        let horizon = seen::horizon(head.sealed_at, self.shared.settings.seen_window);
        writer.record(head, &lost.entries, horizon).map(|_| ())
    }
}
