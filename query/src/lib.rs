//! Questions to the record: SQL over its tables and views, at one cut, and the claims of accounts.
//!
//! **Takes** SQL text, positional parameters and a point of the record (a cut, an epoch, or what is certified).
//! **Gives** streams of Arrow batches, the same over HTTP in five formats, and claims with their proofs.
//! **Promise**: a query reads one cut throughout and changes nothing; it ends within its limits of time, memory, rows and
//! disk; an answer is whole or visibly broken off, never silently short.
//! **On failure**: a [`QueryError`] whose code is stable and whose kind says whether to correct the question, wait, or call
//! an operator.

/// In its own tests too it goes by its name, so that fixtures serve other crates as well.
#[cfg(test)]
extern crate self as tributary_query;

pub mod accept;
pub mod cache;
mod catalog;
mod checked_sum;
pub mod claims;
pub mod engine;
pub mod error;
mod functions;
mod guard;
pub mod http;
pub mod limits;
mod lookup;
pub mod metrics;
pub mod openapi;
mod params;
mod places;
pub mod point;
mod readonly;
pub mod running;
pub mod session;
pub mod settings;
pub mod sql;
pub mod sql_text;
mod statement;
mod tail;
#[cfg(test)]
mod tests;
pub mod views;

pub use catalog::hex;
pub use claims::{Claim, claim};
pub use engine::{AsOf, Engine};
pub use error::QueryError;
pub use metrics::Metrics;
pub use point::Point;
pub use session::Session;
pub use settings::Settings;
