//! Put-if-absent on a store whose answers can be lost, and what an error of it means. Batches, blobs, commits of tables
//! and records of epochs are all written by this one rule.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, Result};

/// Whose bytes lie under the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Ours, whoever wrote them.
    Ours,
    /// Another one's, who came first.
    Theirs(Bytes),
}

/// Puts the object if nothing is there. When it returns `Ok`, what lies under the name is durable.
///
/// After **any** error the object is read, for it alone tells who wrote it. But that it can be read does not mean that it
/// survives a loss of power: its name may have been given and the sync of it have failed. So unless the store said itself
/// that the name is taken, it is asked once more, and what was found counts only if it then says so.
///
/// # Errors
/// Nothing lies there, or it may be lost again, or the store does not answer: offer the same bytes again.
pub async fn place(store: &dyn ObjectStore, name: &Path, bytes: &Bytes) -> Result<Placed> {
    let put = || store.put_opts(name, PutPayload::from(bytes.clone()), PutMode::Create.into());
    let Err(failure) = put().await else { return Ok(Placed::Ours) };
    let Some(found) = read(store, name).await? else { return Err(failure) };
    if !says_taken(&failure) {
        match put().await {
            Ok(_) => return Ok(Placed::Ours),
            Err(again) if says_taken(&again) => {}
            Err(again) => return Err(again),
        }
    }
    Ok(if found == bytes { Placed::Ours } else { Placed::Theirs(found) })
}

/// The object's bytes; `None` if there is no such object.
///
/// # Errors
/// The store does not answer.
pub async fn read(store: &dyn ObjectStore, name: &Path) -> Result<Option<Bytes>> {
    let bytes = match store.get(name).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    match bytes {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn says_taken(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. })
}

#[cfg(test)]
mod tests;
