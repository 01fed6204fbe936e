//! The copy of the genesis record beside the blobs: with it `da/` alone says what the journal was born with, before any manifest does.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use tributary_journal::Genesis;

use crate::error::DaError;
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;

/// Puts the copy if it is absent.
pub(crate) async fn place(store: &Arc<dyn ObjectStore>, genesis: &Genesis, patience: &Patience) -> Result<(), DaError> {
    let name = Path::from(names::GENESIS);
    match put_once(store, &name, &genesis.encode(), patience).await? {
        Placed::Ours => Ok(()),
        Placed::Theirs(_) => Err(DaError::corrupt(name, "it is not the genesis record of the journal")),
    }
}

/// The copy; `None` where nothing was published yet.
///
/// # Errors
/// [`DaError::Corrupt`] if it is damaged, [`DaError::Retry`] if the store does not answer.
pub async fn found(store: &Arc<dyn ObjectStore>) -> Result<Option<Genesis>, DaError> {
    let name = Path::from(names::GENESIS);
    let Some(bytes) = read(store, &name).await? else { return Ok(None) };
    Genesis::decode(&bytes).map(Some).map_err(|error| DaError::corrupt(name, error.to_string()))
}
