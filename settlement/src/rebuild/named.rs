//! What is read by a certificate that was named, without a record that says that its payload must be there.

use async_trait::async_trait;
use bytes::Bytes;
use tributary_da::restore::Nearby;
use tributary_da::{Certificate, DaClient, DaError, Wanted};
use tributary_schemas::units::keccak256;

/// A [`DaClient`] to which a payload that is nowhere could not be read: nothing differs, it was looked for in the wrong place.
pub(super) struct Named {
    pub near: Nearby,
    /// Where it was looked for.
    pub place: String,
}

#[async_trait]
impl DaClient for Named {
    fn backend(&self) -> &'static str {
        self.near.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.near.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.near.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        self.near.disperse(payload).await
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        self.near.retrieve(wanted).await.map_err(|error| match error {
            DaError::Missing { object, what } => {
                let object = format!("the payload {object} of certificate {}", keccak256(&wanted.certificate));
                DaError::Retry { object, source: format!("{what}; it was looked for in {}", self.place).into() }
            }
            other => other,
        })
    }
}
