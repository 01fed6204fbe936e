//! What is read by a certificate that was named, without a record that says that its payload must be there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tributary_da::restore::Nearby;
use tributary_da::{Certificate, DaClient, DaError, Wanted, Witness};
use tributary_schemas::units::keccak256;

/// A [`DaClient`] to which a payload that is nowhere could not be read: nothing differs, it was looked for in the wrong place.
pub(super) struct Named {
    pub near: Nearby,
    /// Behind it.
    pub witness: Arc<Witness>,
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
        let corrupt = match self.near.retrieve(wanted).await {
            Err(corrupt @ DaError::Corrupt { .. }) => corrupt,
            answer => return answer,
        };
        let Some(absent) = self.witness.absent(wanted).await? else { return Err(corrupt) };
        let object = format!("the payload of certificate {}", keccak256(&wanted.certificate));
        Err(DaError::Retry { object, source: format!("{absent}; it was looked for in {}", self.place).into() })
    }
}
