//! Tests over a real lake in a temporary folder: events sealed into a journal, indexed, and asked for.
#![allow(clippy::unwrap_used)]

mod amplification;
mod claims;
mod concurrent;
pub(crate) mod fixture;
mod flywheel;
mod hostile;
mod http;
mod places;
mod sql;
mod views;
