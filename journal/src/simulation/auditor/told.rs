//! What producers offered and were told is safe, and when.

use std::collections::BTreeMap;

use bytes::Bytes;
use tributary_eventlog::Record;

use super::course::Course;
use super::{Name, name_of};
use crate::simulation::ledger::Ledger;

/// Moments, by event and by record. An event may be in several records, each offered once.
pub(super) struct Told<'a> {
    /// When each event was first offered.
    offered_events: BTreeMap<Name, u64>,
    /// When each event was first acknowledged.
    pub(super) acknowledged_events: BTreeMap<Name, u64>,
    /// When each record was offered.
    pub(super) offered: BTreeMap<&'a Bytes, u64>,
    /// When each record was acknowledged.
    acknowledged: BTreeMap<&'a Bytes, u64>,
}

impl<'a> Told<'a> {
    pub(super) fn of(ledger: &'a Ledger) -> Self {
        Self {
            offered_events: first_moments(&ledger.offered),
            acknowledged_events: first_moments(&ledger.acknowledged),
            offered: moments_of(&ledger.offered),
            acknowledged: moments_of(&ledger.acknowledged),
        }
    }

    /// When a sealed event was offered and when it was acknowledged, to be compared with others of its key. Where the log
    /// lost records, an event may have been acknowledged, lost and sent again: there the record counts that was sealed, and
    /// none that was passed over unseen at first.
    pub(super) fn moments(&self, (name, record): &(Name, Bytes), course: &Course<'_>) -> (Option<u64>, Option<u64>) {
        let (offered, acknowledged) = if !course.is_damaged() {
            (self.offered_events.get(name), self.acknowledged_events.get(name))
        } else if course.is_unseen(record) {
            (None, None)
        } else {
            (self.offered.get(record), self.acknowledged.get(record))
        };
        (offered.copied(), acknowledged.copied())
    }
}

fn first_moments(list: &[(u64, Record)]) -> BTreeMap<Name, u64> {
    let mut moments = BTreeMap::new();
    for (moment, record) in list {
        moments.entry(name_of(&record.value).unwrap()).or_insert(*moment);
    }
    moments
}

fn moments_of(list: &[(u64, Record)]) -> BTreeMap<&Bytes, u64> {
    list.iter().map(|(moment, record)| (&record.value, *moment)).collect()
}
