//! The schema, its answers, and what it refuses.
#![allow(clippy::unwrap_used)]

mod answers;
mod ask;
mod documents;
#[allow(dead_code)] // the fixture of the queries, of which these tests use a part
#[path = "../../../src/tests/fixture.rs"]
mod fixture;
mod ids;
mod requests;
mod scalars;
mod sdl;
mod walk;
