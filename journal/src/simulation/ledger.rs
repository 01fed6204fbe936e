//! What those around the sealers of a world know: what producers offered to the log and were told is safe, and at which
//! logs the operator looked.

use std::collections::BTreeMap;

use tributary_eventlog::Record;
use tributary_schemas::ids::{Partition, Timestamp};
use tributary_schemas::protobuf;

/// Records, each with the moment at which it was offered or acknowledged, and what the operator looked at. Moments are
/// counted, so that before and after are clear.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    moments: u64,
    stamps: i64,
    pub(crate) offered: Vec<(u64, Record)>,
    pub(crate) acknowledged: Vec<(u64, Record)>,
    /// What the operator looked at before it decided, by the reason given then, which is another one each time.
    pub(crate) looks: BTreeMap<String, Look>,
}

/// What the operator looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) partition: Partition,
    /// The number of the log that lay there.
    pub(crate) log: usize,
}

impl Ledger {
    /// Notes an append before it is tried, and gives the records to append. As by a door, each is stamped with the instant at
    /// which it was accepted: no two records are the same, in one log or in two, and so each tells when it was offered.
    pub(super) fn offer(&mut self, records: &[Record]) -> Vec<Record> {
        self.moments += 1;
        let stamped: Vec<Record> = records.iter().map(|record| self.stamp(record)).collect();
        self.offered.extend(stamped.iter().map(|record| (self.moments, record.clone())));
        stamped
    }

    /// Notes an append that the log said is durable.
    pub(crate) fn acknowledge(&mut self, records: &[Record]) {
        self.moments += 1;
        self.acknowledged.extend(records.iter().map(|record| (self.moments, record.clone())));
    }

    fn stamp(&mut self, record: &Record) -> Record {
        self.stamps += 1;
        let mut event = protobuf::decode(&record.value).unwrap();
        event.accepted_at = Timestamp::from_micros(event.draft.time.micros() + self.stamps).unwrap();
        Record { key: record.key.clone(), value: protobuf::encode(&event) }
    }
}
