//! Turns a block of a request into records, and names what is refused.

use bytes::Bytes;
use tributary_eventlog::Record;
use tributary_schemas::cloudevents;
use tributary_schemas::event::Event;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::protobuf;
use tributary_schemas::refusal::Refusal;
use tributary_schemas::units::Name;

use crate::error::DoorError;
use crate::framing::{Block, Events};

/// What holds for all events of a request.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who sends.
    pub producer: Name,
    /// Now.
    pub accepted_at: Timestamp,
    /// Whether the event's time must be near now.
    pub time_window: bool,
    /// The most events.
    pub events_max: usize,
}

/// What a block held.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The valid events, in order.
    pub records: Vec<Record>,
    /// The others, with their index in the block and their id.
    pub refused: Vec<(usize, Option<String>, Refusal)>,
    /// How many there were.
    pub events: usize,
}

/// Parses every event of the block.
///
/// # Errors
/// [`DoorError::NotUtf8`], [`DoorError::TooManyEvents`].
pub fn parse(block: &Block, rules: &Rules) -> Result<Parsed, DoorError> {
    let mut parsed = Parsed::default();
    if let Err(error) = str::from_utf8(&block.bytes) {
        return Err(DoorError::NotUtf8 { index: event_at(block, error.valid_up_to()) });
    }
    match &block.events {
        Events::One => parsed.add(&block.bytes, rules),
        Events::At(spans) => spans.iter().for_each(|span| parsed.add(&block.bytes[span.clone()], rules)),
        Events::Lines => {
            for line in lines(&block.bytes) {
                if parsed.events == rules.events_max {
                    return Err(DoorError::TooManyEvents { max: rules.events_max });
                }
                parsed.add(line, rules);
            }
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn add(&mut self, json: &[u8], rules: &Rules) {
        match record(json, rules) {
            Ok(record) => self.records.push(record),
            Err(refusal) => self.refused.push((self.events, cloudevents::id_of(json), refusal)),
        }
        self.events += 1;
    }
}

fn record(json: &[u8], rules: &Rules) -> Result<Record, Refusal> {
    let draft = cloudevents::parse(json.trim_ascii())?;
    if rules.time_window {
        cloudevents::check_window(&draft, rules.accepted_at)?;
    }
    let event = Event { draft, producer: rules.producer.clone(), accepted_at: rules.accepted_at };
    Ok(Record { key: Bytes::copy_from_slice(event.draft.key().as_bytes()), value: protobuf::encode(&event) })
}

/// The lines that are not empty. A carriage return belongs to the line's end, blanks alone make no event.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

/// Which event of the block the byte belongs to.
fn event_at(block: &Block, byte: usize) -> usize {
    match &block.events {
        Events::One => 0,
        Events::At(spans) => spans.iter().take_while(|span| span.end <= byte).count(),
        Events::Lines => {
            let before = &block.bytes[..byte];
            let line = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            lines(&before[..line]).count()
        }
    }
}
