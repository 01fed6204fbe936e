//! The stage with the real stages before it, on recorded and made input.
#![allow(clippy::unwrap_used, clippy::panic)]

mod crash;
mod expected;
mod from_blobs;
mod made;
mod manifests;
mod race;
mod rebuilt;
mod sampled;
mod stack;
mod tampered;
mod world;
