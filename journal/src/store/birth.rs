//! The genesis record on the store.

use object_store::ObjectStore;

use super::{back_off, genesis_path, get};
use crate::error::JournalError;
use crate::genesis::{Genesis, GenesisError};
use crate::placement::{Placed, place};
use crate::settings::Settings;

/// The genesis record, `None` where there is no journal.
pub(super) async fn read_genesis(store: &dyn ObjectStore) -> Result<Option<Genesis>, JournalError> {
    let Some(bytes) = get(store, &genesis_path()).await? else { return Ok(None) };
    decode(&bytes).map(Some)
}

fn decode(bytes: &[u8]) -> Result<Genesis, JournalError> {
    Genesis::decode(bytes).map_err(|error| match error {
        GenesisError::Format(_) => JournalError::Refused(format!("{}: {error}", genesis_path())),
        GenesisError::Damaged(reason) => JournalError::corrupt(genesis_path().to_string(), reason),
    })
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
