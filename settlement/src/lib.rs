//! Settlement: closes epochs, shares their fees out exactly, and proves it.
//!
//! **Takes** what a cut covers: the tables of events at the cut, and the record of the epoch.
//! **Gives** reward lines, rewards, what every account has earned so far, one Merkle root and one published manifest per epoch;
//! `verify`, which recomputes everything from the batches on a way of its own; `rebuild`, which recreates all tables, from the
//! journal or from blobs alone.
//! **Promise**: the rewards of an epoch add up to the fees of its settled inferences, to the wei; an inference is settled
//! in one epoch only; the same record and batches give the same tables on any machine, with any partition count, however
//! often and by however many jobs at once it is computed.
//! **On failure**: a [`SettlementError`], whose kind says what to do. Until the record of an epoch is written nothing has
//! happened; after that, whatever was interrupted is completed by the next job.

pub mod allocate;
mod compute;
mod due;
pub mod epoch;
pub mod error;
pub mod invariant;
pub mod ledger;
mod manifests;
pub mod metrics;
mod parts;
pub mod progress;
pub mod rebuild;
pub mod record;
pub mod records;
pub mod replay;
pub mod settings;
mod tables;
#[cfg(test)]
mod tests;
pub mod verify;

pub use epoch::{SettleOutcome, SettleRequest, Settlement, Stages};
pub use error::{Difference, SettlementError};
pub use invariant::Invariant;
pub use ledger::{Cumulative, EpochRow};
pub use manifests::publish_manifests;
pub use metrics::Metrics;
pub use progress::{Progress, Silent};
pub use rebuild::{BlobSource, RebuildReport, rebuild_from_da, rebuild_from_journal};
pub use record::EpochRecord;
pub use settings::Settings;
pub use verify::{EventQuery, Report, Sources, VerifyRequest, verify};
