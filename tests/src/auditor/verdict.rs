//! What the auditor found.

use std::collections::BTreeSet;
use std::fmt;

use super::batch::Header;
use super::census::Census;
use super::event::Identity;
use super::ledger::Ledger;
use crate::{Outcome, ensure};

/// How many violations an error shows.
const SHOWN_MAX: usize = 20;

/// What the auditor found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What must not be.
    pub violations: Vec<String>,
    /// The gaps that an operator accepted, by partition and batch.
    pub gaps: Vec<Gap>,
    /// Acknowledged events that are nowhere, in partitions with such a gap.
    pub lost: BTreeSet<Identity>,
    /// How much there was of each thing.
    pub counts: Counts,
}

/// A gap of the log that an operator accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where.
    pub partition: u32,
    /// The batch that records it.
    pub seq: u64,
    /// Where the journal ended.
    pub first_offset: u64,
    /// Where the log goes on.
    pub next_offset: u64,
    /// Why the operator went on.
    pub reason: String,
}

/// How much there was of each thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Partitions of the deployment.
    pub partitions: u32,
    /// Batches of all partitions.
    pub batches: u64,
    /// Those without events, gaps included.
    pub empty: u64,
    /// Events in them.
    pub events: u64,
    /// Records of the log that they cover.
    pub records: u64,
    /// Bytes of events before compression.
    pub bytes: u64,
    /// Events that were sent.
    pub sent: usize,
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Events in the journal of which nobody was told that they are durable.
    pub unacknowledged: usize,
    /// Objects that were watched.
    pub objects: usize,
    /// How often all of them were looked at.
    pub scans: u64,
}

impl Verdict {
    /// Fails with the first violations, if there are any.
    pub fn expect_clean(&self) -> Outcome {
        let (count, shown) = (self.violations.len(), self.violations.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>());
        ensure(count == 0, || format!("the auditor found {count} violations:\n{}\nof {}", shown.join("\n"), self.counts))
    }

    pub(super) fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    /// Once every event is taken in: what is missing.
    pub(super) fn close(&mut self, ledger: &Ledger, census: &Census<'_>) {
        (self.counts.sent, self.counts.acknowledged) = (ledger.sent(), ledger.acknowledged().count());
        self.counts.unacknowledged = census.unacknowledged();
        for identity in census.missing() {
            let home = census.home(&identity);
            if self.gaps.iter().any(|gap| gap.partition == home) {
                self.lost.insert(identity);
            } else {
                self.violation(format!("`{identity}` was acknowledged and is not in partition {home}, nor anywhere"));
            }
        }
    }
}

impl Gap {
    pub(super) fn of(header: &Header, reason: String) -> Self {
        let Header { partition, seq, first_offset, next_offset, .. } = *header;
        Self { partition, seq, first_offset, next_offset, reason }
    }
}

impl Counts {
    pub(super) fn takes(&mut self, header: &Header) {
        self.batches += 1;
        self.empty += u64::from(header.events == 0);
        if !header.is_gap {
            self.events += u64::from(header.events);
            self.records += header.next_offset - header.first_offset;
            self.bytes += u64::from(header.raw_bytes);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partitions, batches, empty, events, records, bytes, .. } = self;
        let Self { sent, acknowledged, unacknowledged, objects, scans, .. } = self;
        write!(
            f,
            "{events} events ({bytes} bytes) of {records} records in {batches} batches ({empty} without events) of \
             {partitions} partitions; {sent} events sent, {acknowledged} acknowledged, {unacknowledged} recorded without that; \
             {objects} objects looked at {scans} times"
        )
    }
}
