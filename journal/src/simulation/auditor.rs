//! Judges a world that has come to rest. It knows nothing of how sealing is done: it sees what the log recorded, what the
//! producers were told, and the objects of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use tributary_eventlog::LoggedRecord;
use tributary_schemas::event::EventType;
use tributary_schemas::protobuf;
use tributary_schemas::units::Hash;

use super::ledger::Ledger;
use crate::batch::SealedBatch;
use crate::genesis::Genesis;
use crate::header::Header;
use crate::idlist;

/// What can be known from outside.
#[derive(Clone)]
pub(crate) struct Evidence {
    pub(crate) genesis: Genesis,
    /// Every object by its name, with the bytes that first took it.
    pub(crate) objects: BTreeMap<String, Bytes>,
    /// Attempts to change one.
    pub(crate) changes: Vec<String>,
    /// Every record that the log ever took, by partition, from offset 0 on.
    pub(crate) logged: Vec<Vec<LoggedRecord>>,
    pub(crate) ledger: Ledger,
}

/// What the objects of a partition are, by their number.
#[derive(Default)]
struct Shelf<'a> {
    batches: BTreeMap<u64, &'a Bytes>,
    lists: BTreeMap<u64, &'a Bytes>,
}

/// What makes two events the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    key: String,
    id: String,
    source: String,
    event_type: EventType,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of key {}", self.id, self.key)
    }
}

fn name_of(event: &[u8]) -> Option<Name> {
    let draft = protobuf::decode(event).ok()?.draft;
    let (key, event_type) = (draft.key().to_owned(), draft.event_type());
    Some(Name { key, id: draft.id, source: draft.source, event_type })
}

/// Every promise that was not kept; none is what a world is run for.
pub(crate) fn audit(evidence: &Evidence) -> Vec<String> {
    let mut auditor = Auditor { evidence, objections: evidence.changes.clone() };
    let mut shelves = auditor.sort_objects();
    let mut journal = Vec::new();
    for (number, logged) in (0..).zip(&evidence.logged) {
        let events = auditor.read(number, &shelves.remove(&number).unwrap_or_default(), logged);
        let events = auditor.name(number, events);
        auditor.compare_with_log(number, &events, logged);
        journal.extend(events);
    }
    for number in shelves.keys() {
        auditor.object(format!("there are objects of partition {number}, which does not exist"));
    }
    auditor.compare_with_ledger(&journal);
    auditor.objections
}

struct Auditor<'a> {
    evidence: &'a Evidence,
    objections: Vec<String>,
}

impl<'a> Auditor<'a> {
    fn object(&mut self, objection: String) {
        self.objections.push(objection);
    }

    fn sort_objects(&mut self) -> BTreeMap<u32, Shelf<'a>> {
        let (evidence, mut shelves) = (self.evidence, BTreeMap::<u32, Shelf<'a>>::new());
        for (name, bytes) in &evidence.objects {
            if name == "journal/genesis.json" {
                if *bytes != evidence.genesis.encode() {
                    self.object("the genesis record is another".to_owned());
                }
            } else if let Some((partition, number)) = place_of(name, "journal/p-", ".batch") {
                shelves.entry(partition).or_default().batches.insert(number, bytes);
            } else if let Some((partition, number)) = place_of(name, "journal/ids/p-", ".ids") {
                shelves.entry(partition).or_default().lists.insert(number, bytes);
            } else {
                self.object(format!("{name} has no known name"));
            }
        }
        shelves
    }

    /// Follows the chain of a partition from its beginning, and gives its events.
    fn read(&mut self, partition: u32, shelf: &Shelf<'_>, logged: &[LoggedRecord]) -> Vec<Bytes> {
        let (mut before, mut events) = (None::<Header>, Vec::new());
        for (expected, (number, bytes)) in (0..).zip(&shelf.batches) {
            if *number != expected {
                self.object(format!("batch {expected} of partition {partition} is missing, though {number} is there"));
                return events;
            }
            let place = format!("batch {number} of partition {partition}");
            let batch = match SealedBatch::decode((*bytes).clone()) {
                Ok(batch) => batch,
                Err(damage) => {
                    self.object(format!("{place} is none: {damage}"));
                    return events;
                }
            };
            self.check_header((partition, *number), before.as_ref(), &batch.header, logged);
            match batch.verify_root().and_then(|()| batch.events()) {
                Ok(sealed) => events.extend(sealed),
                Err(damage) => self.object(format!("{place} holds something else than its header says: {damage}")),
            }
            if let Some(list) = shelf.lists.get(number) {
                self.check_list(&place, list, &batch);
            }
            before = Some(batch.header);
        }
        let covered = before.map_or(0, |header| header.next_offset.get());
        if covered != logged.len() as u64 {
            self.object(format!("partition {partition} is sealed up to {covered}, but the log goes up to {}", logged.len()));
        }
        if let Some(number) = shelf.lists.keys().find(|number| !shelf.batches.contains_key(number)) {
            self.object(format!("there is a list of identities of batch {number} of partition {partition}, but no batch"));
        }
        events
    }

    fn check_header(
        &mut self,
        (partition, number): (u32, u64),
        before: Option<&Header>,
        header: &Header,
        logged: &[LoggedRecord],
    ) {
        let covered = usize::try_from(header.next_offset.get()).unwrap();
        let last = covered.checked_sub(1).and_then(|last| logged.get(last));
        let rules = [
            ((header.partition.get(), header.seq.get()) == (partition, number), "lies in the wrong place"),
            (header.deployment == self.evidence.genesis.deployment, "belongs to another deployment"),
            (!header.gap, "records a gap, but there was none"),
            (header.previous_hash == before.map_or(Hash::ZERO, Header::hash), "has not the hash of the batch before it"),
            (header.first_offset.get() == before.map_or(0, |before| before.next_offset.get()), "begins at the wrong offset"),
            (header.next_offset > header.first_offset, "covers nothing"),
            (before.is_none_or(|before| header.sealed_at >= before.sealed_at), "is sealed before the batch before it"),
            (last.is_some_and(|last| last.hash() == header.last_record_hash), "has not the hash of the last record it covers"),
        ];
        for (_, reason) in rules.iter().filter(|(holds, _)| !holds) {
            self.object(format!("batch {number} of partition {partition} {reason}"));
        }
    }

    /// A list of identities follows from its batch.
    fn check_list(&mut self, place: &str, list: &Bytes, batch: &SealedBatch) {
        let expected = idlist::of_batch(batch).ok().map(|entries| (batch.header.clone(), entries));
        if idlist::decode(list).ok() != expected {
            self.object(format!("the list of identities of {place} is not that of the batch"));
        }
    }

    fn name(&mut self, partition: u32, events: Vec<Bytes>) -> Vec<(Name, Bytes)> {
        let mut named = Vec::new();
        for event in events {
            match name_of(&event) {
                Some(name) => named.push((name, event)),
                None => self.object(format!("partition {partition} holds something that is no event")),
            }
        }
        named
    }

    /// Each event is the first of its identity in the log, and those of one key are in the order of the log.
    fn compare_with_log(&mut self, partition: u32, events: &[(Name, Bytes)], logged: &[LoggedRecord]) {
        let mut first: BTreeMap<Name, &LoggedRecord> = BTreeMap::new();
        for record in logged {
            first.entry(name_of(&record.value).unwrap()).or_insert(record);
        }
        let (mut sealed, mut reached) = (BTreeSet::new(), BTreeMap::new());
        for (name, event) in events {
            if !sealed.insert(name) {
                self.object(format!("{name} is sealed twice"));
                continue;
            }
            let Some(record) = first.get(name) else {
                self.object(format!("{name} is sealed in partition {partition}, but was not recorded there"));
                continue;
            };
            if record.value != *event {
                self.object(format!("{name} is not sealed with the content that was recorded first"));
            }
            if reached.insert(name.key.as_str(), record.offset).is_some_and(|before| before > record.offset) {
                self.object(format!("{name} is sealed after an event of its key that was recorded later"));
            }
        }
        for name in first.keys().filter(|name| !sealed.contains(name)) {
            self.object(format!("{name} was recorded, but is not sealed"));
        }
    }

    /// What producers were told holds, whatever the log says.
    fn compare_with_ledger(&mut self, journal: &[(Name, Bytes)]) {
        let evidence = self.evidence;
        let ledger = &evidence.ledger;
        let (offered, acknowledged) = (first_moments(&ledger.offered), first_moments(&ledger.acknowledged));
        let contents: BTreeSet<&Bytes> = ledger.offered.iter().map(|(_, record)| &record.value).collect();
        let sealed: BTreeSet<&Name> = journal.iter().map(|(name, _)| name).collect();
        for name in acknowledged.keys().filter(|name| !sealed.contains(name)) {
            self.object(format!("{name} was acknowledged, but is not in the journal"));
        }
        // From the end: no event may be acknowledged before one was offered that lies before it.
        let mut acknowledged_behind: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, event) in journal.iter().rev() {
            if !contents.contains(event) {
                self.object(format!("{name} was never offered with its content"));
            }
            let behind = acknowledged_behind.entry(&name.key).or_insert(u64::MAX);
            if offered.get(name).is_some_and(|offered| *offered > *behind) {
                self.object(format!("{name} lies before an event of its key that was acknowledged before it was offered"));
            }
            if let Some(moment) = acknowledged.get(name) {
                *behind = (*behind).min(*moment);
            }
        }
    }
}

/// The moment at which each event was first in this list.
fn first_moments(list: &[(u64, tributary_eventlog::Record)]) -> BTreeMap<Name, u64> {
    let mut moments = BTreeMap::new();
    for (moment, record) in list {
        moments.entry(name_of(&record.value).unwrap()).or_insert(*moment);
    }
    moments
}

/// The partition and the number in a name of the form prefix, five digits, slash, twenty digits, suffix.
fn place_of(name: &str, prefix: &str, suffix: &str) -> Option<(u32, u64)> {
    let (partition, number) = name.strip_prefix(prefix)?.strip_suffix(suffix)?.split_once('/')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(partition, 5) || !digits(number, 20) {
        return None;
    }
    Some((partition.parse().ok()?, number.parse().ok()?))
}
