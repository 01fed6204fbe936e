//! The seen-index: which identities were sealed lately, so that a duplicate is found at any distance within the window.
//!
//! A view of the journal on local disk, disposable: it holds, in one write, the identities of a batch and the hash of the
//! header they came from. It is brought up to date from the journal before it is used, and built anew when the journal
//! does not know its head. It has no write-ahead log: what a crash takes away are its newest batches, heads included.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rocksdb::compaction_filter::Decision;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, ErrorKind, Options, WriteBatch, WriteOptions};
use tributary_eventlog::folder;
use tributary_schemas::identity::{ContentDigest, Identity};
use tributary_schemas::ids::{Partition, Seq, Timestamp};
use tributary_schemas::units::Hash;

use crate::error::JournalError;
use crate::header::Header;

mod catch_up;

pub(crate) use catch_up::catch_up;

/// All entries and heads lie in one family, so that a flush never parts a head from its entries.
const FAMILY: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;
/// Memory for blocks, their indexes and filters.
const CACHE_BYTES: usize = 24 << 20;
/// Memory for one table of new entries; there are at most [`TABLES_MAX`].
const TABLE_BYTES: usize = 8 << 20;
const TABLES_MAX: i32 = 3;
/// Old files are rewritten at least this often, which drops what has left the window.
const REWRITE_SECONDS: u64 = 24 * 60 * 60;

/// Entries sealed before this are forgotten, in microseconds, per partition.
type Horizons = Arc<RwLock<BTreeMap<Partition, i64>>>;

/// Identities of the last days, of all partitions, in one RocksDB. Clones share it.
#[derive(Clone)]
pub struct SeenIndex {
    db: Arc<DB>,
    horizons: Horizons,
    turns: Arc<Mutex<BTreeMap<Partition, Arc<Turn>>>>,
}

/// Who may write a partition.
#[derive(Default)]
struct Turn {
    /// The number of the newest writer, locked while one writes.
    newest: Mutex<u64>,
    /// Held while the index is brought up to date, which makes the newest writer: one sealer after the other.
    catching_up: tokio::sync::Mutex<()>,
}

/// The right to write one partition, until another takes it. A future that was dropped may leave a write on its way in
/// another thread: what arrives after the next writer began must not mix with what that one read.
#[derive(Clone)]
pub(crate) struct SeenWriter {
    seen: SeenIndex,
    partition: Partition,
    turn: Arc<Turn>,
    own: u64,
}

/// The batch up to which the index knows a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenHead {
    /// Its sequence number.
    pub seq: Seq,
    /// The hash of its header.
    pub hash: Hash,
}

impl SeenIndex {
    /// Opens or creates the index. A damaged one is thrown away, for the journal holds everything in it.
    ///
    /// # Errors
    /// `Refused` if another process has it open; `Retry` if the disk does not serve it.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let horizons = Horizons::default();
        let unusable = |error: rocksdb::Error| JournalError::retry(format!("seen-index in {}", directory.display()), error);
        folder::create(directory).map_err(|e| JournalError::retry(directory.display().to_string(), e))?;
        let db = match open_db(directory, &horizons) {
            Ok(db) => db,
            Err(error) if is_damage(&error) => {
                DB::destroy(&Options::default(), directory).map_err(unusable)?;
                open_db(directory, &horizons).map_err(unusable)?
            }
            Err(error) if is_locked(&error) => {
                let reason = format!("another process uses the seen-index in {}: {error}", directory.display());
                return Err(JournalError::Refused(reason));
            }
            Err(error) => return Err(unusable(error)),
        };
        Ok(Self { db: Arc::new(db), horizons, turns: Arc::default() })
    }

    /// Takes the right to write the partition from whoever had it.
    pub(crate) fn writer(&self, partition: Partition) -> SeenWriter {
        let turn = self.turn(partition);
        let own = {
            let mut newest = turn.newest.lock();
            *newest += 1;
            *newest
        };
        SeenWriter { seen: self.clone(), partition, turn, own }
    }

    fn turn(&self, partition: Partition) -> Arc<Turn> {
        self.turns.lock().entry(partition).or_default().clone()
    }

    /// How far it knows the partition.
    ///
    /// # Errors
    /// `Retry` if the disk does not answer.
    pub fn head(&self, partition: Partition) -> Result<Option<SeenHead>, JournalError> {
        let value = self.db.get_pinned(head_key(partition)).map_err(|e| failure(partition, e))?;
        Ok(value.and_then(|value| {
            let (seq, hash) = value.split_first_chunk::<8>()?;
            Some(SeenHead { seq: Seq::new(u64::from_be_bytes(*seq))?, hash: Hash::from(<[u8; 32]>::try_from(hash).ok()?) })
        }))
    }

    /// What is known of each identity: the digest of the event that was sealed under it at or after `horizon`.
    ///
    /// # Errors
    /// `Retry` if the disk does not answer.
    pub fn lookup(
        &self,
        partition: Partition,
        identities: &[Identity],
        horizon: Timestamp,
    ) -> Result<Vec<Option<ContentDigest>>, JournalError> {
        let mut keys: Vec<_> = identities.iter().map(|identity| entry_key(partition, identity)).zip(0_usize..).collect();
        // In ascending order the index finds neighbours in one block.
        keys.sort_unstable();
        let family = self.db.cf_handle(FAMILY).expect("the index was opened with this family");
        let found = self.db.batched_multi_get_cf(&family, keys.iter().map(|(key, _)| key), true);
        let mut digests = vec![None; identities.len()];
        for ((_, place), value) in keys.iter().zip(found) {
            let value = value.map_err(|e| failure(partition, e))?;
            digests[*place] = value
                .and_then(|value| entry(&value))
                .filter(|(_, sealed_at)| *sealed_at >= horizon.micros())
                .map(|(digest, _)| digest);
        }
        Ok(digests)
    }

    /// The same entries for a process that starts again: who was writing has died with the one before.
    #[cfg(test)]
    pub(crate) fn reopened(&self) -> Self {
        Self { db: self.db.clone(), horizons: self.horizons.clone(), turns: Arc::default() }
    }
}

impl SeenWriter {
    /// Takes in the identities of a batch that was won, and moves the head to it, in one write. False, and nothing is
    /// written, if another writer began since.
    ///
    /// # Errors
    /// `Retry` if the disk is full or fails; nothing was taken in then.
    pub(crate) fn record(
        &self,
        header: &Header,
        entries: &[(Identity, ContentDigest)],
        horizon: Timestamp,
    ) -> Result<bool, JournalError> {
        let mut batch = WriteBatch::default();
        for (identity, digest) in entries {
            let mut value = [0; 16];
            value[..8].copy_from_slice(&digest.0);
            value[8..].copy_from_slice(&header.sealed_at.micros().to_be_bytes());
            batch.put(entry_key(self.partition, identity), value);
        }
        let mut head = [0; 40];
        head[..8].copy_from_slice(&header.seq.get().to_be_bytes());
        head[8..].copy_from_slice(header.hash().as_slice());
        batch.put(head_key(self.partition), head);
        let written = self.write(batch)?;
        if written {
            self.seen.horizons.write().insert(self.partition, horizon.micros());
        }
        Ok(written)
    }

    /// Forgets the partition. False, and nothing is written, if another writer began since.
    ///
    /// # Errors
    /// `Retry` if the disk is full or fails.
    pub(crate) fn clear(&self) -> Result<bool, JournalError> {
        let mut batch = WriteBatch::default();
        let mut end = partition_prefix(self.partition).to_vec();
        end.extend([0xff; 17]);
        batch.delete_range(partition_prefix(self.partition).as_slice(), end.as_slice());
        batch.delete(head_key(self.partition));
        self.write(batch)
    }

    fn write(&self, batch: WriteBatch) -> Result<bool, JournalError> {
        let newest = self.turn.newest.lock();
        if *newest != self.own {
            return Ok(false);
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.seen.db.write_opt(batch, &options).map_err(|e| failure(self.partition, e))?;
        Ok(true)
    }
}

/// The instant before which entries count no more.
pub(crate) fn horizon(sealed_at: Timestamp, window: Duration) -> Timestamp {
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let first = Timestamp::from_micros(-62_167_219_200_000_000).expect("the beginning of the year 0");
    Timestamp::from_micros(sealed_at.micros().saturating_sub(window)).unwrap_or(first)
}

fn open_db(directory: &Path, horizons: &Horizons) -> Result<DB, rocksdb::Error> {
    let family = ColumnFamilyDescriptor::new(FAMILY, options(horizons.clone()));
    DB::open_cf_descriptors(&options(horizons.clone()), directory, [family])
}

fn options(horizons: Horizons) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    // Digests do not compress.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_write_buffer_size(TABLE_BYTES);
    options.set_max_write_buffer_number(TABLES_MAX);
    options.set_memtable_prefix_bloom_ratio(0.1);
    options.set_memtable_whole_key_filtering(true);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_periodic_compaction_seconds(REWRITE_SECONDS);
    options.set_compaction_filter("tributary.seen.window", move |_, key, value| {
        let expired = partition_of(key).and_then(|partition| {
            let horizon = *horizons.read().get(&partition)?;
            entry(value).map(|(_, sealed_at)| sealed_at < horizon)
        });
        if expired == Some(true) { Decision::Remove } else { Decision::Keep }
    });
    options
}

/// A damaged file, or one that is missing among the others.
fn is_damage(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::Corruption || error.to_string().contains("No such file or directory")
}

/// Another handle has it open, of another process or of this one. The folder's own name is no part of what is looked for.
fn is_locked(error: &rocksdb::Error) -> bool {
    let text = error.to_string();
    text.contains("While lock file") || text.contains("lock hold by current process")
}

fn failure(partition: Partition, error: rocksdb::Error) -> JournalError {
    JournalError::retry(format!("seen-index of partition {partition}"), error)
}

const ENTRY: u8 = b'i';
const HEAD: u8 = b'h';

fn partition_prefix(partition: Partition) -> [u8; 5] {
    let mut key = [ENTRY; 5];
    key[1..].copy_from_slice(&partition.get().to_be_bytes());
    key
}

fn entry_key(partition: Partition, identity: &Identity) -> [u8; 21] {
    let mut key = [0; 21];
    key[..5].copy_from_slice(&partition_prefix(partition));
    key[5..].copy_from_slice(&identity.0);
    key
}

fn head_key(partition: Partition) -> [u8; 5] {
    let mut key = partition_prefix(partition);
    key[0] = HEAD;
    key
}

/// The partition of an entry's key, `None` for a head's.
fn partition_of(key: &[u8]) -> Option<Partition> {
    let (number, _) = key.strip_prefix(&[ENTRY])?.split_first_chunk::<4>()?;
    Partition::new(u32::from_be_bytes(*number))
}

fn entry(value: &[u8]) -> Option<(ContentDigest, i64)> {
    let (digest, sealed_at) = value.split_first_chunk::<8>()?;
    Some((ContentDigest(*digest), i64::from_be_bytes(sealed_at.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
