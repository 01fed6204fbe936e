//! The genesis record on the store.

use object_store::{ObjectStore, PutMode};

use super::{back_off, genesis_path, get};
use crate::error::JournalError;
use crate::genesis::{Genesis, GenesisError};
use crate::settings::Settings;

/// The genesis record, `None` where there is no journal.
pub(super) async fn read_genesis(store: &dyn ObjectStore) -> Result<Option<Genesis>, JournalError> {
    let Some(bytes) = get(store, &genesis_path()).await? else { return Ok(None) };
    Genesis::decode(&bytes).map(Some).map_err(|error| match error {
        GenesisError::Format(_) => JournalError::Refused(format!("{}: {error}", genesis_path())),
        GenesisError::Damaged(reason) => JournalError::corrupt(genesis_path().to_string(), reason),
    })
}

/// Writes the genesis record unless there is one, and gives the one that is there afterwards.
pub(super) async fn found_genesis(store: &dyn ObjectStore, born: &Genesis, settings: &Settings) -> Result<Genesis, JournalError> {
    let mut attempt = 0;
    loop {
        let put = store.put_opts(&genesis_path(), born.encode().into(), PutMode::Create.into()).await;
        attempt += 1;
        match (put, read_genesis(store).await) {
            (_, Ok(Some(genesis))) => return Ok(genesis),
            (_, Err(error)) if !error.is_retry() || attempt >= settings.put_attempts_max => return Err(error),
            (Err(error), _) if attempt >= settings.put_attempts_max => {
                return Err(JournalError::store(&genesis_path(), &error));
            }
            (Ok(_), Ok(None)) if attempt >= settings.put_attempts_max => {
                return Err(JournalError::retry(genesis_path().to_string(), "it is not there after it was written"));
            }
            _ => back_off(settings, attempt).await,
        }
    }
}
