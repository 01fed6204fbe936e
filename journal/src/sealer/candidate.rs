//! The batch in the making: records read from the log, their duplicates dropped.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tributary_eventlog::LoggedRecord;
use tributary_schemas::identity::{ContentDigest, Identities, Identity};
use tributary_schemas::ids::{Offset, Partition, Timestamp};

use crate::batch::{BODY_BYTES_MAX, Contents, EVENT_PREFIX_BYTES, SealedBatch};
use crate::error::JournalError;
use crate::genesis::DeploymentId;
use crate::header::Header;

/// A record, decoded.
pub(crate) struct Examined {
    record: LoggedRecord,
    identity: Identity,
    digest: ContentDigest,
    time: Timestamp,
}

/// Decodes records that must lie at `from` and the offsets after it, up to the first that cannot be sealed.
///
/// # Errors
/// `Corrupt`, naming partition and offset, if the first of them is left out, is no event, or is too large to seal.
pub(crate) fn examine(partition: Partition, from: Offset, records: Vec<LoggedRecord>) -> Result<Vec<Examined>, JournalError> {
    let mut expected = from;
    let (mut identities, mut examined) = (Identities::default(), Vec::with_capacity(records.len()));
    let mut one = |record: LoggedRecord| {
        let corrupt =
            |reason: String| JournalError::corrupt(format!("partition {partition} of the log, offset {}", record.offset), reason);
        if record.offset != expected {
            return Err(corrupt(format!("the record at offset {expected} is missing")));
        }
        expected = expected.next();
        if framed_bytes(&record.value) > BODY_BYTES_MAX as usize {
            return Err(corrupt(format!("an event of {} bytes fits no batch", record.value.len())));
        }
        let (digest, time) = identities.push_recorded(&record.value).map_err(|error| corrupt(error.to_string()))?;
        Ok((record, digest, time))
    };
    for record in records {
        match one(record) {
            Ok(fine) => examined.push(fine),
            Err(error) if examined.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    let with_identity = |(identity, (record, digest, time))| Examined { record, identity, digest, time };
    Ok(identities.hash().into_iter().zip(examined).map(with_identity).collect())
}

/// What the seen-index says of identities, in their order.
pub(super) type Lookup<'a> = dyn Fn(&[Identity]) -> Result<Vec<Option<ContentDigest>>, JournalError> + 'a;

/// Limits of one batch.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) records: u32,
}

/// Records taken so far, in order, and what they come to.
pub(super) struct Candidate {
    /// Where the next record to take lies.
    next_offset: Offset,
    /// The last record taken.
    last: Option<LoggedRecord>,
    /// When the first record was taken.
    since: Option<Timestamp>,
    records: u32,
    events: Vec<Bytes>,
    bytes: usize,
    times: Option<(Timestamp, Timestamp)>,
    identities: HashMap<Identity, ContentDigest>,
    /// The same, in the order of the events.
    entries: Vec<(Identity, ContentDigest)>,
    duplicates: u64,
    conflicts: u64,
    full: bool,
}

/// What a batch takes along until it is won.
pub(super) struct Sealed {
    pub(super) batch: SealedBatch,
    pub(super) entries: Vec<(Identity, ContentDigest)>,
    pub(super) duplicates: u64,
    pub(super) conflicts: u64,
}

impl Candidate {
    pub(super) fn new(next_offset: Offset) -> Self {
        Self {
            next_offset,
            last: None,
            since: None,
            records: 0,
            events: Vec::new(),
            bytes: 0,
            times: None,
            identities: HashMap::new(),
            entries: Vec::new(),
            duplicates: 0,
            conflicts: 0,
            full: false,
        }
    }

    pub(super) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// When its first record was taken, `None` while it has none.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whether the next record has no place in it.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Takes no record any more.
    pub(super) fn close(&mut self) {
        self.full = true;
    }

    /// Takes records until it is full; those that are left stay in `pending`.
    ///
    /// # Errors
    /// `Retry` if the seen-index does not answer; nothing was taken then.
    pub(super) fn take(
        &mut self,
        pending: &mut VecDeque<Examined>,
        seen: &Lookup<'_>,
        limits: Limits,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let identities: Vec<Identity> = pending.iter().map(|examined| examined.identity).collect();
        for earlier in seen(&identities)? {
            let Some(examined) = pending.front() else { break };
            let earlier = self.identities.get(&examined.identity).copied().or(earlier);
            self.full = self.has_no_place_for(examined, earlier.is_some(), limits);
            if self.full {
                break;
            }
            let Some(examined) = pending.pop_front() else { break };
            self.since.get_or_insert(now);
            self.add(examined, earlier);
        }
        Ok(())
    }

    fn has_no_place_for(&self, examined: &Examined, duplicate: bool, limits: Limits) -> bool {
        let bytes = self.bytes + framed_bytes(&examined.record.value);
        self.records >= limits.records.max(1) || (!duplicate && !self.events.is_empty() && bytes > limits.bytes)
    }

    fn add(&mut self, examined: Examined, earlier: Option<ContentDigest>) {
        let Examined { record, identity, digest, time } = examined;
        match earlier {
            Some(earlier) => {
                self.duplicates += 1;
                self.conflicts += u64::from(earlier != digest);
            }
            None => {
                self.identities.insert(identity, digest);
                self.entries.push((identity, digest));
                self.bytes += framed_bytes(&record.value);
                self.events.push(record.value.clone());
                self.times = Some(self.times.map_or((time, time), |(least, most)| (least.min(time), most.max(time))));
            }
        }
        self.records += 1;
        self.next_offset = record.offset.next();
        self.last = Some(record);
    }

    /// Makes the batch; `None` without a record.
    ///
    /// # Errors
    /// `Corrupt` if a rule of the format is broken, which the limits exclude.
    pub(super) fn seal(
        self,
        deployment: DeploymentId,
        partition: Partition,
        previous: Option<Header>,
        now: Timestamp,
    ) -> Result<Option<Sealed>, JournalError> {
        let Some(last) = self.last else { return Ok(None) };
        let contents = Contents {
            deployment,
            partition,
            previous,
            next_offset: self.next_offset,
            last_record_hash: last.hash(),
            times: self.times.unwrap_or((now, now)),
            sealed_at: now,
            events: self.events,
        };
        let batch = SealedBatch::seal(contents).map_err(|damage| {
            JournalError::corrupt(format!("partition {partition} of the log up to offset {}", last.offset), damage)
        })?;
        Ok(Some(Sealed { batch, entries: self.entries, duplicates: self.duplicates, conflicts: self.conflicts }))
    }
}

fn framed_bytes(value: &Bytes) -> usize {
    EVENT_PREFIX_BYTES + value.len()
}
