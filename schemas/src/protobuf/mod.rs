//! The event as protobuf.
use bytes::Bytes;

use crate::event::{Event, EventData};

/// Bytes that are no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no event: {message}")]
pub struct DecodeError {
    /// Where.
    pub field: String,
    /// What.
    pub message: String,
}

/// The bytes of an event.
pub fn encode(_event: &Event) -> Bytes {
    panic!("not built yet")
}

pub(crate) fn encode_data(_data: &EventData, _out: &mut Vec<u8>) {
    panic!("not built yet")
}

/// The event of these bytes.
pub fn decode(_bytes: &[u8]) -> Result<Event, DecodeError> {
    panic!("not built yet")
}

/// The schema of [`encode`], as a serialised `google.protobuf.FileDescriptorSet`.
pub fn file_descriptor_set() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/tributary.v1.bin"))
}
