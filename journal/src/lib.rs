//! The journal: the event log, cut into sealed batches that never change.
//!
//! **Takes** records of the event log, in the order of their partition.
//! **Gives** sealed batches on object storage: the verbatim bytes of consecutive events of one partition with their
//! duplicates removed, numbered from 0 without a gap, each carrying the hash of the one before it and the Merkle root of
//! its events. `docs/journal.md` describes every byte.
//! **Promise**: an accepted event is in exactly one batch; a batch, once written, never changes; of several sealers of one
//! partition exactly one writes each sequence number; a record is released from the log only after the batch that holds
//! it is durable.
//! **On failure**: a [`JournalError`], whose kind says what to do. A store that cannot be written stops nothing but
//! progress: the log keeps the records. A gap or a damaged record stops its partition and names it; others go on.

mod background;
pub mod batch;
pub mod error;
pub mod gap;
pub mod genesis;
pub mod header;
pub mod idlist;
pub mod merkle;
pub mod metrics;
pub mod placement;
pub mod sealer;
pub mod seen;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod storage;
pub mod store;

pub use batch::{Contents, SealedBatch};
pub use error::{Damage, JournalError};
pub use genesis::{DeploymentId, Genesis};
pub use header::Header;
pub use metrics::Metrics;
pub use sealer::{PartitionState, Sealer};
pub use seen::SeenIndex;
pub use settings::Settings;
pub use store::Journal;
