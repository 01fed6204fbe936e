//! The stage with the real stages before it, on recorded and made input.
#![allow(clippy::unwrap_used, clippy::panic)]

mod crash;
mod expected;
mod made;
mod race;
mod rebuilt;
mod stack;
mod tampered;
mod world;
