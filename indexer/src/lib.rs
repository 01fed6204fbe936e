//! The indexer: sealed batches into Delta tables, and the lake that settlement and queries share.
//!
//! **Takes** sealed batches of the journal, in the order of their partition; from settlement, rows it computed.
//! **Gives** the tables of the lake under `lake/<table>/` on the object store: Parquet files and a Delta log that DuckDB,
//! Spark, Trino, Polars and pandas read; snapshots of them; and the indexed cut, which every table of events has.
//! **Promise**: every event of the indexed cut is in its tables exactly once, whatever crashed on the way: rows and the
//! transaction that names their batches are one commit, and a commit is one put-if-absent. Any byte that differs from what
//! was written is found. `docs/lake.md` describes the layout.
//! **On failure**: an [`Error`], whose [`Error::kind`] says what to do. A store that does not answer stops nothing but
//! progress. A damaged batch stops its partition, a damaged table the indexer, and names the object; the tables can be rebuilt
//! from the journal.

pub mod check;
mod checkpoint;
mod commit;
mod compactor;
mod damages;
mod data_file;
mod digests;
pub mod error;
pub mod indexer;
pub mod lake;
mod log;
pub mod metrics;
mod pause;
mod round;
pub mod rows;
pub mod settings;
mod state;
mod stats;
mod sweeper;
#[cfg(test)]
mod tests;

pub use error::{Error, Kind, Result};
pub use indexer::{IndexedCut, Indexer, Trouble};
pub use lake::{Appended, Compacted, Difference, Lake, LakeFile, RowRange, Snapshot};
pub use metrics::{Metrics, RoundMetrics, TableLabel};
pub use rows::rows_of;
pub use settings::{LakeSettings, Settings};
