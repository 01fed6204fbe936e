//! Reading the attributes around `data`.

use std::collections::BTreeMap;

use super::data::{self, reserved_type};
use super::fields::{Path, Reader, refuse};
use crate::event::{Draft, EventData, EventType};
use crate::ids::Timestamp;
use crate::limits::{EVENT_JSON_MAX, EXTENSIONS_MAX, ID_CHARS_MAX};
use crate::refusal::{Code, Refusal, excerpt};
use crate::rules;

const EVENT: Path<'static> = Path::Event;
const DATA: Path<'static> = Path::Field(&EVENT, "data");

/// Parses one CloudEvent and checks every rule of the event specification but the live door's window (see
/// [`super::check_window`]). The whole slice must be one JSON object; blanks may surround it.
///
/// The first mistake is named: what is not JSON before everything else, then what comes first in the text, then what is missing,
/// then how the fields agree.
pub fn parse(json: &[u8]) -> Result<Draft, Refusal> {
    if json.len() > EVENT_JSON_MAX {
        let problem = format!("has {} bytes of JSON, but at most {EVENT_JSON_MAX} are taken: split it", json.len());
        return Err(Refusal::at(Code::TooLarge, "", problem));
    }
    let text = str::from_utf8(json).map_err(|error| {
        let problem = format!("is not UTF-8 at byte {}; send one JSON object in UTF-8", error.valid_up_to());
        Refusal::at(Code::JsonInvalid, "", problem)
    })?;
    let mut envelope = Envelope::default();
    let refusal = match envelope.read(text).and_then(|()| envelope.into_draft()) {
        Ok(draft) => return Ok(draft),
        Err(refusal) => refusal,
    };
    // A producer that sends no JSON must hear that, whatever else was found before the broken byte.
    Err(syntax_error(text).unwrap_or(refusal))
}

/// The `id` of a CloudEvent that may be refused, so that an answer can name it; `None` if there is none to be found. At most
/// [`ID_CHARS_MAX`] characters of it.
pub fn id_of(json: &[u8]) -> Option<String> {
    let mut reader = Reader::new(str::from_utf8(json).ok()?);
    let mut keys = reader.open(&EVENT).ok()?;
    while let Some(key) = reader.key(&mut keys, &EVENT).ok()? {
        if key == "id" {
            return reader.text(&EVENT).ok().map(|id| id.chars().take(ID_CHARS_MAX).collect());
        }
        reader.skip_any(&EVENT).ok()?;
    }
    None
}

fn syntax_error(text: &str) -> Option<Refusal> {
    let mut reader = Reader::new(text);
    let read = reader.skip_any(&EVENT).and_then(|_| reader.finish());
    read.err().filter(|refusal| refusal.code == Code::JsonInvalid)
}

/// What has been read so far.
#[derive(Default)]
struct Envelope<'j> {
    seen: u32,
    id: String,
    source: String,
    event_type: Option<EventType>,
    time: Option<Timestamp>,
    subject: Option<String>,
    dataschema: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    sig: Option<String>,
    signer: Option<String>,
    extensions: BTreeMap<String, String>,
    /// `data` came before `type`, so it waits here.
    unread: Option<&'j str>,
    data: Option<EventData>,
}

/// An attribute with a rule of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Specversion,
    Id,
    Source,
    Type,
    Time,
    Subject,
    DataContentType,
    DataSchema,
    TraceParent,
    TraceState,
    Sig,
    Signer,
    Data,
}

impl Named {
    const ALL: [Named; 13] = [
        Named::Specversion,
        Named::Id,
        Named::Source,
        Named::Type,
        Named::Time,
        Named::Subject,
        Named::DataContentType,
        Named::DataSchema,
        Named::TraceParent,
        Named::TraceState,
        Named::Sig,
        Named::Signer,
        Named::Data,
    ];

    /// Those without which there is no event, in the order in which a missing one is named.
    const REQUIRED: [Named; 6] = [Named::Specversion, Named::Id, Named::Source, Named::Type, Named::Time, Named::Data];

    fn name(self) -> &'static str {
        rules::NAMED_ATTRIBUTES[self as usize]
    }

    fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|named| named.name() == key)
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl<'j> Envelope<'j> {
    fn read(&mut self, text: &'j str) -> Result<(), Refusal> {
        let mut reader = Reader::new(text);
        if !reader.at_object()? {
            return Err(Refusal::at(
                Code::JsonInvalid,
                "",
                "is not a JSON object: send one object with the CloudEvents attributes",
            ));
        }
        let mut keys = reader.open(&EVENT)?;
        while let Some(key) = reader.key(&mut keys, &EVENT)? {
            match Named::parse(key) {
                Some(named) => self.named(named, &mut reader)?,
                None => {
                    let name = self.extension_name(key)?;
                    let value = reader.attribute(&EVENT.field(&name))?;
                    rules::check_attribute(&value).map_err(|problem| invalid(&name, problem))?;
                    self.extensions.insert(name, value);
                }
            }
        }
        reader.finish()?;
        if let (Some(text), Some(event_type)) = (self.unread, self.event_type) {
            self.data = Some(data::read(event_type, &mut Reader::new(text), &DATA)?);
        }
        Ok(())
    }

    fn named(&mut self, named: Named, reader: &mut Reader<'j>) -> Result<(), Refusal> {
        let at = EVENT.field(named.name());
        if self.seen & named.bit() != 0 {
            return Err(refuse(Code::FieldDuplicate, &at, "is given twice: send each key once"));
        }
        self.seen |= named.bit();
        if named == Named::Data {
            return self.data(reader);
        }
        let text = reader.text(&at)?;
        match named {
            Named::Specversion if text != "1.0" => {
                let problem = format!("must be \"1.0\", the version of CloudEvents that is taken, not {:?}", excerpt(text));
                return Err(refuse(Code::SpecversionUnsupported, &at, problem));
            }
            Named::Specversion | Named::Data => {}
            Named::Id => {
                rules::check_id(text).map_err(|problem| invalid(named.name(), problem))?;
                text.clone_into(&mut self.id);
            }
            Named::Source => {
                rules::check_source(text).map_err(|problem| invalid(named.name(), problem))?;
                text.clone_into(&mut self.source);
            }
            Named::Type => self.event_type = Some(known_type(text)?),
            Named::Time => {
                let time = Timestamp::parse_rfc3339(text).map_err(|problem| refuse(Code::TimeInvalid, &at, problem))?;
                self.time = Some(time);
            }
            Named::Subject => self.subject = Some(text.to_owned()),
            Named::DataContentType if text != "application/json" => {
                let problem = "must be exactly `application/json`, without parameters: leave it out or correct it";
                return Err(refuse(Code::DataContentTypeUnsupported, &at, problem));
            }
            Named::DataContentType => {}
            Named::DataSchema => self.dataschema = Some(kept(named, text)?),
            Named::TraceParent => self.traceparent = Some(kept(named, text)?),
            Named::TraceState => self.tracestate = Some(kept(named, text)?),
            Named::Sig => self.sig = Some(kept(named, text)?),
            Named::Signer => self.signer = Some(kept(named, text)?),
        }
        Ok(())
    }

    /// Reads `data` at once when the type is known, else keeps its text until it is.
    fn data(&mut self, reader: &mut Reader<'j>) -> Result<(), Refusal> {
        match self.event_type {
            Some(event_type) => self.data = Some(data::read(event_type, reader, &DATA)?),
            None => self.unread = Some(reader.skip(&DATA)?),
        }
        Ok(())
    }

    fn extension_name(&self, key: &str) -> Result<String, Refusal> {
        if key == "data_base64" {
            let problem = "is not taken: send the payload as a JSON object in `data`";
            return Err(Refusal::at(Code::DataBase64Unsupported, key, problem));
        }
        rules::check_extension_name(key)?;
        if self.extensions.contains_key(key) {
            return Err(refuse(Code::FieldDuplicate, &EVENT.field(key), "is given twice: send each key once"));
        }
        if self.extensions.len() == EXTENSIONS_MAX {
            return Err(rules::too_many_extensions());
        }
        Ok(key.to_owned())
    }

    fn into_draft(self) -> Result<Draft, Refusal> {
        for named in Named::REQUIRED {
            if self.seen & named.bit() == 0 {
                return Err(refuse(Code::FieldMissing, &EVENT.field(named.name()), "is missing: add it"));
            }
        }
        let draft = Draft {
            id: self.id,
            source: self.source,
            time: self.time.expect("a required attribute was seen, so it was read"),
            has_subject: self.subject.is_some(),
            has_datacontenttype: self.seen & Named::DataContentType.bit() != 0,
            dataschema: self.dataschema,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            sig: self.sig,
            signer: self.signer,
            extensions: self.extensions,
            data: self.data.expect("type and data were both seen, so the payload was read"),
        };
        rules::check_data(&draft.data)?;
        if self.subject.is_some_and(|subject| subject != draft.key()) {
            let field = draft.event_type().key_field();
            let problem = format!("must equal the event's key, `data.{field}`: correct it or leave it out");
            return Err(Refusal::at(Code::SubjectMismatch, "subject", problem));
        }
        Ok(draft)
    }
}

fn invalid(field: &str, problem: &str) -> Refusal {
    Refusal::at(Code::ValueInvalid, field, problem)
}

fn kept(named: Named, text: &str) -> Result<String, Refusal> {
    rules::check_attribute(text).map_err(|problem| invalid(named.name(), problem))?;
    Ok(text.to_owned())
}

fn known_type(text: &str) -> Result<EventType, Refusal> {
    match EventType::parse(text) {
        Some(EventType::GrantSet) => Err(reserved_type()),
        Some(event_type) => Ok(event_type),
        None => {
            let problem = format!("is {:?}, which is no type of Tributary: docs/events.md lists them", excerpt(text));
            Err(Refusal::at(Code::TypeUnknown, "type", problem))
        }
    }
}
