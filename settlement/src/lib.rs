//! Settlement: closes epochs, shares their fees out exactly, and proves it.
//!
//! **Takes** what a cut covers: the tables of events at the cut, and the record of the epoch.
//! **Gives** reward lines, rewards, what every account has earned so far, and one Merkle root per epoch; `verify`, which
//! recomputes everything from the batches on a way of its own; `rebuild`, which recreates all tables.
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

pub use epoch::{SettleOutcome, SettleRequest, Settlement};
pub use error::{Difference, SettlementError};
pub use invariant::Invariant;
pub use ledger::{Cumulative, EpochRow};
pub use metrics::Metrics;
pub use progress::{Progress, Silent};
pub use rebuild::{RebuildReport, rebuild_from_journal};
pub use record::EpochRecord;
pub use settings::Settings;
pub use verify::{EventQuery, Report, Sources, VerifyRequest, verify};
