//! Whether the tables hold exactly the rows of the journal: counts and sums of row hashes per table, partition and batch,
//! which depend neither on the order of rows nor on the files they lie in.

mod hashing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tributary_journal::{Journal, SealedBatch};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::tables::Table;

use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::rows::rows_of;
use crate::state::LakeFile;
use hashing::RowHasher;

/// Batches compared at a time, over all partitions; the memory of a comparison grows with it.
const BATCHES_AT_ONCE: u64 = 4_096;
/// Batches or files read at the same time.
const READS_IN_FLIGHT: usize = 2;
/// Rows decoded at a time.
const ROWS_AT_ONCE: usize = 8_192;

/// A multiset of rows, in short: equal multisets have equal fingerprints, whatever the order of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many rows.
    pub rows: u64,
    /// The sum modulo 2^128 of the rows' hashes (keccak-256, the first half).
    pub sum: u128,
}

impl Fingerprint {
    /// Adds a row by its hash.
    pub fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// Adds the rows of another.
    pub fn merge(&mut self, other: Fingerprint) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The fingerprint of rows, all columns included.
///
/// Errors: a column of a type that no table has.
pub fn fingerprint(table: Table, rows: &RecordBatch) -> Result<Fingerprint> {
    let hasher = RowHasher::new(table, rows)?;
    let mut all = Fingerprint::default();
    let mut buffer = Vec::new();
    for row in 0..rows.num_rows() {
        all.add(hasher.hash(row, &mut buffer));
    }
    Ok(all)
}

/// The fingerprint of a whole table as it is now, read one file after the other.
///
/// Errors: the store does not answer, or a file is damaged.
pub async fn table_fingerprint(lake: &Lake, table: Table) -> Result<Fingerprint> {
    let snapshot = lake.snapshot(table).await?;
    let sums = snapshot.files.iter().map(|file| async {
        let bytes = read(lake, file).await?;
        let file = file.clone();
        blocking(move || {
            let mut all = Fingerprint::default();
            for rows in decode(&file, bytes)? {
                all.merge(fingerprint(table, &rows?)?);
            }
            Ok(all)
        })
        .await
    });
    let mut all = Fingerprint::default();
    let mut sums = futures::stream::iter(sums).buffered(READS_IN_FLIGHT);
    while let Some(sum) = sums.try_next().await? {
        all.merge(sum);
    }
    Ok(all)
}

/// What a comparison covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tables compared.
    pub tables: usize,
    /// Batches of the journal compared.
    pub batches: u64,
    /// Rows that are equal.
    pub rows: u64,
    /// Files read.
    pub files: usize,
}

/// The rows of one batch in one table that are not those of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsDiffer {
    /// The table.
    pub table: Table,
    /// The partition of the batch.
    pub partition: Partition,
    /// The batch.
    pub seq: Seq,
    /// The file in which the rows lie, if only one can hold them.
    pub file: Option<Path>,
    /// What the journal says.
    pub expected: Fingerprint,
    /// What the table holds.
    pub found: Fingerprint,
}

impl fmt::Display for RowsDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, partition, seq) = (self.table.name(), self.partition, self.seq);
        let (expected, found) = (self.expected.rows, self.found.rows);
        write!(f, "table {table}, batch {seq} of partition {partition}")?;
        if let Some(file) = &self.file {
            write!(f, ", file {file}")?;
        }
        if expected == found {
            write!(f, ": its {found} rows are not those of the journal")
        } else {
            write!(f, ": the journal gives {expected} rows, the table has {found}")
        }
    }
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The first difference found.
    #[error("{0}")]
    Differs(RowsDiffer),
    /// It could not be carried out, or an object is damaged.
    #[error(transparent)]
    Failed(#[from] Error),
}

type Key = (Table, Partition, Seq);
type Fingerprints = BTreeMap<Key, Fingerprint>;

/// Compares every row of every table of events, up to a cut, with what the journal gives. Memory is bounded: a few thousand
/// batches are compared at a time.
///
/// Errors: the first difference, with table, partition, batch and, when known, file; or what kept it from comparing.
pub async fn compare(journal: &Journal, lake: &Lake, up_to: &Cut) -> Result<Report, Failure> {
    let mut report = Report { tables: Table::EVENT_TABLES.len(), ..Report::default() };
    let Some(last) = up_to.iter().map(|(_, seq)| seq.get()).max() else { return Ok(report) };
    let step = (BATCHES_AT_ONCE / up_to.iter().count() as u64).max(1);
    let mut files = BTreeSet::new();
    let mut from = 0;
    while from <= last {
        let window = Window::Run { cut: up_to.clone(), from, to: from.saturating_add(step - 1) };
        files.extend(compare_window(journal, lake, &window, &mut report).await?);
        from = from.saturating_add(step);
    }
    report.files = files.len();
    Ok(report)
}

/// [`compare`] for some batches alone. Every file that may hold rows of one of them is read.
///
/// Errors: as [`compare`].
pub async fn compare_some(journal: &Journal, lake: &Lake, batches: BTreeSet<(Partition, Seq)>) -> Result<Report, Failure> {
    let mut report = Report { tables: Table::EVENT_TABLES.len(), ..Report::default() };
    report.files = compare_window(journal, lake, &Window::Chosen(Arc::new(batches)), &mut report).await?.len();
    Ok(report)
}

/// Compares the rows of some batches; gives the files that were read.
async fn compare_window(journal: &Journal, lake: &Lake, window: &Window, report: &mut Report) -> Result<BTreeSet<Path>, Failure> {
    let mut files = BTreeSet::new();
    let expected = expected_rows(journal, window).await?;
    report.batches += window.batches().len() as u64;
    for table in Table::EVENT_TABLES {
        let snapshot = lake.snapshot(*table).await.map_err(Failure::Failed)?;
        let touched: Vec<LakeFile> = snapshot.files.iter().filter(|file| window.touches(file)).cloned().collect();
        let found = found_rows(lake, *table, window, &touched).await?;
        let expected = expected.iter().filter(|((of, ..), _)| of == table).map(|(key, print)| (*key, *print)).collect();
        report.rows += equal(&expected, &found, &touched)?;
        files.extend(touched.into_iter().map(|file| file.path));
    }
    Ok(files)
}

/// The batches that are compared at a time.
#[derive(Clone)]
enum Window {
    /// Batches `from ..= to` of every partition, as far as the cut covers them.
    Run { cut: Cut, from: u64, to: u64 },
    /// These.
    Chosen(Arc<BTreeSet<(Partition, Seq)>>),
}

impl Window {
    fn batches(&self) -> Vec<(Partition, Seq)> {
        match self {
            Self::Run { cut, from, to } => {
                let of = |(partition, last): (Partition, Seq)| {
                    (*from..=last.get().min(*to)).filter_map(move |seq| Some((partition, Seq::new(seq)?)))
                };
                cut.iter().flat_map(of).collect()
            }
            Self::Chosen(batches) => batches.iter().copied().collect(),
        }
    }

    fn holds(&self, partition: Partition, seq: Seq) -> bool {
        match self {
            Self::Run { cut, from, to } => (*from..=*to).contains(&seq.get()) && cut.covers(partition, seq),
            Self::Chosen(batches) => batches.contains(&(partition, seq)),
        }
    }

    fn touches(&self, file: &LakeFile) -> bool {
        let Some(range) = file.range else { return true };
        match self {
            Self::Run { from, to, .. } => range.seq_min.get() <= *to && range.seq_max.get() >= *from,
            Self::Chosen(batches) => {
                let partitions = range.partition_min..=range.partition_max;
                let seqs = range.seq_min..=range.seq_max;
                batches.iter().any(|(partition, seq)| partitions.contains(partition) && seqs.contains(seq))
            }
        }
    }
}

async fn expected_rows(journal: &Journal, window: &Window) -> Result<Fingerprints> {
    let reads = window.batches().into_iter().map(|(partition, seq)| async move {
        let batch = journal.read(partition, seq).await?;
        blocking(move || of_batch(&batch)).await
    });
    let mut all = Fingerprints::new();
    let mut reads = futures::stream::iter(reads).buffered(READS_IN_FLIGHT);
    while let Some(some) = reads.try_next().await? {
        all.extend(some);
    }
    Ok(all)
}

fn of_batch(batch: &SealedBatch) -> Result<Fingerprints> {
    let (partition, seq) = (batch.header.partition, batch.header.seq);
    let rows = rows_of(batch)?;
    rows.iter().map(|(table, rows)| Ok(((*table, partition, seq), fingerprint(*table, rows)?))).collect()
}

async fn found_rows(lake: &Lake, table: Table, window: &Window, files: &[LakeFile]) -> Result<Fingerprints> {
    let reads = files.iter().map(|file| async {
        let bytes = read(lake, file).await?;
        let (file, window) = (file.clone(), window.clone());
        blocking(move || of_file(table, &file, bytes, &window)).await
    });
    let mut all = Fingerprints::new();
    let mut reads = futures::stream::iter(reads).buffered(READS_IN_FLIGHT);
    while let Some(some) = reads.try_next().await? {
        for (key, print) in some {
            all.entry(key).or_default().merge(print);
        }
    }
    Ok(all)
}

fn of_file(table: Table, file: &LakeFile, bytes: Bytes, window: &Window) -> Result<Fingerprints> {
    let mut found = Fingerprints::new();
    let mut buffer = Vec::new();
    for rows in decode(file, bytes)? {
        let rows = rows?;
        let column = |name: &str| rows.column_by_name(name).map(|c| c.as_any());
        let partitions = column("_partition").and_then(|c| c.downcast_ref::<Int32Array>());
        let seqs = column("_seq").and_then(|c| c.downcast_ref::<Int64Array>());
        let (Some(partitions), Some(seqs)) = (partitions, seqs) else {
            return Err(Error::corrupt(&file.path, "it has no columns _partition and _seq of their types"));
        };
        let hasher = RowHasher::new(table, &rows)?;
        for (row, (partition, seq)) in partitions.values().iter().zip(seqs.values()).enumerate() {
            let partition = u32::try_from(*partition).ok().and_then(Partition::new);
            let seq = u64::try_from(*seq).ok().and_then(Seq::new);
            let (Some(partition), Some(seq)) = (partition, seq) else {
                return Err(Error::corrupt(&file.path, "a row has a negative _partition or _seq"));
            };
            if window.holds(partition, seq) {
                found.entry((table, partition, seq)).or_default().add(hasher.hash(row, &mut buffer));
            }
        }
    }
    Ok(found)
}

fn equal(expected: &Fingerprints, found: &Fingerprints, files: &[LakeFile]) -> Result<u64, Failure> {
    let mut rows = 0;
    let keys: BTreeSet<&Key> = expected.keys().chain(found.keys()).collect();
    for key in keys {
        let of = |prints: &Fingerprints| prints.get(key).copied().unwrap_or_default();
        let (expected, found) = (of(expected), of(found));
        if expected != found {
            let (table, partition, seq) = *key;
            let file = only_file(files, partition, seq);
            return Err(Failure::Differs(RowsDiffer { table, partition, seq, file, expected, found }));
        }
        rows += found.rows;
    }
    Ok(rows)
}

/// The file that rows of this batch lie in, if the ranges of all others exclude it.
fn only_file(files: &[LakeFile], partition: Partition, seq: Seq) -> Option<Path> {
    let may_hold = |file: &&LakeFile| {
        file.range
            .is_none_or(|r| (r.partition_min..=r.partition_max).contains(&partition) && (r.seq_min..=r.seq_max).contains(&seq))
    };
    let mut holding = files.iter().filter(may_hold);
    let first = holding.next()?;
    holding.next().is_none().then(|| first.path.clone())
}

async fn read(lake: &Lake, file: &LakeFile) -> Result<Bytes> {
    use object_store::ObjectStoreExt;
    let answer = lake.object_store().get(&file.path).await.map_err(|error| missing_or(file, error))?;
    answer.bytes().await.map_err(|error| missing_or(file, error))
}

fn missing_or(file: &LakeFile, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::corrupt(&file.path, "the log names this file, but it is missing"),
        error => Error::store("reading", &file.path)(error),
    }
}

fn decode(file: &LakeFile, bytes: Bytes) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let path = file.path.clone();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(ROWS_AT_ONCE).build())
        .map_err(|e| Error::corrupt(&path, e))?;
    Ok(reader.map(move |rows| rows.map_err(|e| Error::corrupt(&path, e))))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)?
}
