//! What all stages agree on: events, units, coordinates, the shapes of tables, the codes of errors. No I/O.
//!
//! **Takes** bytes a producer sent, or bytes the record holds.
//! **Gives** validated values, and the reason with a stable code and field where there is none.
//! **Promise**: a value of these types keeps every rule of the event specification; parsing is a pure function.
//! **On failure**: a [`refusal::Refusal`] for a producer's mistake, a [`protobuf::DecodeError`] for a damaged record.

pub mod cloudevents;
pub mod cut;
pub mod event;
pub mod identity;
pub mod ids;
pub mod keccak;
pub mod limits;
pub mod protobuf;
pub mod refusal;
pub mod rules;
#[cfg(test)]
mod samples;
pub mod tables;
pub mod units;
mod uri;
