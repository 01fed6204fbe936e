//! Judges a world that has come to rest. It knows nothing of how sealing is done: it sees what the logs took and lost, what the
//! producers were told, what the operator looked at, and the objects of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use tributary_schemas::event::EventType;
use tributary_schemas::protobuf;
use tributary_schemas::units::Hash;

use self::course::Course;
use self::told::Told;
use super::ledger::Ledger;
use super::log::Incarnation;
use crate::batch::SealedBatch;
use crate::genesis::Genesis;
use crate::header::Header;
use crate::idlist;

mod course;
mod told;

/// What can be known from outside.
#[derive(Clone)]
pub(crate) struct Evidence {
    pub(crate) genesis: Genesis,
    /// Every object by its name, with the bytes that first took it.
    pub(crate) objects: BTreeMap<String, Bytes>,
    /// Attempts to change one.
    pub(crate) changes: Vec<String>,
    /// For each partition the logs that lay in its place, one after the other.
    pub(crate) logs: Vec<Vec<Incarnation>>,
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
    let (mut shelves, told) = (auditor.sort_objects(), Told::of(&evidence.ledger));
    for (partition, logs) in evidence.genesis.partitions.partitions().zip(&evidence.logs) {
        let mut course = Course::new(partition, logs, &evidence.ledger.looks);
        auditor.follow(&mut course, &shelves.remove(&partition.get()).unwrap_or_default());
        auditor.compare_with_log(&course);
        auditor.compare_with_ledger(&course, &told);
    }
    for number in shelves.keys() {
        auditor.object(format!("there are objects of partition {number}, which does not exist"));
    }
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

    /// Follows the chain of a partition from its beginning.
    fn follow(&mut self, course: &mut Course<'_>, shelf: &Shelf<'_>) {
        let (partition, mut before) = (course.partition, None::<Header>);
        for (expected, (number, bytes)) in (0..).zip(&shelf.batches) {
            if *number != expected {
                return self.object(format!("batch {expected} of partition {partition} is missing, though {number} is there"));
            }
            let place = format!("batch {number} of partition {partition}");
            let batch = match SealedBatch::decode((*bytes).clone()) {
                Ok(batch) => batch,
                Err(damage) => return self.object(format!("{place} is none: {damage}")),
            };
            self.check_header((partition.get(), *number), before.as_ref(), &batch.header);
            let events = self.events_of(&place, &batch);
            let wrong = if batch.header.gap { course.decide(&batch) } else { course.cover(&batch.header, events) };
            self.objections.extend(wrong.iter().map(|reason| format!("{place} {reason}")));
            if let Some(list) = shelf.lists.get(number) {
                self.check_list(&place, list, &batch);
            }
            before = Some(batch.header);
        }
        self.objections.extend(course.end());
        if let Some(number) = shelf.lists.keys().find(|number| !shelf.batches.contains_key(number)) {
            self.object(format!("there is a list of identities of batch {number} of partition {partition}, but no batch"));
        }
    }

    fn check_header(&mut self, (partition, number): (u32, u64), before: Option<&Header>, header: &Header) {
        let rules = [
            ((header.partition.get(), header.seq.get()) == (partition, number), "lies in the wrong place"),
            (header.deployment == self.evidence.genesis.deployment, "belongs to another deployment"),
            (header.previous_hash == before.map_or(Hash::ZERO, Header::hash), "has not the hash of the batch before it"),
            (header.first_offset.get() == before.map_or(0, |before| before.next_offset.get()), "begins at the wrong offset"),
            (header.gap || header.next_offset > header.first_offset, "covers nothing"),
            (before.is_none_or(|before| header.sealed_at >= before.sealed_at), "is sealed before the batch before it"),
        ];
        for (_, reason) in rules.iter().filter(|(holds, _)| !holds) {
            self.object(format!("batch {number} of partition {partition} {reason}"));
        }
    }

    /// The events of a batch with their names.
    fn events_of(&mut self, place: &str, batch: &SealedBatch) -> Vec<(Name, Bytes)> {
        let events = match batch.verify_root().and_then(|()| batch.events()) {
            Ok(events) => events,
            Err(damage) => {
                self.object(format!("{place} holds something else than its header says: {damage}"));
                return Vec::new();
            }
        };
        let mut named = Vec::new();
        for event in events {
            match name_of(&event) {
                Some(name) => named.push((name, event)),
                None => self.object(format!("{place} holds something that is no event")),
            }
        }
        named
    }

    /// A list of identities follows from its batch.
    fn check_list(&mut self, place: &str, list: &Bytes, batch: &SealedBatch) {
        let expected = idlist::of_batch(batch).ok().map(|entries| (batch.header.clone(), entries));
        if idlist::decode(list).ok() != expected {
            self.object(format!("the list of identities of {place} is not that of the batch"));
        }
    }

    /// Each event is the first of its identity among the records that the chain covers, and those of one key are in the
    /// order of these; what the log holds that is there at the end is all sealed.
    fn compare_with_log(&mut self, course: &Course<'_>) {
        let mut first = BTreeMap::new();
        for (place, (name, record)) in course.covered.iter().enumerate() {
            first.entry(name).or_insert((place, *record));
        }
        let (mut sealed, mut reached) = (BTreeSet::new(), BTreeMap::new());
        for (name, event) in &course.events {
            if !sealed.insert(name) {
                self.object(format!("{name} is sealed twice"));
                continue;
            }
            let Some((place, record)) = first.get(name) else {
                self.object(format!("{name} is sealed in partition {}, but was not recorded there", course.partition));
                continue;
            };
            if record.value != *event {
                self.object(format!("{name} is not sealed with the content that was recorded first"));
            }
            if reached.insert(name.key.as_str(), *place).is_some_and(|before| before > *place) {
                self.object(format!("{name} is sealed after an event of its key that was recorded later"));
            }
        }
        let held = course.held();
        let recorded: BTreeSet<&Name> = first.keys().copied().chain(&held).collect();
        for name in recorded.difference(&sealed) {
            self.object(format!("{name} was recorded, but is not sealed"));
        }
    }

    /// What producers were told holds, whatever the log says.
    fn compare_with_ledger(&mut self, course: &Course<'_>, told: &Told<'_>) {
        if course.is_damaged() {
            self.look_for_what_was_taken(course);
        } else {
            self.look_for_what_was_acknowledged(course, told);
        }
        // From the end: no event may be acknowledged before one was offered that lies before it.
        let mut acknowledged_behind: BTreeMap<&str, u64> = BTreeMap::new();
        for sealed in course.events.iter().rev() {
            let (name, event) = sealed;
            if !told.offered.contains_key(event) {
                self.object(format!("{name} was never offered with its content"));
            }
            let (offered, acknowledged) = told.moments(sealed, course);
            let behind = acknowledged_behind.entry(&name.key).or_insert(u64::MAX);
            if offered.is_some_and(|offered| offered > *behind) {
                self.object(format!("{name} lies before an event of its key that was acknowledged before it was offered"));
            }
            if let Some(moment) = acknowledged {
                *behind = (*behind).min(moment);
            }
        }
    }

    fn look_for_what_was_acknowledged(&mut self, course: &Course<'_>, told: &Told<'_>) {
        let partitions = self.evidence.genesis.partitions;
        let sealed: BTreeSet<&Name> = course.events.iter().map(|(name, _)| name).collect();
        let is_here = |name: &&Name| partitions.partition_of(name.key.as_bytes()) == course.partition;
        for name in told.acknowledged_events.keys().filter(is_here).filter(|name| !sealed.contains(name)) {
            self.object(format!("{name} was acknowledged, but is not in the journal"));
        }
    }

    /// Where the log lost records, what was acknowledged may be among them. But it was taken, by one log or another; what
    /// the last one holds at the end was compared with the journal.
    fn look_for_what_was_taken(&mut self, course: &Course<'_>) {
        let evidence = self.evidence;
        let records = evidence.ledger.acknowledged.iter().map(|(_, record)| record);
        let here = records.filter(|record| evidence.genesis.partitions.partition_of(&record.key) == course.partition);
        for record in here.filter(|record| !course.was_taken(&record.value)) {
            self.object(format!("a record of key {:?} was acknowledged, but no log took it", record.key));
        }
    }
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
