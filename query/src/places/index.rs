//! Where the events of each record key lie, and from it which of them count.
//!
//! Events are added in the order of their partition, so what lies before an event is known when it is added. Most events are
//! plain: they count in every cut that has them. Only the others are kept by place, as [`Index::standing`] says.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use tributary_schemas::event::EventType;
use tributary_schemas::tables::Table;

use crate::catalog::CutBounds;

/// The place of an event: partition, batch and ordinal in one number, ordered like them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EventPlace(u64);

impl EventPlace {
    const ORDINAL_BITS: u32 = 20;
    const SEQ_BITS: u32 = 32;
    const ORDINAL_MAX: i32 = (1 << Self::ORDINAL_BITS) - 1;

    /// `None` where a part is larger than its bits hold.
    pub(crate) fn new(partition: i32, seq: i64, ordinal: i32) -> Option<Self> {
        let fits = |number: u64, bits: u32| (number >> bits == 0).then_some(number);
        let partition = fits(u64::try_from(partition).ok()?, u64::BITS - Self::SEQ_BITS - Self::ORDINAL_BITS)?;
        let seq = fits(u64::try_from(seq).ok()?, Self::SEQ_BITS)?;
        let ordinal = fits(u64::try_from(ordinal).ok()?, Self::ORDINAL_BITS)?;
        Some(Self((partition << Self::SEQ_BITS | seq) << Self::ORDINAL_BITS | ordinal))
    }

    pub(crate) fn partition(self) -> i32 {
        i32::try_from(self.0 >> (Self::SEQ_BITS + Self::ORDINAL_BITS)).expect("twelve bits")
    }

    pub(crate) fn seq(self) -> i64 {
        i64::try_from(self.0 >> Self::ORDINAL_BITS & u64::from(u32::MAX)).expect("32 bits")
    }

    pub(crate) fn is_in(self, bounds: &CutBounds) -> bool {
        bounds.covers(self.partition(), self.seq())
    }
}

/// A keyed hash of a record key, wide enough that no two keys ever share one.
pub(crate) type KeyHash = [u64; 2];

/// An event, as much of it as decides what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: KeyHash,
    event_type: EventType,
    /// A keyed hash of source and event id. It is only compared within one key.
    identity: u64,
    place: EventPlace,
    producer: u32,
}

/// What keys and identities are hashed with: seeds that nobody who sends events can know.
#[derive(Clone, Debug)]
pub(crate) struct Hashers([RandomState; 2]);

impl Hashers {
    fn new() -> Self {
        Self([RandomState::new(), RandomState::new()])
    }

    fn key(&self, key: &str) -> KeyHash {
        [0, 1].map(|n: usize| self.0[n].hash_one(key))
    }

    /// Hashes an event.
    pub(crate) fn event<'a>(&self, row: EventRow<'a>) -> Hashed<'a> {
        let entry = Entry {
            key: self.key(row.key),
            event_type: row.event_type,
            identity: self.0[0].hash_one((row.source, row.event_id)),
            place: row.place,
            producer: 0,
        };
        Hashed { entry, producer: row.producer }
    }
}

/// An event whose producer has no number yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed<'a> {
    entry: Entry,
    producer: &'a str,
}

/// An event ready to be added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared(Entry);

impl Prepared {
    /// What events are added in the order of.
    pub(crate) fn place(&self) -> EventPlace {
        self.0.place
    }

    pub(crate) fn is_grant(&self) -> bool {
        self.0.event_type == EventType::GrantSet
    }
}

/// The columns of an event that are needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventRow<'a> {
    pub(crate) event_type: EventType,
    pub(crate) key: &'a str,
    pub(crate) source: &'a str,
    pub(crate) event_id: &'a str,
    pub(crate) producer: &'a str,
    pub(crate) place: EventPlace,
}

/// What a view shows of a table of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// The first event of each identity.
    Identities,
    /// The first event of each key.
    First,
    /// The latest of each key among the first of each identity.
    Latest,
    /// The first of each inference among those of its own node and of tracers.
    Attribution,
}

/// How an event stands under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It counts in every cut that has it.
    Counts,
    /// It counts in no cut.
    DoesNotCount,
    /// It counts if it is [`Index::chosen`] for its key.
    Depends(KeyHash),
}

/// Why an index cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It would need more memory than it may.
    Full,
    /// A key has events in two partitions, so that "first" has no meaning.
    Scattered,
    /// An event is of no known type, or its place is larger than the index can hold.
    Unreadable,
}

/// Bytes of an entry in a B-tree whose nodes are two thirds full, with room for the tree itself.
const ENTRY_BYTES: usize = size_of::<Entry>() * 3 / 2 + 8;
/// The same of a place that is not plain.
const PLACE_BYTES: usize = (size_of::<EventPlace>() + size_of::<KeyHash>()) * 3 / 2 + 8;
/// A producer's name with its share of the map, and a grant.
const PRODUCER_BYTES: usize = 128;

/// The index of the events added so far.
pub(crate) struct Index {
    bytes_max: usize,
    hashers: Hashers,
    entries: BTreeSet<Entry>,
    /// Events behind another of their identity, by table.
    repeats: BTreeMap<Table, BTreeSet<EventPlace>>,
    /// Events whose counting depends on others, by table, with their key.
    standing: BTreeMap<Table, BTreeMap<EventPlace, KeyHash>>,
    places: usize,
    producers: HashMap<Box<str>, u32>,
    /// Whether the producer that a grant names is a tracer from there on.
    tracers: HashMap<u32, BTreeMap<EventPlace, bool>>,
    grants: usize,
}

impl Index {
    /// An empty index that takes events as long as they need no more than `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            hashers: Hashers::new(),
            entries: BTreeSet::new(),
            repeats: BTreeMap::new(),
            standing: BTreeMap::new(),
            places: 0,
            producers: HashMap::new(),
            tracers: HashMap::new(),
            grants: 0,
        }
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes_with(0)
    }

    /// About how many bytes it would take with so many events more.
    fn bytes_with(&self, more: usize) -> usize {
        (self.entries.len() + more) * ENTRY_BYTES
            + self.places * PLACE_BYTES
            + (self.producers.len() + self.grants) * PRODUCER_BYTES
    }

    /// # Errors
    /// `Full` if it cannot take so many events more.
    pub(crate) fn has_room_for(&self, more: usize) -> Result<(), Unfit> {
        if self.bytes_with(more) > self.bytes_max { Err(Unfit::Full) } else { Ok(()) }
    }

    /// What events for this index are hashed with.
    pub(crate) fn hashers(&self) -> Hashers {
        self.hashers.clone()
    }

    /// Gives the producer of an event its number.
    pub(crate) fn prepare(&mut self, event: Hashed<'_>) -> Prepared {
        Prepared(Entry { producer: self.producer(event.producer), ..event.entry })
    }

    fn producer(&mut self, name: &str) -> u32 {
        if let Some(number) = self.producers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.producers.len()).expect("fewer producers than events");
        self.producers.insert(name.into(), number);
        number
    }

    /// Adds an event; all events before it in its partition must have been added. Adding it again has no effect.
    ///
    /// # Errors
    /// The index must not be used any more.
    pub(crate) fn add(&mut self, event: Prepared) -> Result<(), Unfit> {
        let Prepared(entry) = event;
        if self.entries.contains(&entry) {
            return Ok(());
        }
        self.has_room_for(1)?;
        let known = self.entries_of(entry.key, entry.event_type).next().copied();
        if known.is_some_and(|known| known.place.partition() != entry.place.partition()) {
            return Err(Unfit::Scattered);
        }
        let table = Table::of(entry.event_type);
        let with_place = |place| Entry { place, producer: 0, ..entry };
        let is_repeat = self.entries.range(with_place(EventPlace(0))..with_place(entry.place)).next().is_some();
        if is_repeat && self.repeats.entry(table).or_default().insert(entry.place) {
            self.places += 1;
        }
        match (rule_of(table), known) {
            (Some(Rule::First), Some(_)) => self.note(table, entry),
            // With the second event of a key the first is not plain any more.
            (Some(Rule::Latest), Some(known)) => {
                self.note(table, known);
                self.note(table, entry);
            }
            (Some(Rule::Attribution), known) if known.is_some() || !self.is_of_its_node(&entry) => self.note(table, entry),
            _ => {}
        }
        self.entries.insert(entry);
        Ok(())
    }

    /// Whether the attribution lies behind its inference and is of the same producer.
    fn is_of_its_node(&self, attribution: &Entry) -> bool {
        self.first_inference(attribution.key).is_some_and(|first| first.producer == attribution.producer)
    }

    fn note(&mut self, table: Table, entry: Entry) {
        if self.standing.entry(table).or_default().insert(entry.place, entry.key).is_none() {
            self.places += 1;
        }
    }

    /// Notes a grant that was added: whether the producer is a tracer from there on.
    pub(crate) fn add_grant(&mut self, producer: &str, place: EventPlace, is_tracer: bool) {
        let producer = self.producer(producer);
        if self.tracers.entry(producer).or_default().insert(place, is_tracer).is_none() {
            self.grants += 1;
        }
    }

    /// By identity, and within one by place.
    fn entries_of(&self, key: KeyHash, event_type: EventType) -> impl Iterator<Item = &Entry> {
        let least = Entry { key, event_type, identity: 0, place: EventPlace(0), producer: 0 };
        let most = Entry { identity: u64::MAX, place: EventPlace(u64::MAX), producer: u32::MAX, ..least };
        self.entries.range(least..=most)
    }

    fn first_inference(&self, key: KeyHash) -> Option<&Entry> {
        self.entries_of(key, EventType::InferenceCompleted).min_by_key(|entry| entry.place)
    }

    /// The places of all events of a key that the table shows, in order.
    pub(crate) fn places_of(&self, table: Table, key: &str) -> Vec<EventPlace> {
        let key = self.hashers.key(key);
        let types = EventType::ALL.iter().filter(|event_type| table == Table::Events || Table::of(**event_type) == table);
        let mut places: Vec<_> = types.flat_map(|of| self.entries_of(key, *of).map(|entry| entry.place)).collect();
        places.sort_unstable();
        places
    }

    /// Whether a row of the table may not count whose batch lies within these partitions and batches, both ends included.
    pub(crate) fn has_doubtful(&self, (table, rule): (Table, Rule), partitions: (i32, i32), seqs: (i64, i64)) -> bool {
        let spans = (partitions.0..=partitions.1).map(|p| {
            let ends = EventPlace::new(p, seqs.0, 0).zip(EventPlace::new(p, seqs.1, EventPlace::ORDINAL_MAX));
            ends.map(|(least, most)| least..=most)
        });
        let doubtful = |span| match rule {
            Rule::Identities => self.repeats.get(&table).is_some_and(|places| places.range(span).next().is_some()),
            _ => self.standing.get(&table).is_some_and(|places| places.range(span).next().is_some()),
        };
        spans.into_iter().any(|span| span.is_none_or(doubtful))
    }

    /// How an event stands under a rule.
    pub(crate) fn standing(&self, (table, rule): (Table, Rule), place: EventPlace) -> Standing {
        let held = |yes| if yes { Standing::Counts } else { Standing::DoesNotCount };
        match rule {
            Rule::Identities => held(!self.repeats.get(&table).is_some_and(|places| places.contains(&place))),
            _ => match (rule, self.standing.get(&table).and_then(|places| places.get(&place))) {
                (_, None) => Standing::Counts,
                (Rule::First, Some(_)) => Standing::DoesNotCount,
                (_, Some(key)) => Standing::Depends(*key),
            },
        }
    }

    /// The one event of the key that counts in the cut.
    pub(crate) fn chosen(&self, rule: Rule, table: Table, key: KeyHash, bounds: &CutBounds) -> Option<EventPlace> {
        let event_type = *EventType::ALL.iter().find(|event_type| Table::of(**event_type) == table)?;
        let mut last = None;
        let firsts = self.entries_of(key, event_type).filter(move |entry| last.replace(entry.identity) != Some(entry.identity));
        let firsts = firsts.filter(|entry| entry.place.is_in(bounds));
        if rule == Rule::Latest {
            return firsts.map(|entry| entry.place).max();
        }
        let inference = self.first_inference(key).filter(|inference| inference.place.is_in(bounds))?;
        let may = |entry: &&Entry| entry.producer == inference.producer || self.is_tracer(entry.producer, bounds);
        firsts.filter(may).map(|entry| entry.place).min()
    }

    /// By the latest grant in the cut; a repeated one has no effect.
    fn is_tracer(&self, producer: u32, bounds: &CutBounds) -> bool {
        let repeats = self.repeats.get(&Table::Grants);
        let counts = |place: &EventPlace| place.is_in(bounds) && !repeats.is_some_and(|repeats| repeats.contains(place));
        let grants = self.tracers.get(&producer).into_iter().flatten();
        grants.rev().find(|(place, _)| counts(place)).is_some_and(|(_, is_tracer)| *is_tracer)
    }
}

/// The view of a table that asks more than for identities.
fn rule_of(table: Table) -> Option<Rule> {
    Some(match table {
        Table::Datanets | Table::Contributions | Table::Models | Table::Inferences => Rule::First,
        Table::Reviews | Table::Policies => Rule::Latest,
        Table::Attributions => Rule::Attribution,
        _ => return None,
    })
}
