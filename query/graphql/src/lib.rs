//! GraphQL over the record: the schema that explorers build on, over HTTP, WebSocket and server-sent events.
//!
//! **Takes** documents with their variables, and an engine that answers queries of our own making.
//! **Gives** answers, streams of them, and GraphiQL.
//! **Promise**: a request is judged (`document`) before anything is read, reads one point of the record throughout
//! (`reader`), and costs as many queries as its document has levels, whatever the number of rows (`waves`). A list walked by
//! cursor gives each row once (`listing`); live events resume without loss or repetition (`live`).
//! **On failure**: errors in the answer, whose codes are stable and whose messages say what to correct.

mod as_of;
mod batches;
mod connection;
mod cursor;
mod document;
mod entity;
mod filters;
pub mod global_id;
mod graphiql;
mod http;
mod kept;
mod listing;
mod live;
pub mod metrics;
mod nulls;
mod openings;
mod page;
mod query_root;
mod reader;
mod records;
mod root;
mod rows;
mod runs;
pub mod scalars;
mod service;
pub mod settings;
mod sse;
mod subscription;
mod types;
mod variables;
mod waves;
mod ws;

pub use http::router;
pub use metrics::Metrics;
// Asking without a transport, and what ids and scalars are made of.
pub use service::{Answer, Ask, Checked, Graphql, sdl};
pub use settings::Settings;
