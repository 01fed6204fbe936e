//! Where the records of epochs lie: `settlement/epochs/0000000001.json` and so on, each written once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use rand::RngExt;
use tributary_journal::placement::{self, Placed, place};
use tributary_schemas::ids::Epoch;

use crate::error::SettlementError;
use crate::metrics::Metrics;
use crate::record::EpochRecord;

/// The folder of the records.
pub const FOLDER: &str = "settlement/epochs";

/// How often a write is tried when the store does not answer.
const ATTEMPTS_MAX: u32 = 6;
/// The longest pause between attempts; the first is a 32nd of it.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Records that are read at the same time.
const READS_AT_ONCE: usize = 16;

/// The object of an epoch's record.
pub fn path(epoch: Epoch) -> Path {
    Path::from(format!("{FOLDER}/{:010}.json", epoch.get()))
}

/// The records of one store.
#[derive(Clone, Debug)]
pub struct EpochRecords {
    store: Arc<dyn ObjectStore>,
    metrics: Metrics,
}

/// How the write of a record ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The record lies there, and it is ours: the epoch is closed by it.
    Won,
    /// Another job's record lies there: the epoch is closed by that one.
    Lost(EpochRecord),
}

impl EpochRecords {
    /// The records of this store.
    pub fn new(store: Arc<dyn ObjectStore>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// All records in the order of their epochs, each checked, and checked to follow the one before it.
    ///
    /// # Errors
    /// `Difference` naming a record that is missing in the middle, damaged, or does not follow; `Retry` if the store does
    /// not answer.
    pub async fn load(&self) -> Result<Vec<EpochRecord>, SettlementError> {
        let latest = self.latest().await?;
        let numbers = 1..=latest.map_or(0, Epoch::get);
        let reads = numbers.filter_map(Epoch::new).map(|epoch| async move {
            let found = self.get(epoch).await?;
            found.ok_or_else(|| {
                SettlementError::difference(path(epoch).to_string(), "the record is missing, though a later one is there")
            })
        });
        let records: Vec<EpochRecord> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        let mut previous = None;
        for record in &records {
            let follows = record.check_follows(previous);
            follows.map_err(|what| SettlementError::difference(path(record.number).to_string(), what))?;
            previous = Some(record);
        }
        Ok(records)
    }

    /// The record of an epoch, if it is closed.
    ///
    /// # Errors
    /// `Difference` if it is damaged or lies under another's name; `Retry` if the store does not answer.
    pub async fn get(&self, epoch: Epoch) -> Result<Option<EpochRecord>, SettlementError> {
        let Some(bytes) = self.bytes(epoch).await? else { return Ok(None) };
        decode(epoch, &bytes).map(Some)
    }

    /// How many epochs are closed after this one, by the names of their records.
    ///
    /// # Errors
    /// `Retry` if the store does not answer.
    pub async fn closed_after(&self, epoch: Option<Epoch>) -> Result<u64, SettlementError> {
        let number = |epoch: Option<Epoch>| epoch.map_or(0, Epoch::get);
        Ok(number(self.latest().await?).saturating_sub(number(epoch)))
    }

    /// Closes the epoch: writes its record unless there is one, by the rule of [`placement::place`]. When it returns, the
    /// record that lies there is durable.
    ///
    /// # Errors
    /// `Retry` if the store does not answer within the attempts allowed: the epoch may or may not be closed. `Difference`
    /// if what lies there is no record.
    pub async fn put(&self, record: &EpochRecord) -> Result<Written, SettlementError> {
        let (name, bytes) = (path(record.number), record.encode());
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                self.metrics.record_retries.inc();
                tokio::time::sleep(pause(attempt)).await;
            }
            match place(&*self.store, &name, &bytes).await {
                Ok(Placed::Ours) => return Ok(Written::Won),
                Ok(Placed::Theirs(found)) => return decode(record.number, &found).map(Written::Lost),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(SettlementError::retry(format!("writing {name}"), reason))
    }

    /// The greatest number among the records. Objects of other names are none of ours.
    async fn latest(&self) -> Result<Option<Epoch>, SettlementError> {
        let mut objects = self.store.list(Some(&Path::from(FOLDER)));
        let mut latest = None;
        while let Some(object) = objects.try_next().await.map_err(|e| SettlementError::retry(format!("listing {FOLDER}"), e))? {
            let number = object.location.filename().and_then(|name| name.strip_suffix(".json")).and_then(|n| n.parse().ok());
            latest = latest.max(number.filter(|number| path(*number) == object.location));
        }
        Ok(latest)
    }

    async fn bytes(&self, epoch: Epoch) -> Result<Option<Bytes>, SettlementError> {
        let name = path(epoch);
        placement::read(&*self.store, &name).await.map_err(|error| SettlementError::retry(format!("reading {name}"), error))
    }
}

fn decode(epoch: Epoch, bytes: &[u8]) -> Result<EpochRecord, SettlementError> {
    let name = || path(epoch).to_string();
    let record = EpochRecord::decode(bytes).map_err(|e| SettlementError::difference(name(), e.to_string()))?;
    if record.number != epoch {
        return Err(SettlementError::difference(name(), format!("it is the record of epoch {}", record.number)));
    }
    Ok(record)
}

/// Doubles from attempt to attempt, with jitter, so that jobs that failed together do not try together.
fn pause(attempt: u32) -> Duration {
    let base = PAUSE_MAX / 32 * (1 << attempt.min(5));
    base.mul_f64(rand::rng().random_range(0.5..1.0))
}
