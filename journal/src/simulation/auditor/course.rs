//! The course of one partition's chain through the logs that lay in its place.
//!
//! What `accept-gap` promises, without `--from`: nothing that the log holds is left out, and nothing is sealed again that
//! was sealed within the window of the seen-index. All that happens in a world lies within the window. So here an event is
//! sealed once, whatever became of the log, and each batch follows from the chain before it and from one log.
//!
//! Where the chain knows no record of the log (at offset 0, and behind a decision whose log did not hold the record
//! before), and where a log was held from just the offset at which the chain ends, no log can be told from another. There
//! the chain may go on in another log without a decision, and what that one holds before is passed over unseen. This rule,
//! of `may_go_on_in`, is the only one that is weaker than it should be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tributary_eventlog::LoggedRecord;
use tributary_schemas::ids::{Offset, Partition};
use tributary_schemas::units::Hash;

use super::{Name, name_of};
use crate::batch::SealedBatch;
use crate::header::Header;
use crate::simulation::ledger::Look;
use crate::simulation::log::Incarnation;

/// Where the chain is, and what it has come by.
pub(super) struct Course<'a> {
    pub(super) partition: Partition,
    logs: &'a [Incarnation],
    looks: &'a BTreeMap<String, Look>,
    /// The number of the log in which the chain is.
    log: usize,
    /// The offset before which it ends.
    end: usize,
    /// The record before that offset, if the chain knows it.
    last: Option<&'a LoggedRecord>,
    /// Every record that a batch covers, in the order of the chain.
    pub(super) covered: Vec<(Name, &'a LoggedRecord)>,
    /// Every event that is sealed, in the order of the chain.
    pub(super) events: Vec<(Name, Bytes)>,
    sealed: BTreeSet<Name>,
    /// Records that were passed over unseen.
    unseen: BTreeSet<&'a Bytes>,
}

impl<'a> Course<'a> {
    pub(super) fn new(partition: Partition, logs: &'a [Incarnation], looks: &'a BTreeMap<String, Look>) -> Self {
        Self {
            partition,
            logs,
            looks,
            log: 0,
            end: 0,
            last: None,
            covered: Vec::new(),
            events: Vec::new(),
            sealed: BTreeSet::new(),
            unseen: BTreeSet::new(),
        }
    }

    /// Follows a batch of these events. Gives what is wrong with it.
    pub(super) fn cover(&mut self, header: &Header, events: Vec<(Name, Bytes)>) -> Vec<String> {
        let (first, next) = (place(header.first_offset), place(header.next_offset));
        let (logs, mut wrong) = (self.logs, Vec::new());
        let has_last = |log: &usize| before(&logs[*log], next).is_some_and(|last| last.hash() == header.last_record_hash);
        match (self.log..logs.len()).find(has_last) {
            Some(log) => {
                if !self.may_go_on_in(log, first) {
                    wrong.push("goes on in another log than the batch before it, and no decision lies between".to_owned());
                }
                self.log = log;
            }
            None => wrong.push("has not the hash of the last record it covers".to_owned()),
        }
        let records = &logs[self.log].records;
        let covered = records.get(first..next.min(records.len())).unwrap_or_default();
        let named: Vec<_> = covered.iter().map(|record| (name_of(&record.value).unwrap(), record)).collect();
        let mut fresh = BTreeSet::new();
        let is_new = |(name, _): &&(Name, &'a LoggedRecord)| !self.sealed.contains(name) && fresh.insert(name.clone());
        let expected: Vec<&Bytes> = named.iter().filter(is_new).map(|(_, record)| &record.value).collect();
        if !expected.into_iter().eq(events.iter().map(|(_, event)| event)) {
            wrong.push("holds other events than follow from the records that it covers".to_owned());
        }
        self.covered.extend(named);
        self.sealed.extend(events.iter().map(|(name, _)| name.clone()));
        self.events.extend(events);
        (self.end, self.last) = (next, before(&logs[self.log], next));
        wrong
    }

    /// Follows a decision. Gives what is wrong with it: it must be the operator's, tell of a gap that there was, and leave
    /// out nothing that the log held.
    pub(super) fn decide(&mut self, batch: &SealedBatch) -> Vec<String> {
        let Ok(Some(decision)) = batch.decision() else { return vec!["records a gap, but no decision".to_owned()] };
        let look = self.looks.get(&decision.reason).filter(|look| look.partition == self.partition);
        let Some(look) = look else { return vec!["records a gap that nobody decided on".to_owned()] };
        let (header, log) = (&batch.header, &self.logs[look.log]);
        let (first, next) = (place(header.first_offset), place(header.next_offset));
        let (earliest, end) = (index(decision.log_earliest), index(decision.log_next));
        let last = before(log, next).filter(|_| next > earliest);
        let was_held = log.held_from.contains(&decision.log_earliest) && end <= log.records.len();
        let fitted = (earliest..=end).contains(&first) && self.last.is_some_and(|last| before(log, first) == Some(last));
        let rules = [
            (look.log >= self.log, "decides on a log that was gone"),
            (was_held, "does not say what the log held"),
            (!fitted, "records a gap, but there was none"),
            ((earliest..=end).contains(&next), "goes on outside the log"),
            (header.last_record_hash == last.map_or(Hash::ZERO, LoggedRecord::hash), "has not the hash of the record before"),
        ];
        let mut wrong: Vec<_> = rules.iter().filter(|(holds, _)| !holds).map(|(_, reason)| (*reason).to_owned()).collect();
        let passed = log.records.get(earliest..next).unwrap_or_default();
        if let Some(name) = self.names_of(passed).find(|name| !self.sealed.contains(name)) {
            wrong.push(format!("leaves out {name}, which the log held"));
        }
        (self.log, self.end, self.last) = (look.log, next, last);
        wrong
    }

    /// Compares the end of the chain with the log that is there.
    pub(super) fn end(&mut self) -> Vec<String> {
        let (partition, end, now) = (self.partition, self.end, self.logs.len() - 1);
        let (goes_up_to, mut wrong) = (self.logs[now].records.len(), Vec::new());
        if end != goes_up_to {
            wrong.push(format!("partition {partition} is sealed up to {end}, but the log goes up to {goes_up_to}"));
        }
        if !self.may_go_on_in(now, end) {
            wrong.push(format!("partition {partition} is sealed in another log than the one that is there"));
        }
        wrong
    }

    /// Whether the log may ever have lost a record.
    pub(super) fn is_damaged(&self) -> bool {
        self.logs.len() > 1 || self.logs[0].lost_before > 0
    }

    /// Whether a log took this record.
    pub(super) fn was_taken(&self, record: &Bytes) -> bool {
        self.logs.iter().flat_map(|log| &log.records).any(|taken| taken.value == *record)
    }

    pub(super) fn is_unseen(&self, record: &Bytes) -> bool {
        self.unseen.contains(record)
    }

    /// The events in the log that is there, but for those that it lost and those that were passed over unseen. None if it
    /// is known that all are covered.
    pub(super) fn held(&self) -> BTreeSet<Name> {
        let log = &self.logs[self.logs.len() - 1];
        if !self.is_damaged() && self.covered.len() == log.records.len() {
            return BTreeSet::new();
        }
        self.names_of(log.records.get(index(log.lost_before)..).unwrap_or_default()).collect()
    }

    fn names_of(&self, records: &[LoggedRecord]) -> impl Iterator<Item = Name> {
        records.iter().filter(move |record| !self.is_unseen(&record.value)).map(|record| name_of(&record.value).unwrap())
    }

    /// Whether the chain may go on at `first` in this log without a decision: it is the one that it is in, or that one was
    /// cut off behind all that is sealed. Or there is nothing by which the two could be told apart: see above.
    fn may_go_on_in(&mut self, log: usize, first: usize) -> bool {
        let logs = self.logs;
        let last = before(&logs[log], first);
        if log == self.log || first == 0 || (last.is_some() && last == before(&logs[self.log], first)) {
            return true;
        }
        let is_held_from_there = |log: &Incarnation| log.held_from.contains(&(first as u64));
        let is_blind = self.last.is_none() || logs[self.log..=log].iter().any(is_held_from_there);
        if is_blind {
            self.unseen.extend(logs[log].records.iter().take(first).map(|record| &record.value));
        }
        is_blind
    }
}

/// The record before an offset.
fn before(log: &Incarnation, offset: usize) -> Option<&LoggedRecord> {
    log.records.get(offset.checked_sub(1)?)
}

fn place(offset: Offset) -> usize {
    index(offset.get())
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}
