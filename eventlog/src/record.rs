//! Records: what is appended, and what is read back.

use bytes::Bytes;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};
use tributary_schemas::units::{Hash, keccak256_of};

use crate::error::LogError;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Decides the partition; records of one key stay in order.
    pub key: Bytes,
    /// The protobuf bytes of an event, kept verbatim.
    pub value: Bytes,
}

impl Record {
    /// The longest key, in bytes.
    pub const KEY_BYTES_MAX: usize = u16::MAX as usize;
    /// The longest value, in bytes: four times the JSON of the largest event.
    pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

    /// The bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// The records of one append, each with the partition of its key, and their bytes.
///
/// # Errors
/// [`LogError::Reject`] for a record that no log takes, and for more than `bytes_max` together.
pub(crate) fn place(
    records: Vec<Record>,
    partitions: PartitionCount,
    bytes_max: usize,
) -> Result<(Vec<(Partition, Record)>, usize), LogError> {
    let reject = |reason: String| Err(LogError::Reject { reason });
    let mut bytes = 0_usize;
    let mut placed = Vec::with_capacity(records.len());
    for record in records {
        if record.key.len() > Record::KEY_BYTES_MAX || record.value.len() > Record::VALUE_BYTES_MAX {
            return reject(format!("a record has {} bytes of key and {} of value", record.key.len(), record.value.len()));
        }
        bytes += record.bytes();
        placed.push((partitions.partition_of(&record.key), record));
    }
    if bytes > bytes_max {
        return reject(format!("an append has {bytes} bytes, more than {bytes_max}"));
    }
    Ok((placed, bytes))
}

/// A record as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRecord {
    /// Its place in its partition.
    pub offset: Offset,
    /// As it was appended.
    pub key: Bytes,
    /// As it was appended, byte by byte.
    pub value: Bytes,
}

impl LoggedRecord {
    /// The bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }

    /// `keccak256(u32be(key length) ‖ key ‖ value)`: by it a reader knows the record again.
    pub fn hash(&self) -> Hash {
        let length = u32::try_from(self.key.len()).expect("a key is at most 65,535 bytes");
        keccak256_of(&[&length.to_be_bytes(), &self.key, &self.value])
    }
}

/// Which offsets of a partition can be read: `earliest <= offset < next`. Equal: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first record still held.
    pub earliest: Offset,
    /// Where the next record will be.
    pub next: Offset,
}

impl Bounds {
    /// Whether no record is held.
    pub fn is_empty(&self) -> bool {
        self.earliest == self.next
    }

    /// How many records are held.
    pub fn records(&self) -> u64 {
        self.next.get() - self.earliest.get()
    }
}
