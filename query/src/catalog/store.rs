//! The one object store that a query can read.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use object_store::ObjectStore;
use url::Url;

const LAKE_URL: &str = "lake://store/";

/// Knows the lake's store and no other: no URL in a query can lead to a file, a bucket or a host.
#[derive(Debug)]
pub(crate) struct LakeOnly {
    store: Arc<dyn ObjectStore>,
}

impl LakeOnly {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// The name under which plans find the lake's store.
    pub(crate) fn url() -> ObjectStoreUrl {
        ObjectStoreUrl::parse(LAKE_URL).expect("a constant URL of scheme and host")
    }
}

impl ObjectStoreRegistry for LakeOnly {
    /// Refused: gives back the store handed in, as if it had been replaced at once.
    fn register_store(&self, _url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        Some(store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.as_str() == LAKE_URL {
            return Ok(Arc::clone(&self.store));
        }
        Err(DataFusionError::Plan(format!("no store is reachable under {url}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_lake_is_reachable() {
        let registry = LakeOnly::new(Arc::new(object_store::memory::InMemory::new()));
        assert!(registry.get_store(LakeOnly::url().as_ref()).is_ok());
        for url in ["file:///etc/passwd", "s3://bucket/", "http://127.0.0.1/", "lake://other/"] {
            assert!(registry.get_store(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
    }
}
