//! The schema, its answers, and what it refuses.
#![allow(clippy::unwrap_used)]

mod answers;
mod ask;
mod documents;
mod requests;
mod sdl;
mod walk;
