//! Put-if-absent and reading, with the patience of this stage.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use tributary_journal::placement;

use crate::error::DaError;
use crate::retry::Patience;

pub(crate) use tributary_journal::placement::Placed;

/// Puts the object if nothing is there, by the rule of [`placement::place`]; a store that does not answer is tried again.
pub(crate) async fn put_once(
    store: &Arc<dyn ObjectStore>,
    name: &Path,
    bytes: &Bytes,
    patience: &Patience,
) -> Result<Placed, DaError> {
    let attempt = || async { placement::place(&**store, name, bytes).await.map_err(|failure| DaError::retry(name, failure)) };
    patience.run(attempt).await
}

/// The object's bytes; `None` if there is no such object.
pub(crate) async fn read(store: &Arc<dyn ObjectStore>, name: &Path) -> Result<Option<Bytes>, DaError> {
    placement::read(&**store, name).await.map_err(|failure| DaError::retry(name, failure))
}
