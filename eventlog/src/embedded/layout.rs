//! How records lie in RocksDB.
//!
//! | key | value |
//! |---|---|
//! | `00` "format" | format version, u32 big-endian |
//! | `00` "partitions" | partition count, u32 big-endian |
//! | `01` partition u32be | the earliest offset still held, u64 big-endian; for an empty partition also its next offset |
//! | `02` partition u32be, offset u64be | key length u16be, key, value |

use bytes::Bytes;
use tributary_schemas::ids::{Offset, Partition};

use crate::record::Record;

/// The version of this layout.
pub const FORMAT: u32 = 1;
/// Where the format version is kept.
pub const FORMAT_KEY: &[u8] = b"\x00format";
/// Where the partition count is kept.
pub const PARTITIONS_KEY: &[u8] = b"\x00partitions";

const RECORD_KEY_BYTES: usize = 13;

/// Where a partition's earliest offset is kept.
pub fn earliest_key(partition: Partition) -> [u8; 5] {
    let mut key = [1; 5];
    key[1..].copy_from_slice(&partition.get().to_be_bytes());
    key
}

/// Where a record is kept; keys sort by partition, then by offset.
pub fn record_key(partition: Partition, offset: Offset) -> [u8; RECORD_KEY_BYTES] {
    let mut key = [2; RECORD_KEY_BYTES];
    key[1..5].copy_from_slice(&partition.get().to_be_bytes());
    key[5..].copy_from_slice(&offset.get().to_be_bytes());
    key
}

/// The offset in a record's key, if the key is one of this partition.
pub fn offset_of(key: &[u8], partition: Partition) -> Option<Offset> {
    let (head, offset) = key.split_last_chunk::<8>()?;
    let own = head.len() == 5 && head[0] == 2 && head[1..] == partition.get().to_be_bytes();
    own.then(|| Offset::new(u64::from_be_bytes(*offset))).flatten()
}

/// Writes a record's stored form over `out`. The key is at most [`Record::KEY_BYTES_MAX`] long.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let length = u16::try_from(record.key.len()).expect("an append checks the length of its keys");
    out.clear();
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&record.key);
    out.extend_from_slice(&record.value);
}

/// Key and value in a record's stored form; `None` if it is none.
pub fn decode(stored: &Bytes) -> Option<(Bytes, Bytes)> {
    let length = usize::from(u16::from_be_bytes(*stored.first_chunk::<2>()?));
    (stored.len() >= 2 + length).then(|| (stored.slice(2..2 + length), stored.slice(2 + length..)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_sort_by_partition_and_offset_and_give_the_offset_back() {
        let key = |p, o| record_key(Partition::new(p).unwrap(), Offset::new(o).unwrap());
        assert!(key(0, 255) < key(0, 256) && key(0, u64::MAX >> 1) < key(1, 0) && key(255, 9) < key(256, 0));
        assert_eq!(offset_of(&key(3, 77), Partition::new(3).unwrap()), Offset::new(77));
        assert_eq!(offset_of(&key(3, 77), Partition::new(4).unwrap()), None);
        assert_eq!(offset_of(FORMAT_KEY, Partition::new(0).unwrap()), None);
    }

    #[test]
    fn a_record_is_read_back_and_a_cut_one_is_not() {
        let mut stored = Vec::new();
        for (k, v) in [("", ""), ("key", ""), ("", "value"), ("key", "value")] {
            encode(&Record { key: Bytes::from(k), value: Bytes::from(v) }, &mut stored);
            assert_eq!(decode(&Bytes::copy_from_slice(&stored)), Some((Bytes::from(k), Bytes::from(v))));
        }
        assert_eq!(decode(&Bytes::copy_from_slice(&stored[..4])), None);
        assert_eq!(decode(&Bytes::from_static(b"\x00")), None);
    }
}
