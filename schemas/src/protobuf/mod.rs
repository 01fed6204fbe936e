//! One event as `tributary.v1.Event`, the bytes that logs, batches, blobs and proofs carry verbatim.
//!
//! [`encode`] is deterministic: fields in ascending order, defaults left out, lengths in as few bytes as possible.
//! [`decode`] checks every rule of the event specification again, so a decoded event is as valid as one from a door. Fields
//! that this version does not know are passed over: a later version may add some, and the bytes themselves are kept, never
//! encoded again.

mod decode;
mod encode;
mod glance;
mod label;
mod wire;

#[cfg(test)]
mod tests;

/// What prost makes of proto/tributary/v1/event.proto.
#[allow(missing_docs, clippy::all)]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/tributary.v1.rs"));
}

pub use decode::{DecodeError, decode};
pub use encode::encode;
pub(crate) use encode::encode_data;
pub(crate) use glance::{Glance, glance};
pub use label::{Label, label};

/// The schema of these bytes, as a serialised `google.protobuf.FileDescriptorSet`.
pub fn file_descriptor_set() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/tributary.v1.bin"))
}
