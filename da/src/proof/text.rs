//! The text of a proof: JSON that no two readers understand differently.
//!
//! RFC 8259 leaves it to a reader what it makes of a name that comes twice, of numbers that it cannot hold, of half a surrogate pair
//! and of brackets without end. Here all of these are refused, wherever they stand, so that a document that one verifier takes is the
//! same document to every other. docs/proofs.md states the rules.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The longest text of a proof that is read: an event and its batch's path fit several times.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// How deep objects and lists lie in one another at most.
const LEVELS_MAX: usize = 64;
/// The most characters of a number, and of its exponent the most digits: every such number can be held.
const NUMBER_CHARS_MAX: usize = 32;
const EXPONENT_DIGITS_MAX: usize = 2;
/// The members that are objects. A reader that took lists for them would take them by order.
const OBJECTS: [&str; 5] = ["", "/proof", "/proof/blob", "/proof/opening", "/proof/opening/prelude"];
/// The most characters of a message that repeats parts of a text.
const MESSAGE_CHARS_MAX: usize = 200;

/// The proof in a text: the object with `raw`, or the one inside it at `data`, `event` and `proof`, of which each may be absent.
///
/// # Errors
/// What is wrong with the text, fit for a terminal.
pub(super) fn read(text: &[u8]) -> Result<Value, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it has more than {TEXT_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    check_numbers(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Levels(LEVELS_MAX).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let mut value = read.map_err(|error| message(&error))?;
    for around in ["data", "event", "proof"] {
        if value.get("raw").is_none()
            && let Some(inner) = value.get_mut(around)
        {
            value = inner.take();
        }
    }
    match OBJECTS.iter().find(|at| value.pointer(at).is_some_and(Value::is_array)) {
        Some(at) => Err(format!("a list lies where an object belongs: `{at}`")),
        None => Ok(value),
    }
}

/// What an error says, cut short and without characters that a terminal could obey.
pub(super) fn message(error: &serde_json::Error) -> String {
    printable(&error.to_string()).chars().take(MESSAGE_CHARS_MAX).collect()
}

/// The text in visible ASCII and spaces; every other character, and the backslash, is written as `\u{…}`, so that whoever reads it sees
/// every character that is there, and no terminal obeys any.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.extend(character.escape_unicode()),
            ' '..='~' => out.push(character),
            _ => out.extend(character.escape_unicode()),
        }
    }
    out
}

/// Bounds what stands between the texts of a document as a number would. Of what is no JSON it says nothing.
fn check_numbers(text: &str) -> Result<(), String> {
    let mut rest = text;
    while !rest.is_empty() {
        let (between, quoted) = rest.split_once('"').unwrap_or((rest, ""));
        for number in between.split(|character: char| !matches!(character, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')) {
            let exponent = number.split_once(['e', 'E']).map_or("", |(_, exponent)| exponent.trim_start_matches(['+', '-']));
            if number.len() > NUMBER_CHARS_MAX || exponent.len() > EXPONENT_DIGITS_MAX {
                return Err(format!(
                    "a number has more than {NUMBER_CHARS_MAX} characters, or an exponent of more than {EXPONENT_DIGITS_MAX} digits"
                ));
            }
        }
        rest = behind_quoted(quoted);
    }
    Ok(())
}

/// What follows the quotation mark that ends a text.
fn behind_quoted(text: &str) -> &str {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return &text[at + 1..],
            '\\' => drop(characters.next()),
            _ => {}
        }
    }
    ""
}

/// Reads a value with at most so many levels in it, all names of an object different.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Levels {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let left = self.0.checked_sub(1).map(Self);
        left.ok_or_else(|| E::custom(format_args!("objects and lists lie more than {LEVELS_MAX} deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let (inside, mut items) = (self.inside()?, Vec::new());
        while let Some(item) = list.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let (inside, mut members) = (self.inside()?, Map::new());
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(inside)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has two members of one name"));
            }
        }
        Ok(members.into())
    }
}
