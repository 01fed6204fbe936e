//! Compaction: many small files of a table become one, the rows unchanged.

use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::mpsc;
use tributary_schemas::tables::Table;
use tributary_schemas::units::keccak256;

use crate::commit::{Change, Outcome};
use crate::data_file::{DataFile, Encoder, digest_in_name};
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::log::TableLog;
use crate::metrics::label;
use crate::settings::LakeSettings;
use crate::state::LiveFile;

/// Files up to this size are of the smallest class; each class is [`CLASS_RATIO`] times the one before.
const SMALLEST_CLASS: u64 = 64 << 10;
const CLASS_RATIO: u64 = 8;
/// Rows decoded at a time.
const ROWS_AT_ONCE: usize = 8_192;

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Files merged away.
    pub files: usize,
    /// Rows copied.
    pub rows: u64,
}

impl Lake {
    /// Merges one group of small files of about one size, if there is one; `None` if there is nothing to do. Readers are not
    /// disturbed: the rows are the same, and replaced files stay until [`LakeSettings::removed_retention`] has passed.
    ///
    /// Errors: the store does not answer (retry); a file to be merged is damaged (it is then left as it is).
    pub async fn compact(&self, table: Table) -> Result<Option<Compacted>> {
        let cell = self.cell(table);
        let chosen = {
            let mut cached = cell.cached.lock().await;
            self.refresh(cell, &mut cached).await?;
            let live: Vec<&LiveFile> = cached.state.iter().flat_map(|state| state.live()).collect();
            choose(&live, &self.settings)
        };
        if chosen.is_empty() {
            return Ok(None);
        }
        let merged = self.merge(&cell.log, &chosen).await?;
        let rows: u64 = chosen.iter().map(|live| live.file.rows).sum();
        if merged.rows != rows {
            let problem = format!("{} files have {rows} rows by the log, but {} in truth", chosen.len(), merged.rows);
            return Err(Error::corrupt(&cell.log.root, problem));
        }
        let files = chosen.len();
        let merged = [merged];
        self.upload(table, &merged).await?;
        match self.commit(table, &Change::rewrite(&merged, chosen)).await? {
            Outcome::Committed { .. } => {
                self.metrics.compacted.get_or_create(&label(table)).inc_by(files as u64);
                Ok(Some(Compacted { files, rows }))
            }
            Outcome::Overtaken => {
                self.take_back(table, &merged).await;
                Ok(None)
            }
        }
    }

    /// One file with the rows of all, read one after the other.
    async fn merge(&self, log: &TableLog, chosen: &[LiveFile]) -> Result<DataFile> {
        let (sender, mut receiver) = mpsc::channel::<(Arc<LiveFile>, Bytes)>(1);
        let (table, settings) = (log.table, self.settings.clone());
        let encoding = tokio::task::spawn_blocking(move || {
            let mut encoder = Encoder::new(table, &settings)?;
            while let Some((live, bytes)) = receiver.blocking_recv() {
                copy_rows(&live, bytes, &mut encoder)?;
            }
            encoder.finish()
        });
        for live in chosen {
            let bytes = log.get(&live.file.path).await?;
            let bytes = bytes.ok_or_else(|| Error::corrupt(&live.file.path, "the log names this file, but it is missing"))?;
            if sender.send((Arc::new(live.clone()), bytes)).await.is_err() {
                break;
            }
        }
        drop(sender);
        let merged = encoding.await.map_err(|_| Error::Closed)??;
        merged.ok_or_else(|| Error::corrupt(&log.root, "files that the log says have rows have none"))
    }
}

fn copy_rows(live: &LiveFile, bytes: Bytes, encoder: &mut Encoder) -> Result<()> {
    // A flipped byte must not get a new digest.
    if digest_in_name(&live.name) != Some(keccak256(&bytes)) {
        return Err(Error::corrupt(&live.file.path, "its keccak-256 is not the one in its name"));
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(ROWS_AT_ONCE).build())
        .map_err(|e| Error::corrupt(&live.file.path, e))?;
    for rows in reader {
        encoder.write(&rows.map_err(|e| Error::corrupt(&live.file.path, e))?)?;
    }
    Ok(())
}

/// The oldest files of the smallest class that has enough of them, in the order of the batches they span.
fn choose(live: &[&LiveFile], settings: &LakeSettings) -> Vec<LiveFile> {
    let small = |file: &&&LiveFile| file.file.size < settings.compact_bytes_max / 2;
    let classes = live.iter().filter(small).map(|file| class(file.file.size)).collect::<std::collections::BTreeSet<_>>();
    for wanted in classes {
        let of_class = || live.iter().filter(small).filter(|file| class(file.file.size) == wanted);
        if of_class().count() < settings.compact_files_min {
            continue;
        }
        let mut bytes = 0;
        let mut chosen: Vec<LiveFile> = of_class()
            .take(settings.compact_files_max)
            .take_while(|file| {
                bytes += file.file.size;
                bytes <= settings.compact_bytes_max
            })
            .map(|file| (*file).clone())
            .collect();
        chosen.sort_by_key(|file| file.file.range.map(|r| (r.partition_min, r.seq_min)));
        return chosen;
    }
    Vec::new()
}

fn class(size: u64) -> u32 {
    (size / SMALLEST_CLASS).checked_ilog(CLASS_RATIO).map_or(0, |class| class + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use object_store::path::Path;

    use super::*;
    use crate::state::LakeFile;

    fn file(name: &str, size: u64) -> LiveFile {
        let file = LakeFile { path: Path::from(name), size, rows: 1, range: None };
        LiveFile { name: name.to_owned(), stats: None, file }
    }

    fn chosen(sizes: &[u64]) -> Vec<String> {
        let files: Vec<LiveFile> = sizes.iter().enumerate().map(|(i, size)| file(&i.to_string(), *size)).collect();
        let settings = LakeSettings { compact_files_min: 3, compact_files_max: 4, ..LakeSettings::default() };
        choose(&files.iter().collect::<Vec<_>>(), &settings).into_iter().map(|f| f.name).collect()
    }

    #[test]
    fn files_of_one_size_class_are_merged_and_the_oldest_first() {
        assert_eq!(chosen(&[1_000, 900_000, 2_000, 700_000, 3_000, 10, 20]), ["0", "2", "4", "5"]);
        assert_eq!(chosen(&[1_000, 900_000, 700_000, 3_000, 800_000]), ["1", "2", "4"]);
    }

    #[test]
    fn few_files_and_large_files_are_left_alone() {
        assert!(chosen(&[1_000, 2_000]).is_empty());
        assert!(chosen(&[20 << 20, 20 << 20, 20 << 20, 20 << 20]).is_empty());
    }

    #[test]
    fn a_merge_reads_no_more_bytes_than_it_may() {
        assert_eq!(chosen(&[14 << 20, 15 << 20, 15 << 20]), ["0", "1"]);
    }
}
