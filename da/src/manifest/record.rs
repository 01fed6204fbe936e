//! The record of a page of a manifest: its place and the certificate that counts for it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_journal::genesis::DeploymentId;
use tributary_schemas::ids::Epoch;

use crate::canonical;
use crate::client::Certificate;
use crate::error::DaError;
use crate::names;
use crate::plan::{self, FORMAT};

/// A certified page of a manifest. The first record under a name wins and is never replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRecord {
    /// The deployment whose manifest it is.
    pub deployment: DeploymentId,
    /// The epoch.
    pub epoch: Epoch,
    /// The place of the page among those of the epoch, from 0.
    pub page: u32,
    /// Whether it is the last page of the epoch.
    pub last: bool,
    /// The certificate of the page.
    pub certificate: Certificate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    deployment: String,
    epoch: u64,
    page: u32,
    last: bool,
    payload_hash: String,
    payload_bytes: u64,
    backend: String,
    commitment: String,
    certified_at: String,
    expires_at: Option<String>,
    certificate: String,
}

impl ManifestRecord {
    /// The canonical record.
    pub fn encode(&self) -> Bytes {
        canonical::encode(&Text {
            format: FORMAT,
            deployment: self.deployment.to_string(),
            epoch: self.epoch.get(),
            page: self.page,
            last: self.last,
            payload_hash: self.certificate.content_hash.to_string(),
            payload_bytes: self.certificate.payload_bytes,
            backend: self.certificate.backend.clone(),
            commitment: canonical::hex(&self.certificate.commitment),
            certified_at: self.certificate.certified_at.to_string(),
            expires_at: self.certificate.expires_at.map(|at| at.to_string()),
            certificate: canonical::hex(&self.certificate.bytes),
        })
    }

    /// Reads the record that lies under the name of this epoch and page. [`DaError::Corrupt`] names it.
    pub fn decode(epoch: Epoch, page: u32, bytes: &[u8]) -> Result<Self, DaError> {
        let parsed = canonical::decode(bytes).and_then(Self::of_text);
        let right = parsed.and_then(|record| match (record.epoch, record.page) == (epoch, page) {
            true => Ok(record),
            false => Err(format!("it certifies page {} of epoch {}", record.page, record.epoch)),
        });
        right.map_err(|what| DaError::corrupt(names::manifest(epoch, page), what))
    }

    fn of_text(text: Text) -> Result<Self, String> {
        plan::check_format(text.format)?;
        let certificate = Certificate {
            bytes: canonical::parse_hex(&text.certificate)?,
            content_hash: canonical::parse_canonical_hash(&text.payload_hash)?,
            commitment: canonical::parse_hex(&text.commitment)?,
            backend: text.backend,
            certified_at: plan::parse_time(&text.certified_at)?,
            expires_at: text.expires_at.as_deref().map(plan::parse_time).transpose()?,
            payload_bytes: text.payload_bytes,
        };
        certificate.check_bytes()?;
        Ok(Self {
            deployment: plan::parse_deployment(&text.deployment)?,
            epoch: Epoch::new(text.epoch).ok_or_else(|| format!("{} is no epoch", text.epoch))?,
            page: text.page,
            last: text.last,
            certificate,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::client::DaClient;
    use crate::fixture::World;

    #[tokio::test]
    async fn a_record_is_read_back_from_its_own_name_and_every_flipped_bit_is_found() {
        let world = World::new(1).await;
        let certificate = world.client().disperse(Bytes::from_static(b"a page")).await.unwrap();
        let (deployment, epoch) = (world.journal.genesis().deployment, Epoch::new(7).unwrap());
        let record = ManifestRecord { deployment, epoch, page: 2, last: true, certificate };
        let bytes = record.encode();
        assert_eq!(ManifestRecord::decode(epoch, 2, &bytes).unwrap(), record);
        for (epoch, page) in [(epoch.next(), 2), (epoch, 3)] {
            assert!(ManifestRecord::decode(epoch, page, &bytes).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ManifestRecord::decode(epoch, 2, &flipped).is_err(), "bit {bit}");
        }
        let mixed = Certificate { commitment: Bytes::from(vec![0; 64]), ..record.certificate.clone() };
        let mixed = ManifestRecord { certificate: mixed, ..record };
        assert!(ManifestRecord::decode(epoch, 2, &mixed.encode()).is_err(), "what is beside the certificate must be its own");
    }
}
