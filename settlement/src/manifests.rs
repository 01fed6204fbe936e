//! The manifests of closed epochs: from the certificate of one, everything up to it can be rebuilt.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tributary_da::manifest::{Closed, Closing};
use tributary_da::{DaError, Manifests};
use tributary_query::Engine;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::Hash;

use crate::epoch::{Stages, read_row};
use crate::error::SettlementError;
use crate::metrics::Metrics;
use crate::record::EpochRecord;
use crate::records::EpochRecords;

/// Publishes the manifests of closed epochs.
pub(crate) struct EpochManifests {
    manifests: Manifests,
    engine: Arc<Engine>,
    wait_max: Duration,
}

/// Publishes the manifests of all closed epochs that lack one, in order: of a record whose blobs were published anew. The tables
/// must be complete. `wait_max` bounds the wait for all of them together.
///
/// # Errors
/// As those of [`crate::Settlement::settle`] about manifests.
pub async fn publish_manifests(stages: &Stages, manifests: Manifests, wait_max: Duration) -> Result<(), SettlementError> {
    let records = EpochRecords::new(Arc::clone(&stages.store), Metrics::default()).load().await?;
    EpochManifests::new(manifests, Arc::clone(&stages.engine), wait_max).complete(&records).await
}

impl EpochManifests {
    pub(crate) fn new(manifests: Manifests, engine: Arc<Engine>, wait_max: Duration) -> Self {
        Self { manifests, engine, wait_max }
    }

    /// Publishes what is missing of the manifests of these epochs, which are all that are closed, in order.
    ///
    /// They are published one after the other, so all before the last that has a page are complete.
    pub(crate) async fn complete(&self, records: &[EpochRecord]) -> Result<(), SettlementError> {
        let deadline = Instant::now() + self.wait_max;
        let done = match self.manifests.records().latest().await? {
            Some(latest) if latest.last => Some(latest.epoch),
            Some(latest) => latest.epoch.previous(),
            None => None,
        };
        let first = records.partition_point(|record| Some(record.number) <= done);
        for (i, record) in records.iter().enumerate().skip(first) {
            let root = match records.get(i + 1) {
                Some(next) => next.previous_root,
                None => self.root_of(record).await?,
            };
            let none = Cut::empty();
            let before = i.checked_sub(1).map_or(&none, |before| &records[before].cut);
            let closed = Closed { epoch: record.number, after: before, cut: &record.cut, closing: self.closing(record, root) };
            self.manifests.publish(closed, deadline).await.map_err(|error| pending(record.number, error))?;
        }
        Ok(())
    }

    /// The certificate of an epoch's manifest as 0x text.
    pub(crate) async fn certificate(&self, epoch: Epoch) -> Result<Option<String>, SettlementError> {
        let last = self.manifests.records().last_page(epoch).await?;
        Ok(last.map(|record| format!("0x{:x}", record.certificate.bytes)))
    }

    fn closing(&self, record: &EpochRecord, root: Hash) -> Closing {
        Closing { genesis: self.manifests.genesis(), epoch_record: text_of(record), root }
    }

    async fn root_of(&self, record: &EpochRecord) -> Result<Hash, SettlementError> {
        let session = self.engine.session_unlimited(&record.cut).await?;
        let row = read_row(&session, record.number).await?;
        let missing = || SettlementError::difference("table epochs", format!("it has no row for epoch {}", record.number));
        Ok(row.ok_or_else(missing)?.root)
    }
}

/// The record of an epoch as it lies in the store.
pub(crate) fn text_of(record: &EpochRecord) -> String {
    String::from_utf8(record.encode().into()).expect("a record is JSON, which is text")
}

/// The epoch is closed whatever kept its manifest from being certified; only damage is something else.
fn pending(epoch: Epoch, error: DaError) -> SettlementError {
    match error {
        DaError::Journal(_) => error.into(),
        damage if damage.is_damage() => damage.into(),
        cause => SettlementError::ManifestPending { epoch, cause: cause.to_string() },
    }
}
