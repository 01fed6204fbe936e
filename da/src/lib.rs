//! Data availability: every sealed batch, published where others can get it, with a certificate.
//!
//! **Takes** sealed batches from the journal.
//! **Gives** blobs: runs of consecutive batches of one partition, published through a [`DaClient`], each with one recorded
//! certificate; manifests of epochs, published likewise; and, from certificates alone, the batches again, from that of a manifest
//! everything before it. `docs/da.md` describes every byte.
//! **Promise**: the recorded blobs of a partition tile its sequence without gap or overlap; a batch is under exactly one
//! recorded certificate; a certificate is recorded only after its payload lay in the archive, was read back once and found
//! equal. A crash anywhere, or a second publisher, changes none of this.
//! **On failure**: a [`DaError`], whose kind says what to do. A backend that does not answer stops nothing but progress: the
//! journal keeps the batches. A damaged record stops its partition and names it; others go on.

pub mod archive;
pub mod blob;
pub mod bundle;
mod canonical;
pub mod certificates;
pub mod check;
pub mod client;
mod committed;
pub mod committer;
pub mod conformance;
pub mod dispersal;
pub mod eigenda;
pub mod error;
pub mod failover;
pub mod faulty;
pub mod fetch;
mod gauges;
pub mod genesis;
mod lane;
pub mod listed;
pub mod local;
pub mod manifest;
pub mod metrics;
pub mod names;
pub mod outbox;
mod placement;
pub mod plan;
pub mod proof;
pub mod publisher;
pub mod record;
pub mod recover;
pub mod restore;
mod retry;
pub mod settings;
pub mod witness;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use archive::Archive;
pub use canonical::parse_hex;
pub use certificates::Certificates;
pub use client::{Certificate, DaClient, Wanted};
pub use committed::committed;
pub use committer::{BlobCommitment, Committer};
pub use dispersal::Dispersal;
pub use eigenda::{EigenDa, EigenDaSettings};
pub use error::DaError;
pub use failover::{Failover, FailoverSettings};
pub use faulty::FaultyDa;
pub use fetch::fetch;
pub use lane::LaneState;
pub use listed::{Blobs, ListedBlob};
pub use local::LocalDa;
pub use manifest::{ManifestRecord, Manifests};
pub use metrics::{BackendMetrics, Metrics};
pub use outbox::{Outbox, OutboxSettings, PublisherId};
pub use plan::Plan;
pub use proof::{EventProof, ProofError};
pub use publisher::Publisher;
pub use record::BlobRecord;
pub use settings::Settings;
pub use witness::{FromArchive, Witness};
