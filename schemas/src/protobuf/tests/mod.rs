#![allow(clippy::unwrap_used)]

mod damaged;
mod glances;
mod round_trip;
