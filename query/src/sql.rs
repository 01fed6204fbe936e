//! SQL over HTTP: the request, the formats of the answer, and the stream of it.

mod answer;
mod arrow_stream;
mod cell;
mod csv;
mod encoder;
mod json;
mod parquet_file;
mod request;

pub use encoder::{Encoder, Format};

pub(crate) use answer::post;
