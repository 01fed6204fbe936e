//! Put-if-absent, and what an error of it means.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::error::DaError;
use crate::retry::Patience;

/// Who put the object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The object holds our bytes, whoever wrote them.
    Ours,
    /// Another one's bytes were there first.
    Theirs(Bytes),
}

/// Puts the object if nothing is there. After **any** error the object is read: our own bytes mean that the write succeeded,
/// others' that they came first, nothing that it is tried again.
pub(crate) async fn put_once(
    store: &Arc<dyn ObjectStore>,
    name: &Path,
    bytes: &Bytes,
    patience: &Patience,
) -> Result<Placed, DaError> {
    let attempt = || async {
        let put = store.put_opts(name, PutPayload::from(bytes.clone()), PutMode::Create.into()).await;
        let Err(failure) = put else { return Ok(Placed::Ours) };
        match read(store, name).await? {
            Some(found) if found == bytes => Ok(Placed::Ours),
            Some(found) => Ok(Placed::Theirs(found)),
            None => Err(DaError::retry(name, failure)),
        }
    };
    patience.run(attempt).await
}

/// The object's bytes; `None` if there is no such object.
pub(crate) async fn read(store: &Arc<dyn ObjectStore>, name: &Path) -> Result<Option<Bytes>, DaError> {
    let answer = match store.get(name).await {
        Ok(found) => found.bytes().await,
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(failure) => Err(DaError::retry(name, failure)),
    }
}
