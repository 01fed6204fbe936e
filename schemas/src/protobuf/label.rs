//! What an event calls itself, read from its bytes by so few rules that any other program can keep the same: docs/proofs.md says them.
//!
//! A label is sound: of bytes that [`decode`](super::decode) takes it says what the decoder says, and all that doors write have one.
//! That there is one does not make the bytes a valid event; for that only the decoder has the say.

use std::ops::RangeInclusive;

use super::glance::Fields;
use super::wire::{BYTES, VARINT};
use crate::event::EventType;
use crate::limits::{ID_CHARS_MAX, SOURCE_CHARS_MAX};
use crate::units::Name;

const FIXED_64: u64 = 1;
const FIXED_32: u64 = 5;
const ID: RangeInclusive<u64> = 1..=1;
const SOURCE: RangeInclusive<u64> = 2..=2;
/// The payloads, in the order of [`EventType::ALL`].
const DATA: RangeInclusive<u64> = 20..=30;
/// Of every payload the first field is the key.
const KEY: RangeInclusive<u64> = 1..=1;

/// By what an event is told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The CloudEvents `type`.
    pub event_type: EventType,
    /// The CloudEvents `source`.
    pub source: String,
    /// The CloudEvents `id`.
    pub id: String,
    /// The record key.
    pub key: String,
}

/// The label of an event's bytes; `None` if they do not say it in the one way in which a door would.
pub fn label(bytes: &[u8]) -> Option<Label> {
    let fields = fields(bytes)?;
    let visible = |number, chars_max: usize| {
        let text = only(&fields, number).and_then(|(_, text)| std::str::from_utf8(text).ok())?;
        ((1..=chars_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
    };
    let (id, source) = (visible(ID, ID_CHARS_MAX)?, visible(SOURCE, SOURCE_CHARS_MAX)?);
    let (number, data) = only(&fields, DATA)?;
    let event_type = *EventType::ALL.get(usize::try_from(number - DATA.start()).ok()?)?;
    let (_, key) = only(&self::fields(data)?, KEY)?;
    let key = std::str::from_utf8(key).ok().filter(|key| (1..=Name::MAX_BYTES).contains(&key.len()))?;
    Some(Label { event_type, source, id, key: key.to_owned() })
}

/// The number of a field, and its bytes if it has any.
type Field<'b> = (u64, Option<&'b [u8]>);

/// The fields of a message. Numbers ascend, but a field may be repeated.
fn fields(bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let (mut message, mut all) = (Fields { rest: bytes }, Vec::new());
    let mut before = 1;
    while !message.rest.is_empty() {
        let tag = message.varint()?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        (before <= number && tag <= u32::MAX.into()).then_some(())?;
        before = number;
        let value = match wire_type {
            FIXED_64 => message.take(8).map(|_| None)?,
            FIXED_32 => message.take(4).map(|_| None)?,
            _ if wire_type == u64::from(VARINT) => message.varint().map(|_| None)?,
            _ if wire_type == u64::from(BYTES) => {
                let length = message.varint()?;
                Some(message.take(length)?)
            }
            _ => return None,
        };
        all.push((number, value));
    }
    Some(all)
}

/// The field with one of these numbers, if it is the only one and has bytes.
fn only<'b>(fields: &[Field<'b>], numbers: RangeInclusive<u64>) -> Option<(u64, &'b [u8])> {
    let mut found = fields.iter().filter(|(number, _)| numbers.contains(number));
    match (found.next(), found.next()) {
        (Some((number, Some(value))), None) => Some((*number, value)),
        _ => None,
    }
}
