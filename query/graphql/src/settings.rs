//! The limits of the GraphQL interface, each by name.

use std::time::Duration;

/// What one request, and all of them together, may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests that run at the same time.
    pub requests_max: usize,
    /// Requests that wait for their turn; the next is told to come back later.
    pub requests_waiting_max: usize,
    /// How long a request may take from admission to the answer.
    pub request_timeout: Duration,
    /// Bytes of one document.
    pub document_bytes_max: usize,
    /// Tokens of one document.
    pub document_tokens_max: usize,
    /// Levels of brackets in one document.
    pub document_nesting_max: usize,
    /// Levels of fields in one operation.
    pub depth_max: usize,
    /// Fields of one operation with its fragments in place.
    pub fields_max: usize,
    /// Aliases of one operation.
    pub aliases_max: usize,
    /// Values that one operation may ask for, each field counted as often as its list may have rows.
    pub complexity_max: u64,
    /// How many values a field counts for that opens a batch or a tree, or reads a certificate.
    pub heavy_cost: u64,
    /// How many values an opening counts for, which may have to be made first.
    pub opening_cost: u64,
    /// Bytes of one answer.
    pub answer_bytes_max: usize,
    /// Documents that clients can name by their hash, as Apollo's persisted queries.
    pub persisted_max: usize,
    /// Clients that follow subscriptions at the same time.
    pub subscribers_max: usize,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    /// How long a subscriber may take to accept one message.
    pub stall_max: Duration,
    /// Memory for opened batches, in bytes, shared by all requests.
    pub batches_cache_max: usize,
    /// Openings that are made at the same time; each keeps a processor busy for up to seconds.
    pub openings_at_once_max: usize,
    /// Memory for openings, in bytes, shared by all requests.
    pub openings_cache_max: usize,
    /// What the server calls its version.
    pub version: String,
    /// Origins whose pages may ask; `*` for all.
    pub cors_origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests_max: 16,
            requests_waiting_max: 256,
            request_timeout: Duration::from_secs(30),
            document_bytes_max: 128 << 10,
            document_tokens_max: 10_000,
            document_nesting_max: 64,
            depth_max: 32,
            fields_max: 5_000,
            aliases_max: 100,
            complexity_max: 200_000,
            heavy_cost: 20,
            opening_cost: 2_000,
            answer_bytes_max: 64 << 20,
            persisted_max: 1_000,
            subscribers_max: 1_000,
            subscriptions_max: 32,
            stall_max: Duration::from_secs(10),
            batches_cache_max: 64 << 20,
            openings_at_once_max: 1,
            openings_cache_max: 8 << 20,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cors_origins: Vec::new(),
        }
    }
}
