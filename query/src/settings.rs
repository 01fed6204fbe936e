//! The limits of a query, each by name.

use std::path::PathBuf;
use std::time::Duration;

/// What one query, and all of them together, may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a query may take from admission to the last row, planning and streaming included.
    pub query_timeout: Duration,
    /// Memory of one query's operators, in bytes. Beyond it they spill to disk or the query ends.
    pub query_memory_max: usize,
    /// Disk that one query may spill to, in bytes.
    pub query_spill_max: u64,
    /// Where queries spill; the system's folder for temporary files when absent.
    pub spill_dir: Option<PathBuf>,
    /// Rows that one answer may have.
    pub rows_max: u64,
    /// Queries that run at the same time.
    pub queries_max: usize,
    /// Queries that wait for their turn; the next is told to come back later.
    pub queries_waiting_max: usize,
    /// Threads that run queries, and the partitions of one plan.
    pub threads: usize,
    /// Bytes of SQL text in one request.
    pub sql_bytes_max: usize,
    /// Tokens (words, literals, signs) of SQL text in one request.
    pub sql_tokens_max: usize,
    /// Bytes of one request's body.
    pub request_bytes_max: usize,
    /// Memory for the footers of Parquet files, in bytes, shared by all queries.
    pub file_footers_max: usize,
    /// Memory for the headers of sealed batches that `batches` reads, in bytes, shared by all queries.
    pub headers_cache_max: usize,
    /// Bytes of events in batches that are sealed and not yet indexed, which queries read from the journal.
    pub tail_bytes_max: usize,
    /// Memory for the index of places, in bytes: about 70 for each event (and 40 while it is built at a start). A record
    /// that needs more is read without it; 0: none.
    pub index_bytes_max: usize,
    /// Memory for the trees of closed epochs, in bytes.
    pub trees_cache_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            query_timeout: Duration::from_secs(30),
            query_memory_max: 256 << 20,
            query_spill_max: 4 << 30,
            spill_dir: None,
            rows_max: 10_000_000,
            queries_max: 4,
            queries_waiting_max: 64,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            sql_bytes_max: 128 << 10,
            sql_tokens_max: 10_000,
            request_bytes_max: 1 << 20,
            file_footers_max: 64 << 20,
            headers_cache_max: 32 << 20,
            tail_bytes_max: 32 << 20,
            index_bytes_max: 512 << 20,
            trees_cache_max: 128 << 20,
        }
    }
}
