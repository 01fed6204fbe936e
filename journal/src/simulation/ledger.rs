//! What the producers of a world know: what they offered to the log, and what they were told is safe.

use tributary_eventlog::Record;

/// Records, each with the moment at which it was offered or acknowledged. Moments are counted, so that before and after are
/// clear.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    moments: u64,
    pub(crate) offered: Vec<(u64, Record)>,
    pub(crate) acknowledged: Vec<(u64, Record)>,
}

impl Ledger {
    /// Notes an append before it is tried for the first time.
    pub(super) fn offer(&mut self, records: &[Record]) {
        self.moments += 1;
        self.offered.extend(records.iter().map(|record| (self.moments, record.clone())));
    }

    /// Notes an append that the log said is durable.
    pub(crate) fn acknowledge(&mut self, records: &[Record]) {
        self.moments += 1;
        self.acknowledged.extend(records.iter().map(|record| (self.moments, record.clone())));
    }
}
