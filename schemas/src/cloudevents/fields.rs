//! Reading one value of a known kind, with the path to it for the refusal.

use std::fmt;

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use crate::event::{ModelKind, Verdict};
use crate::refusal::{Code, Refusal, excerpt};
use crate::units::{Address, Bps, Count, Hash, Name, Score, UnitError, Wei, Weight, parse_hash};

/// Where a value lies in an event. Built on the stack while reading; written out only for a refusal.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// The event itself.
    Event,
    /// A field of an object.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list.
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(super) fn field<'a>(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event => Ok(()),
            Self::Field(Path::Event, name) => f.write_str(&excerpt(name)),
            Self::Field(parent, name) => write!(f, "{parent}.{}", excerpt(name)),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

pub(super) fn refuse(code: Code, at: &Path<'_>, problem: impl fmt::Display) -> Refusal {
    Refusal::at(code, at.to_string(), problem)
}

/// The most items of any list; the limits of each list are checked when the event is complete.
const ITEMS_MAX: usize = crate::limits::ATTRIBUTION_ENTRIES_MAX;

/// A pull parser that answers with refusals.
pub(super) struct Reader<'j> {
    json: Jiter<'j>,
}

impl<'j> Reader<'j> {
    /// A reader of text that is known to be UTF-8.
    pub(super) fn new(text: &'j str) -> Self {
        Self { json: Jiter::new(text.as_bytes()) }
    }

    /// The kind of the next value; a null is refused.
    fn peek(&mut self, at: &Path<'_>) -> Result<Peek, Refusal> {
        match self.json.peek() {
            Ok(Peek::Null) => Err(refuse(Code::FieldNull, at, "is null: leave the field out, or send a value")),
            Ok(kind) => Ok(kind),
            Err(error) => Err(syntax(&error, at)),
        }
    }

    fn expect(&mut self, kind: Peek, at: &Path<'_>, problem: &str) -> Result<(), Refusal> {
        if self.peek(at)? == kind { Ok(()) } else { Err(refuse(Code::FieldType, at, problem)) }
    }

    /// The text of a string.
    pub(super) fn text(&mut self, at: &Path<'_>) -> Result<&str, Refusal> {
        self.expect(Peek::String, at, "must be a string")?;
        self.json.known_str().map_err(|error| syntax(&error, at))
    }

    /// The text of a number, as it was sent.
    fn number(&mut self, at: &Path<'_>) -> Result<&str, Refusal> {
        let kind = self.peek(at)?;
        if !kind.is_num() {
            return Err(refuse(Code::FieldType, at, "must be a number"));
        }
        let literal = self.json.known_number_bytes(kind).map_err(|error| syntax(&error, at))?;
        Ok(str::from_utf8(literal).expect("a JSON number is ASCII"))
    }

    /// The text of a number that counts as an integer: digits only.
    fn integer(&mut self, at: &Path<'_>) -> Result<u64, Refusal> {
        let literal = self.number(at)?;
        let plain = literal.bytes().all(|byte| byte.is_ascii_digit());
        // An integer that does not fit is larger than any limit of its unit.
        Ok(if plain { literal.parse().unwrap_or(u64::MAX) } else { u64::MAX })
    }

    /// An attribute of CloudEvents in its string form: a string, a boolean or a 32-bit integer.
    pub(super) fn attribute(&mut self, at: &Path<'_>) -> Result<String, Refusal> {
        let kind = self.peek(at)?;
        match kind {
            Peek::String => self.text(at).map(str::to_owned),
            Peek::True | Peek::False => {
                let value = self.json.known_bool(kind).map_err(|error| syntax(&error, at))?;
                Ok(value.to_string())
            }
            _ if kind.is_num() => {
                let problem = "must be a string, a boolean or an integer from -2147483648 to 2147483647";
                let value: Result<i32, _> = self.number(at)?.parse();
                value.map(|value| value.to_string()).map_err(|_| refuse(Code::ValueInvalid, at, problem))
            }
            _ => Err(refuse(Code::FieldType, at, "must be a string, a boolean or an integer")),
        }
    }

    /// Opens an object; its first key follows with [`Self::key`].
    pub(super) fn open(&mut self, at: &Path<'_>) -> Result<Keys, Refusal> {
        self.expect(Peek::Object, at, "must be an object")?;
        Ok(Keys { first: true })
    }

    /// The next key of the open object, or `None` at its end.
    pub(super) fn key(&mut self, keys: &mut Keys, at: &Path<'_>) -> Result<Option<&str>, Refusal> {
        let key = if std::mem::replace(&mut keys.first, false) { self.json.known_object() } else { self.json.next_key() };
        key.map_err(|error| syntax(&error, at))
    }

    /// Reads a list of values of one kind.
    fn list<T: Field>(&mut self, at: &Path<'_>) -> Result<Vec<T>, Refusal> {
        self.expect(Peek::Array, at, "must be a list")?;
        let mut items = Vec::new();
        let mut next = self.json.known_array().map_err(|error| syntax(&error, at))?;
        while next.is_some() {
            if items.len() == ITEMS_MAX {
                return Err(refuse(Code::ListLength, at, format!("has more than {ITEMS_MAX} items: send fewer")));
            }
            items.push(T::read(self, &Path::Item(at, items.len()))?);
            next = self.json.array_step().map_err(|error| syntax(&error, at))?;
        }
        Ok(items)
    }

    /// Passes over one value other than null and gives its text.
    pub(super) fn skip(&mut self, at: &Path<'_>) -> Result<&'j str, Refusal> {
        self.peek(at)?;
        self.skip_any(at)
    }

    /// Passes over one value of any kind and gives its text. Nesting beyond 200 levels is refused.
    pub(super) fn skip_any(&mut self, at: &Path<'_>) -> Result<&'j str, Refusal> {
        self.json.peek().map_err(|error| syntax(&error, at))?;
        let start = self.json.current_index();
        self.json.next_skip().map_err(|error| syntax(&error, at))?;
        Ok(str::from_utf8(self.json.slice_to_current(start)).expect("a value in UTF-8 text begins and ends in ASCII"))
    }

    /// Whether an object comes next, a null included among what is not.
    pub(super) fn at_object(&mut self) -> Result<bool, Refusal> {
        self.json.peek().map(|kind| kind == Peek::Object).map_err(|error| syntax(&error, &Path::Event))
    }

    /// Refuses anything but blanks after the event.
    pub(super) fn finish(&mut self) -> Result<(), Refusal> {
        self.json.finish().map_err(|error| syntax(&error, &Path::Event))
    }
}

/// Where a [`Reader`] is in an object.
pub(super) struct Keys {
    first: bool,
}

/// The refusal of text that is not JSON; of a number beyond what is read, at its own place.
fn syntax(error: &JiterError, at: &Path<'_>) -> Refusal {
    if error.error_type == JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange) {
        return refuse(Code::ValueInvalid, at, "has more digits than any number of an event");
    }
    let problem = format!("is not valid JSON: {} at byte {}; send one JSON object in UTF-8", error.error_type, error.index);
    Refusal::at(Code::JsonInvalid, "", problem)
}

/// A value that has one kind of JSON and one rule.
pub(super) trait Field: Sized {
    /// Reads it, or says what is wrong with it.
    fn read(reader: &mut Reader<'_>, at: &Path<'_>) -> Result<Self, Refusal>;
}

fn of_unit<T>(value: Result<T, UnitError>, at: &Path<'_>) -> Result<T, Refusal> {
    value.map_err(|error| {
        let code = if error == Address::BAD_CHECKSUM { Code::ChecksumInvalid } else { Code::ValueInvalid };
        refuse(code, at, error)
    })
}

macro_rules! text_fields {
    ($($kind:ty: $parse:expr;)*) => {$(
        impl Field for $kind {
            fn read(reader: &mut Reader<'_>, at: &Path<'_>) -> Result<Self, Refusal> {
                of_unit($parse(reader.text(at)?), at)
            }
        }
    )*};
}

text_fields! {
    Name: Name::parse;
    Address: Address::parse;
    Hash: parse_hash;
    Wei: Wei::parse;
    Verdict: |text| Verdict::parse(text).ok_or(UnitError("must be `accepted` or `rejected`"));
    ModelKind: |text| ModelKind::parse(text).ok_or(UnitError("must be `base`, `fine_tune` or `adapter`"));
}

macro_rules! number_fields {
    ($($kind:ty: $read:ident, $parse:expr;)*) => {$(
        impl Field for $kind {
            fn read(reader: &mut Reader<'_>, at: &Path<'_>) -> Result<Self, Refusal> {
                of_unit($parse(reader.$read(at)?), at)
            }
        }
    )*};
}

number_fields! {
    Count: number, Count::parse;
    Score: number, Score::parse;
    Bps: integer, |bps| Bps::new(bps).ok_or(UnitError("must be an integer from 0 to 10000"));
    Weight: integer, |weight| Weight::new(weight).ok_or(UnitError("must be an integer from 1 to 2147483647"));
}

impl<T: Field> Field for Vec<T> {
    fn read(reader: &mut Reader<'_>, at: &Path<'_>) -> Result<Self, Refusal> {
        reader.list(at)
    }
}
