//! Events as the record holds them, read with nothing but docs/events.md and the .proto file.

use std::fmt;

use alloy_primitives::keccak256;

/// The kinds of data by their field in `tributary.v1.Event`. The key is field 1 of each.
const KINDS: [(u32, &str); 11] = [
    (20, "datanet.registered"),
    (21, "contribution.submitted"),
    (22, "contribution.reviewed"),
    (23, "model.registered"),
    (24, "model.updated"),
    (25, "policy.set"),
    (26, "inference.completed"),
    (27, "attribution.traced"),
    (28, "feedback.recorded"),
    (29, "agent.acted"),
    (30, "grant.set"),
];

/// What makes two events the same: `source`, `type`, `id` and key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Source, type, id and key.
    text: String,
    /// Where in it the key begins.
    key_at: usize,
}

impl Identity {
    /// The identity of these attributes.
    pub fn of(source: &str, kind: &str, id: &str, key: &str) -> Self {
        let text = format!("{source} {kind} {id} {key}");
        Self { key_at: text.len() - key.len(), text }
    }

    /// The key, which decides the partition.
    pub fn key(&self) -> &str {
        &self.text[self.key_at..]
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The value of a protobuf field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A varint, as it lies in the bytes.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(Vec<u8>),
}

/// What an event says: its time and the fields of its data, whatever their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content(u64);

impl Content {
    /// The content of this time, in microseconds, and these fields of the data.
    pub fn of(time_us: i64, fields: &[(u32, Value)]) -> Self {
        let mut sorted: Vec<&(u32, Value)> = fields.iter().collect();
        sorted.sort_by_key(|(number, _)| *number);
        let mut text = time_us.to_be_bytes().to_vec();
        for (number, value) in sorted {
            text.extend_from_slice(&number.to_be_bytes());
            match value {
                Value::Number(number) => text.extend_from_slice(&number.to_be_bytes()),
                Value::Bytes(bytes) => text.extend_from_slice(keccak256(bytes).as_slice()),
            }
        }
        Self(keccak256(text).first_chunk().map_or(0, |head| u64::from_be_bytes(*head)))
    }
}

/// An event of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is.
    pub identity: Identity,
    /// What it says.
    pub content: Content,
    /// When it happened, in microseconds.
    pub time_us: i64,
}

impl Event {
    /// Reads the bytes of an event.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let fields = fields(bytes)?;
        let mut kinds = fields.iter().filter_map(|(number, value)| Some((kind_of(*number)?, value)));
        let (kind, data) = match (kinds.next(), kinds.next()) {
            (Some((kind, Value::Bytes(data))), None) => (kind, self::fields(data)?),
            _ => return Err("it has no data, or twice".to_owned()),
        };
        let key = text(&data, 1)?;
        let time_us = match the_one(&fields, 3)? {
            Some(Value::Number(number)) => signed(*number),
            Some(Value::Bytes(_)) => return Err("its time is no number".to_owned()),
            None => 0,
        };
        let identity = Identity::of(&text(&fields, 2)?, &format!("tributary.{kind}.v1"), &text(&fields, 1)?, &key);
        Ok(Self { identity, content: Content::of(time_us, &data), time_us })
    }
}

fn kind_of(field: u32) -> Option<&'static str> {
    KINDS.iter().find(|(number, _)| *number == field).map(|(_, kind)| *kind)
}

/// The only value of a field.
fn the_one(fields: &[(u32, Value)], number: u32) -> Result<Option<&Value>, String> {
    let mut values = fields.iter().filter(|(found, _)| *found == number).map(|(_, value)| value);
    let value = values.next();
    if values.next().is_some() {
        return Err(format!("field {number} comes twice"));
    }
    Ok(value)
}

/// A text that must be there.
fn text(fields: &[(u32, Value)], number: u32) -> Result<String, String> {
    match the_one(fields, number)? {
        Some(Value::Bytes(bytes)) => String::from_utf8(bytes.clone()).map_err(|_| format!("field {number} is no text")),
        _ => Err(format!("the text of field {number} is missing")),
    }
}

/// The signed number of a zigzag varint.
fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// The fields of a message, in the order of their bytes.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u32, Value)>, String> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).map_err(|_| "the number of a field is too large")?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            2 => Value::Bytes(prefixed(&mut bytes)?),
            other => return Err(format!("field {number} has wire type {other}, which no event has")),
        };
        fields.push((number, value));
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("a number is cut short")?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return Err("a number has more than 64 bits".to_owned());
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number has more than ten bytes".to_owned())
}

fn prefixed(bytes: &mut &[u8]) -> Result<Vec<u8>, String> {
    let length = usize::try_from(varint(bytes)?).map_err(|_| "a field is too long")?;
    let (value, rest) = bytes.split_at_checked(length).ok_or("a field is cut short")?;
    *bytes = rest;
    Ok(value.to_vec())
}
