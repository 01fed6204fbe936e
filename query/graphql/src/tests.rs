//! The schema, its answers, and what it refuses.

mod answers;
mod ask;
mod documents;
mod sdl;
mod walk;
