//! The event log: where an event is durable first, and where the sealer reads it back in order.
//!
//! **Takes** records (a key and the bytes of an event), in any number of concurrent appends.
//! **Gives** each record a place, its partition and offset, and reads partitions back from any offset still held.
//! **Promise**: a record is durable before its append answers; the records of one partition have dense, ascending
//! offsets; records of one key keep the order in which they were appended; nothing is forgotten that was not released.
//! **On failure**: a [`LogError`] whose kind says what the caller must do. After an error of an append, some of its records
//! may have been recorded: sending them again is safe, for the sealer removes duplicates.

pub mod conformance;
pub mod embedded;
pub mod error;
pub mod folder;
pub mod jitter;
pub mod kafka;
pub mod metrics;
pub mod record;
pub mod settings;
pub mod share;

use std::sync::Arc;

use async_trait::async_trait;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

pub use embedded::EmbeddedLog;
pub use error::LogError;
pub use jitter::Jitter;
pub use kafka::KafkaLog;
pub use metrics::Metrics;
pub use record::{Bounds, LoggedRecord, Record};
pub use settings::Settings;
pub use share::{Alone, Share};

/// A partitioned log of records. Every backend passes [`conformance::run`].
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// How many partitions the log has. It never changes.
    fn partition_count(&self) -> PartitionCount;

    /// Appends records, each to the partition of its key ([`PartitionCount::partition_of`]), and returns once all of them
    /// are durable. Records of one key keep their order, within a call and between calls that follow each other.
    ///
    /// On an error some of the records may have been recorded; appending all of them again is safe. Dropping the future
    /// does not take the records back.
    ///
    /// # Errors
    /// [`LogError::Retry`] when the log cannot write now (a full disk), [`LogError::Reject`] for a record that no log
    /// could hold, [`LogError::Corrupt`] and [`LogError::Closed`].
    async fn append(&self, records: Vec<Record>) -> Result<(), LogError>;

    /// The offsets that can be read.
    ///
    /// # Errors
    /// [`LogError::Reject`] for a partition that the log does not have, [`LogError::Closed`], and [`LogError::Retry`]
    /// when a remote backend does not answer.
    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError>;

    /// Reads consecutive records from `from` on, together at most `max_bytes` of keys and values, but at least one record if
    /// there is one. Empty when `from` is the next offset. Only durable records are given.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `from` lies before the earliest or after the next offset; [`LogError::Corrupt`] when
    /// a record between those is missing or damaged; [`LogError::Interrupted`] when this read was to go on where another
    /// ended, but the log may have been replaced in between; [`LogError::Retry`], [`LogError::Closed`].
    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError>;

    /// Returns once the partition's next offset is greater than `offset`, that is, once the record at `offset` can be read.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`LogError::Reject`] for a partition that the log does not have, [`LogError::Interrupted`] as for a read, and
    /// [`LogError::Closed`].
    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError>;

    /// Says that the records before `before` are sealed and synced, and may be forgotten. The last record before it is
    /// kept, for the reader's check that nothing is missing. Releasing what is released already changes nothing. The log
    /// may keep released records for a while, and may show them again after it was reopened.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `before` lies after the next offset: nothing is released then; [`LogError::Reject`]
    /// for a partition that the log does not have; [`LogError::Closed`].
    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError>;

    /// Says that this process reads the partition no more: what was fetched of it and not read yet may go. Whoever reads it again
    /// begins as with a log that was opened just now.
    fn forget(&self, _partition: Partition) {}

    /// Why an append would fail now, as far as is known without one; `None` while appends are taken.
    fn trouble(&self) -> Option<LogError> {
        None
    }
}

#[async_trait]
impl<L: EventLog + ?Sized> EventLog for Arc<L> {
    fn partition_count(&self) -> PartitionCount {
        (**self).partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        (**self).append(records).await
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        (**self).bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        (**self).read(partition, from, max_bytes).await
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        (**self).wait_beyond(partition, offset).await
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        (**self).release(partition, before).await
    }

    fn forget(&self, partition: Partition) {
        (**self).forget(partition);
    }

    fn trouble(&self) -> Option<LogError> {
        (**self).trouble()
    }
}
