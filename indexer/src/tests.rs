#![allow(clippy::unwrap_used)]

mod crashes;
mod damaged;
mod delta;
mod digests;
mod lake;
mod rounds;
mod speed;
pub(crate) mod support;
mod upkeep;
