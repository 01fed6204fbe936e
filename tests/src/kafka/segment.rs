//! The files of a partition, cut as a disk that lost its last writes would have them.

use std::path::PathBuf;

use super::Cluster;
use crate::Outcome;

/// Where in a batch of records its own length begins, and what follows it.
const LENGTH_AT: usize = 8;
const AFTER_LENGTH: usize = 12;
/// Where the offset of the last record lies, counted from the first.
const LAST_DELTA_AT: usize = 23;

impl Cluster {
    /// Cuts the last batches off the log of a partition of a broker that is stopped: what remains ends at or before an
    /// offset. Gives where it ends.
    pub fn cut_log(&self, node: usize, topic: &str, partition: i32, at_most: i64) -> Outcome<i64> {
        let folder = self.folder.join(node.to_string()).join("data").join(format!("{topic}-{partition}"));
        let files: Vec<PathBuf> = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Outcome<_>>()?;
        let ends = |file: &PathBuf, end: &str| file.extension().is_some_and(|found| found == end);
        let of = |end: &str| files.iter().filter(|file| ends(file, end)).cloned().collect::<Vec<_>>();
        let segments = <[PathBuf; 1]>::try_from(of("log"));
        let [segment] = segments.map_err(|found| format!("not one segment, but {found:?}"))?;
        let bytes = std::fs::read(&segment)?;
        let (length, end) = whole_batches(&bytes, at_most)?;
        std::fs::File::options().write(true).open(&segment)?.set_len(length)?;
        // The broker makes them again from the log.
        for index in of("index").into_iter().chain(of("timeindex")) {
            std::fs::remove_file(index)?;
        }
        Ok(end)
    }
}

/// The bytes of the batches that end at or before an offset, and where the last of them ends.
fn whole_batches(bytes: &[u8], at_most: i64) -> Outcome<(u64, i64)> {
    let (mut at, mut end) = (0, 0);
    while let Some(batch) = bytes.get(at..).filter(|rest| rest.len() > LAST_DELTA_AT) {
        let first = i64::from_be_bytes(field(batch, 0)?);
        let next = first + i64::from(i32::from_be_bytes(field(batch, LAST_DELTA_AT)?)) + 1;
        if next > at_most {
            break;
        }
        at += AFTER_LENGTH + usize::try_from(i32::from_be_bytes(field(batch, LENGTH_AT)?))?;
        end = next;
    }
    Ok((u64::try_from(at)?, end))
}

fn field<const N: usize>(batch: &[u8], at: usize) -> Outcome<[u8; N]> {
    Ok(*batch.get(at..).and_then(<[u8]>::first_chunk).ok_or("a batch is cut short")?)
}
