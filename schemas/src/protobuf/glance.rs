//! What deduplication asks of an event, without building the event: a third of the time for the types that make up most of the record.
//!
//! A glance is sound, not complete. It is given only for bytes that [`encode`](super::encode) writes of an event that keeps every rule,
//! so that decoding them would succeed; for all others, valid or not, [`decode`](super::decode) has the say.

use crate::event::EventType;
use crate::ids::Timestamp;
use crate::limits::{ATTRIBUTION_ENTRIES_MAX, INFERENCE_PARENTS_MAX};
use crate::rules;
use crate::units::{Address, Count, Hash, Name, Wei, Weight};

use super::wire::{BYTES, VARINT};

/// Parts of an event's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance<'b> {
    pub(crate) source: &'b str,
    pub(crate) event_type: EventType,
    pub(crate) id: &'b str,
    pub(crate) key: &'b str,
    pub(crate) time: Timestamp,
    /// The payload with the tag that says of which type it is.
    pub(crate) data: &'b [u8],
}

/// Looks at bytes; `None` if they are of another type, in another form than ours, or against a rule.
pub(crate) fn glance(bytes: &[u8]) -> Option<Glance<'_>> {
    let mut event = Fields { rest: bytes };
    let id = event.text(1)?;
    rules::check_id(id).ok()?;
    let source = event.text(2)?;
    rules::check_source(source).ok()?;
    let time = event.instant(3)?;
    event.name(4)?;
    event.instant(5)?;
    event.flag(6)?;
    event.flag(7)?;
    for attribute in 8..=12 {
        if let Some(text) = event.some_text(attribute)? {
            rules::check_attribute(text).ok()?;
        }
    }
    let data = event.rest;
    let (event_type, key) = if let Some(inference) = event.some_bytes(26)? {
        (EventType::InferenceCompleted, inference_key(Fields { rest: inference })?)
    } else {
        let attribution = event.some_bytes(27)??;
        (EventType::AttributionTraced, attribution_key(Fields { rest: attribution })?)
    };
    event.end()?;
    Some(Glance { source, event_type, id, key, time, data })
}

fn inference_key(mut data: Fields<'_>) -> Option<&str> {
    let id = data.name(1)?;
    data.name(2)?;
    data.address(3)?;
    data.address(4)?;
    data.some_name(5)?;
    if let Some(parents) = data.some_bytes(6)? {
        let mut parents = Fields { rest: parents };
        let mut count = 0;
        while parents.some_name(1)?.is_some() {
            count += 1;
        }
        parents.end()?;
        (count <= INFERENCE_PARENTS_MAX).then_some(())?;
    }
    data.hash(7)?;
    data.hash(8)?;
    for count in 9..=11 {
        Count::new(data.number_or_default(count)?)?;
    }
    Wei::parse(data.text(12)?).ok()?;
    data.end()?;
    Some(id)
}

fn attribution_key(mut data: Fields<'_>) -> Option<&str> {
    let id = data.name(1)?;
    data.name(2)?;
    let (mut entries, mut before) = (0, "");
    while let Some(entry) = data.some_bytes(3)? {
        let mut entry = Fields { rest: entry };
        let contribution = entry.name(1)?;
        Weight::new(entry.some_number(2)??)?;
        entry.end()?;
        // In ascending order, so none comes twice.
        (before < contribution).then_some(())?;
        before = contribution;
        entries += 1;
    }
    data.end()?;
    (1..=ATTRIBUTION_ENTRIES_MAX).contains(&entries).then_some(id)
}

/// Fields of a message, taken from the front in the order of their numbers. `None` inside: the field is not the next one. `None` outside:
/// it is, but not as [`Message`](super::wire::Message) writes it.
pub(super) struct Fields<'b> {
    pub(super) rest: &'b [u8],
}

impl<'b> Fields<'b> {
    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    /// Whether the next field is this one; then what follows is its value.
    fn is_next(&mut self, field: u32, wire_type: u32) -> bool {
        let tag = field << 3 | wire_type;
        let mut ahead = Self { rest: self.rest };
        let is_next = ahead.varint() == Some(u64::from(tag));
        if is_next {
            self.rest = ahead.rest;
        }
        is_next
    }

    /// A number in as few bytes as it needs.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            (shift < 63 || bits <= 1).then_some(())?;
            value |= bits << shift;
            if *byte < 0x80 {
                return (*byte != 0 || shift == 0).then_some(value);
            }
        }
        None
    }

    fn some_bytes(&mut self, field: u32) -> Option<Option<&'b [u8]>> {
        if !self.is_next(field, BYTES) {
            return Some(None);
        }
        let length = self.varint()?;
        self.take(length).map(Some)
    }

    /// The next bytes, so many.
    pub(super) fn take(&mut self, length: u64) -> Option<&'b [u8]> {
        let (value, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(value)
    }

    fn some_text(&mut self, field: u32) -> Option<Option<&'b str>> {
        match self.some_bytes(field)? {
            Some(bytes) => std::str::from_utf8(bytes).ok().map(Some),
            None => Some(None),
        }
    }

    fn text(&mut self, field: u32) -> Option<&'b str> {
        self.some_text(field)?
    }

    fn some_name(&mut self, field: u32) -> Option<Option<&'b str>> {
        match self.some_text(field)? {
            Some(text) => Name::check(text).ok().map(|()| Some(text)),
            None => Some(None),
        }
    }

    fn name(&mut self, field: u32) -> Option<&'b str> {
        self.some_name(field)?
    }

    fn address(&mut self, field: u32) -> Option<()> {
        let bytes = self.some_bytes(field)??.try_into().ok()?;
        Address::from_bytes(bytes).ok().map(|_| ())
    }

    fn hash(&mut self, field: u32) -> Option<()> {
        Hash::try_from(self.some_bytes(field)??).ok().map(|_| ())
    }

    fn some_number(&mut self, field: u32) -> Option<Option<u64>> {
        if self.is_next(field, VARINT) { self.varint().map(Some) } else { Some(None) }
    }

    /// A number that is left out if it is 0.
    fn number_or_default(&mut self, field: u32) -> Option<u64> {
        match self.some_number(field)? {
            Some(0) => None,
            Some(number) => Some(number),
            None => Some(0),
        }
    }

    /// True is 1, and false is left out.
    fn flag(&mut self, field: u32) -> Option<bool> {
        match self.number_or_default(field)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn instant(&mut self, field: u32) -> Option<Timestamp> {
        let zigzag = self.number_or_default(field)?;
        let half = i64::try_from(zigzag >> 1).ok()?;
        Timestamp::from_micros(if zigzag & 1 == 0 { half } else { !half })
    }
}
