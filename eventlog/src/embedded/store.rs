//! The RocksDB database of the log: opening, one durable write, reading, deleting.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Direction, ErrorKind, IteratorMode};
use rocksdb::{Options, ReadOptions, WriteBatch, WriteOptions};
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use super::layout;
use crate::error::LogError;
use crate::folder;
use crate::record::{Bounds, LoggedRecord};
use crate::settings::Settings;

/// Bytes of blocks read from disk that stay in memory.
const BLOCK_CACHE_BYTES: usize = 8 << 20;
/// Reads of a backlog fetch this much at once.
const READ_AHEAD_BYTES: usize = 1 << 20;
/// Table files kept open.
const OPEN_FILES_MAX: i32 = 128;
/// RocksDB's own diagnostic log: two files of at most this size.
const INFO_LOG_BYTES_MAX: usize = 1 << 20;

/// An open database whose format and partition count have been checked.
pub struct Store {
    db: DB,
    dir: PathBuf,
}

impl Store {
    /// Opens the log in `dir`, or creates it, each partition beginning at the offset that `start` gives.
    ///
    /// # Errors
    /// [`LogError::InUse`], [`LogError::Reject`] for another format or partition count, [`LogError::Exists`] for a log that
    /// was to be new, [`LogError::Retry`] for a full disk, [`LogError::Corrupt`].
    pub fn open(dir: &Path, partitions: PartitionCount, settings: &Settings, birth: &Birth) -> Result<Self, LogError> {
        folder::create(dir).map_err(|e| retry(dir, &e))?;
        let options = options(settings).map_err(|e| classify(dir, &e))?;
        let db = DB::open(&options, dir).map_err(|e| classify(dir, &e))?;
        let store = Self { db, dir: dir.to_path_buf() };
        if store.is_new()? {
            store.create(partitions, birth)?;
        } else if matches!(birth, Birth::New(_)) {
            return Err(LogError::Exists { dir: dir.to_path_buf() });
        }
        store.check(partitions)?;
        Ok(store)
    }

    /// Writes all of `batch` durably, or reports that it may be lost.
    pub fn write_durably(&self, batch: WriteBatch) -> Result<(), LogError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|e| classify(&self.dir, &e))
    }

    /// What the partition holds.
    pub fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        let earliest = self.number(&layout::earliest_key(partition))?.and_then(Offset::new);
        let earliest = earliest.ok_or_else(|| self.corrupt(&format!("partition {partition} has no earliest offset")))?;
        let end = layout::record_key(partition, Offset::MAX);
        let last = self.db.iterator(IteratorMode::From(&end, Direction::Reverse)).next().transpose();
        let last = last.map_err(|e| classify(&self.dir, &e))?.and_then(|(key, _)| layout::offset_of(&key, partition));
        let next = last.map_or(earliest, Offset::next);
        if next < earliest {
            return Err(self.corrupt(&format!("partition {partition} ends at {next}, before its earliest offset {earliest}")));
        }
        Ok(Bounds { earliest, next })
    }

    /// Reads from `range.earliest` on, up to `range.next`, at most `max_bytes` but at least one record.
    pub fn read(&self, partition: Partition, range: Bounds, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(layout::record_key(partition, range.next));
        options.set_readahead_size(READ_AHEAD_BYTES);
        options.fill_cache(false);
        let mut records = Vec::new();
        let (mut expected, mut bytes) = (range.earliest, 0);
        let start = layout::record_key(partition, range.earliest);
        let mut iterator = self.db.raw_iterator_opt(options);
        iterator.seek(start);
        while expected < range.next && bytes < max_bytes {
            let Some((key, stored)) = iterator.item() else { break };
            if layout::offset_of(key, partition) != Some(expected) {
                break;
            }
            if !records.is_empty() && bytes + stored.len().saturating_sub(2) > max_bytes {
                return Ok(records);
            }
            let (key, value) = layout::decode(&Bytes::copy_from_slice(stored))
                .ok_or_else(|| self.corrupt(&format!("record {expected} of partition {partition} is cut short")))?;
            bytes += key.len() + value.len();
            records.push(LoggedRecord { offset: expected, key, value });
            expected = expected.next();
            iterator.next();
        }
        iterator.status().map_err(|e| classify(&self.dir, &e))?;
        if expected < range.next && bytes < max_bytes {
            return Err(self.corrupt(&format!("record {expected} of partition {partition} is missing")));
        }
        Ok(records)
    }

    /// Deletes the records before `earliest`. Not synced: after a crash they may be there again.
    pub fn delete_before(&self, partition: Partition, earliest: Offset) -> Result<(), LogError> {
        let (from, to) = (layout::record_key(partition, Offset::FIRST), layout::record_key(partition, earliest));
        let mut batch = WriteBatch::default();
        batch.delete_range(from, to);
        batch.put(layout::earliest_key(partition), earliest.get().to_be_bytes());
        self.db.write(batch).map_err(|e| classify(&self.dir, &e))?;
        // Whole files go at once; the rest goes as memory is flushed and files are merged.
        self.db.delete_file_in_range(from, to).map_err(|e| classify(&self.dir, &e))
    }

    /// Gives the space of deleted records back now, at the price of writing what lies beside them once more.
    pub fn give_space_back(&self, partition: Partition, earliest: Offset) -> Result<(), LogError> {
        self.db.flush().map_err(|e| classify(&self.dir, &e))?;
        let (from, to) = (layout::record_key(partition, Offset::FIRST), layout::record_key(partition, earliest));
        self.db.compact_range(Some(from), Some(to));
        Ok(())
    }

    fn is_new(&self) -> Result<bool, LogError> {
        let first = self.db.iterator(IteratorMode::Start).next().transpose().map_err(|e| classify(&self.dir, &e))?;
        Ok(first.is_none())
    }

    fn create(&self, partitions: PartitionCount, birth: &Birth) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        batch.put(layout::FORMAT_KEY, layout::FORMAT.to_be_bytes());
        batch.put(layout::PARTITIONS_KEY, partitions.get().to_be_bytes());
        for partition in partitions.partitions() {
            batch.put(layout::earliest_key(partition), birth.start_of(partition).get().to_be_bytes());
        }
        self.write_durably(batch)
    }

    fn check(&self, partitions: PartitionCount) -> Result<(), LogError> {
        let reject = |reason: String| Err(LogError::Reject { reason: format!("the log in {} {reason}", self.dir.display()) });
        match self.number(layout::FORMAT_KEY)? {
            None => return reject("is another program's database: it has no format version".into()),
            Some(format) if format != u64::from(layout::FORMAT) => {
                return reject(format!("has format version {format}; this binary knows version {}", layout::FORMAT));
            }
            Some(_) => {}
        }
        match self.number(layout::PARTITIONS_KEY)? {
            Some(count) if count == u64::from(partitions.get()) => Ok(()),
            Some(count) => reject(format!("has {count} partitions, not {partitions}", partitions = partitions.get())),
            None => Err(self.corrupt("the partition count is missing")),
        }
    }

    /// A big-endian number of 4 or 8 bytes.
    fn number(&self, key: &[u8]) -> Result<Option<u64>, LogError> {
        let Some(stored) = self.db.get_pinned(key).map_err(|e| classify(&self.dir, &e))? else { return Ok(None) };
        if stored.len() > 8 {
            return Err(self.corrupt("a number has more than 8 bytes"));
        }
        Ok(Some(stored.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
    }

    fn corrupt(&self, what: &str) -> LogError {
        LogError::Corrupt { reason: format!("{what} (in {})", self.dir.display()) }
    }
}

/// How a log that does not exist yet begins.
pub enum Birth {
    /// Every partition at offset 0; an existing log is opened.
    Fresh,
    /// Each partition at the offset given; an existing log is refused.
    New(Vec<Offset>),
}

impl Birth {
    fn start_of(&self, partition: Partition) -> Offset {
        match self {
            Self::Fresh => Offset::FIRST,
            Self::New(starts) => starts.get(partition.index()).copied().unwrap_or(Offset::FIRST),
        }
    }
}

fn options(settings: &Settings) -> Result<Options, rocksdb::Error> {
    // Preallocation would take tens of megabytes of a small disk for an empty log.
    let mut options = Options::default().get_options_from_string("allow_fallocate=false")?;
    options.create_if_missing(true);
    // Every write is synced before it is answered, so a write that is cut short at the end of the last file was never
    // answered: it is left out. Any other damage lies in or before something that was, and opening is refused. RocksDB's
    // default would stop reading at the damage, and silently give up everything behind it. One kind of damage it cannot
    // tell from a write cut short: a length in the last 32 KiB that was changed to reach beyond the end of the file.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_write_buffer_size(settings.write_buffer_bytes);
    options.set_max_write_buffer_number(Settings::WRITE_BUFFERS_MAX);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_target_file_size_base(settings.write_buffer_bytes as u64);
    options.set_max_bytes_for_level_base(8 * settings.write_buffer_bytes as u64);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_max_manifest_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    table.set_block_size(16 << 10);
    table.set_cache_index_and_filter_blocks(true);
    options.set_block_based_table_factory(&table);
    Ok(options)
}

/// What the caller must do about an error of RocksDB.
fn classify(dir: &Path, error: &rocksdb::Error) -> LogError {
    let text = error.to_string();
    let full = text.contains("No space left on device") || text.contains("NoSpace");
    match error.kind() {
        _ if full => LogError::Retry {
            reason: format!("the disk of {} is full; free some space and appends go on ({text})", dir.display()),
        },
        ErrorKind::IOError if text.contains("lock") && text.contains("LOCK") => LogError::InUse { dir: dir.to_path_buf() },
        ErrorKind::Corruption => LogError::Corrupt {
            reason: format!(
                "{text} (in {}). Nothing was changed. Check the disk and put a copy of the folder back; without one, go on in \
                 the directory that `tributary rebuild --from journal` makes: what is sealed is there, what is not must be sent \
                 again",
                dir.display()
            ),
        },
        ErrorKind::InvalidArgument | ErrorKind::NotSupported => {
            LogError::Reject { reason: format!("{} cannot be opened as a log: {text}", dir.display()) }
        }
        _ => LogError::Retry { reason: format!("storage in {} failed: {text}", dir.display()) },
    }
}

fn retry(dir: &Path, error: &std::io::Error) -> LogError {
    LogError::Retry { reason: format!("the directory {} cannot be made: {error}", dir.display()) }
}
