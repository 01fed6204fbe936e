#![allow(clippy::unwrap_used)]

mod damaged;
mod round_trip;
