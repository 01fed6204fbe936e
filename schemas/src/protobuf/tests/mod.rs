#![allow(clippy::unwrap_used)]

mod damaged;
mod glances;
mod labels;
mod round_trip;
