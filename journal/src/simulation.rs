//! A world for tests: a log in memory, a store that lies, clocks that are not to be trusted, and events; and the simulation,
//! which puts whole processes into such a world and lets a seed decide what happens to them.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use tributary_eventlog::Record;
use tributary_schemas::event::{Draft, Event, EventData, FeedbackRecorded};
use tributary_schemas::ids::Timestamp;
use tributary_schemas::protobuf;
use tributary_schemas::units::{Address, Name, Score};

pub(crate) mod auditor;
mod clock;
mod gaps;
mod indexes;
mod ledger;
mod line;
mod log;
mod log_line;
mod operator;
pub(crate) mod planted;
mod process;
mod producer;
mod script;
mod share;
mod store;
mod store_line;
mod tally;
mod windows;
pub(crate) mod world;

pub(crate) use clock::HandClock;
pub(crate) use indexes::Indexes;
pub(crate) use log::MemoryLog;
pub(crate) use store::FaultyStore;

/// An event of feedback: `id` is its identity, `score` its content.
pub(crate) fn event(key: &str, id: &str, score: i32) -> Record {
    let draft = Draft {
        id: id.to_owned(),
        source: "urn:test".to_owned(),
        time: Timestamp::from_micros(1_780_000_000_000_000).unwrap(),
        has_subject: false,
        has_datacontenttype: false,
        dataschema: None,
        traceparent: None,
        tracestate: None,
        sig: None,
        signer: None,
        extensions: std::collections::BTreeMap::new(),
        data: EventData::FeedbackRecorded(FeedbackRecorded {
            inference_id: Name::parse(key).unwrap(),
            actor: Address::from_bytes([1; 20]).unwrap(),
            score: Score::from_millionths(score).unwrap(),
            label: None,
        }),
    };
    let accepted_at = draft.time;
    let event = Event { draft, producer: Name::parse("dev").unwrap(), accepted_at };
    Record { key: Bytes::copy_from_slice(key.as_bytes()), value: protobuf::encode(&event) }
}
