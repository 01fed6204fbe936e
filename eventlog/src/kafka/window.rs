//! What is fetched of one partition, from where its reader is.

use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use tokio::time::Duration;
use tributary_schemas::ids::{Offset, Partition};

use super::disturbances::Context;
use crate::record::LoggedRecord;

/// What is fetched of a partition.
#[derive(Default)]
pub(super) struct Window {
    /// Where the client library puts what it fetches.
    queue: Option<PartitionQueue<Context>>,
    /// The offset of the record that comes next; `None` while nothing is fetched.
    pub(super) position: Option<i64>,
    /// That record, if it was taken from the queue already.
    pub(super) ahead: Option<LoggedRecord>,
    /// The brokers had nothing more at this offset.
    pub(super) end: Option<i64>,
    /// The queue went on without the record at the first offset, at the second.
    pub(super) hole: Option<(i64, i64)>,
    /// How many disturbances there had been when it came here; `None` after one of its own.
    pub(super) disturbances: Option<u64>,
    pub(super) is_assigned: bool,
}

impl Window {
    /// Takes what is fetched from nowhere until it has another queue. Dropping a queue takes its callback off, even if another handle to
    /// it has one: so this comes first.
    pub(super) fn turn_away(&mut self) {
        self.queue = None;
    }

    /// Takes what is fetched from this queue.
    pub(super) fn turn_to(&mut self, queue: PartitionQueue<Context>) {
        self.queue = Some(queue);
    }

    /// The next record, if it is fetched already.
    pub(super) fn next(&mut self, partition: Partition) -> Option<LoggedRecord> {
        if let Some(ahead) = self.ahead.take() {
            return Some(ahead);
        }
        while let Some(at) = self.position {
            let message = match self.queue.as_ref()?.poll(Duration::ZERO) {
                None => return None,
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.end = self.position;
                    continue;
                }
                Some(Err(error)) => {
                    tracing::warn!(%partition, %error, "Kafka");
                    if is_of_offset(&error) {
                        self.disturbances = None;
                        return None;
                    }
                    continue;
                }
            };
            if message.offset() < at {
                continue;
            }
            if message.offset() > at {
                // Probably fetched before the window came here: it comes here once more.
                (self.hole, self.position) = (Some((at, message.offset())), None);
                return None;
            }
            let Some(record) = record_of(&message) else { continue };
            self.position = Some(at + 1);
            return Some(record);
        }
        None
    }

    /// Gives back what it holds. It is where nothing is fetched then.
    pub(super) fn empty(&mut self) {
        (self.position, self.ahead, self.end, self.hole, self.disturbances) = (None, None, None, None, None);
        self.is_assigned = false;
        // What was fetched and not dropped by the client library itself.
        while self.queue.as_ref().is_some_and(|queue| queue.poll(Duration::ZERO).is_some()) {}
    }

    /// Puts the record back that was given last.
    pub(super) fn put_back(&mut self, record: LoggedRecord) {
        self.ahead = Some(record);
    }

    /// The offset of the record that [`Self::next`] gives.
    pub(super) fn at(&self) -> Option<i64> {
        self.ahead.as_ref().map(|record| signed(record.offset)).or(self.position)
    }
}

/// Whether nothing more is fetched, for the offset is not there.
fn is_of_offset(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::LogTruncation)
    )
}

fn record_of(message: &BorrowedMessage<'_>) -> Option<LoggedRecord> {
    let offset = u64::try_from(message.offset()).ok().and_then(Offset::new)?;
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    // One allocation for both.
    let mut key_and_value = Vec::with_capacity(key.len() + value.len());
    key_and_value.extend_from_slice(key);
    key_and_value.extend_from_slice(value);
    let mut key_and_value = Bytes::from(key_and_value);
    let key = key_and_value.split_to(key.len());
    Some(LoggedRecord { offset, key, value: key_and_value })
}

pub(super) fn signed(offset: Offset) -> i64 {
    i64::try_from(offset.get()).unwrap_or(i64::MAX)
}

pub(super) fn number(partition: Partition) -> i32 {
    i32::try_from(partition.index()).expect("a partition count fits")
}
