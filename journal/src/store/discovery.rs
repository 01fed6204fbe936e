//! Finds the last batch of a partition, and any number missing before it.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tributary_schemas::ids::{Partition, Seq};

use super::{batch_path, partition_folder};
use crate::error::JournalError;

/// How many of the newest names are checked for gaps on opening. Older ones are checked as they are read: a listing of a
/// long journal on object storage costs one request per thousand names.
const NAMES_CHECKED_MAX: u64 = 100_000;

/// The last sequence number written, `None` for an empty partition.
///
/// # Errors
/// `Corrupt`, naming the object, if a number is missing below one that exists.
pub(super) async fn last_seq(store: &dyn ObjectStore, partition: Partition) -> Result<Option<Seq>, JournalError> {
    let near_the_end = reach(store, partition).await?;
    let after = near_the_end.and_then(|last| last.checked_sub(NAMES_CHECKED_MAX)).and_then(Seq::new);
    let names = list(store, partition, after).await?;
    let mut expected = after.map_or(Seq::FIRST, Seq::next);
    let mut last = after;
    for seq in names {
        if seq != expected {
            let reason = format!("the batch is missing, though batch {seq} exists");
            return Err(JournalError::corrupt(batch_path(partition, expected).to_string(), reason));
        }
        last = Some(seq);
        expected = seq.next();
    }
    Ok(last)
}

/// A number that exists and whose successor did not, found with a number of requests logarithmic in it.
async fn reach(store: &dyn ObjectStore, partition: Partition) -> Result<Option<u64>, JournalError> {
    if !exists(store, partition, 0).await? {
        return Ok(None);
    }
    let (mut present, mut absent) = (0, 1);
    while exists(store, partition, absent).await? {
        (present, absent) = (absent, absent * 2);
    }
    while absent - present > 1 {
        let middle = present + (absent - present) / 2;
        if exists(store, partition, middle).await? {
            present = middle;
        } else {
            absent = middle;
        }
    }
    Ok(Some(present))
}

async fn exists(store: &dyn ObjectStore, partition: Partition, number: u64) -> Result<bool, JournalError> {
    let Some(seq) = Seq::new(number) else { return Ok(false) };
    let path = batch_path(partition, seq);
    match store.head(&path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(JournalError::store(&path, &error)),
    }
}

/// The numbers of the batches after this one, in ascending order; other objects are not looked at.
async fn list(store: &dyn ObjectStore, partition: Partition, after: Option<Seq>) -> Result<Vec<Seq>, JournalError> {
    let folder = Path::from(partition_folder(partition));
    let listing = match after {
        Some(seq) => store.list_with_offset(Some(&folder), &batch_path(partition, seq)),
        None => store.list(Some(&folder)),
    };
    let found = listing.try_filter_map(|meta| std::future::ready(Ok(number_of(&meta.location)))).try_collect::<Vec<_>>();
    let mut numbers = found.await.map_err(|error| JournalError::store(&folder, &error))?;
    numbers.sort_unstable();
    Ok(numbers)
}

fn number_of(location: &Path) -> Option<Seq> {
    let digits = location.filename()?.strip_suffix(".batch")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
