//! The genesis record on the store.

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::{back_off, genesis_path, get};
use crate::error::JournalError;
use crate::genesis::{Genesis, GenesisError};
use crate::placement::{Placed, place};
use crate::settings::Settings;

/// The genesis record, `None` where there is no journal.
///
/// # Errors
/// `Corrupt` if it is damaged, or missing though batches are there: a new one would begin another deployment over them; `Refused`
/// for a format that this program does not know; `Retry` if the store does not answer.
pub async fn read_genesis(store: &dyn ObjectStore) -> Result<Option<Genesis>, JournalError> {
    let path = genesis_path();
    if let Some(bytes) = get(store, &path).await? {
        return decode(&bytes).map(Some);
    }
    let Some(batch) = any_batch(store).await? else { return Ok(None) };
    // It is written before all batches; another process may have written both since it was looked for.
    match get(store, &path).await? {
        Some(bytes) => decode(&bytes).map(Some),
        None => Err(JournalError::corrupt(path.to_string(), format!("the record is missing, though {batch} is there"))),
    }
}

fn decode(bytes: &[u8]) -> Result<Genesis, JournalError> {
    Genesis::decode(bytes).map_err(|error| match error {
        GenesisError::Format(_) => JournalError::Refused(format!("{}: {error}", genesis_path())),
        GenesisError::Damaged(reason) => JournalError::corrupt(genesis_path().to_string(), reason),
    })
}

async fn any_batch(store: &dyn ObjectStore) -> Result<Option<Path>, JournalError> {
    let folder = Path::from("journal");
    let mut objects = store.list(Some(&folder));
    while let Some(object) = objects.try_next().await.map_err(|error| JournalError::store(&folder, &error))? {
        if object.location.extension() == Some("batch") {
            return Ok(Some(object.location));
        }
    }
    Ok(None)
}

/// Writes the genesis record unless there is one, and gives the one that is there afterwards.
pub(super) async fn found_genesis(store: &dyn ObjectStore, born: &Genesis, settings: &Settings) -> Result<Genesis, JournalError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match place(store, &genesis_path(), &born.encode()).await {
            Ok(Placed::Ours) => return Ok(born.clone()),
            Ok(Placed::Theirs(found)) => return decode(&found),
            Err(error) if attempt >= settings.put_attempts_max => return Err(JournalError::store(&genesis_path(), &error)),
            Err(_) => back_off(settings, attempt).await,
        }
    }
}
