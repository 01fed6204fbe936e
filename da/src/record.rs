//! The record of a blob: its place in the sequence and the certificate that counts for it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_journal::genesis::DeploymentId;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units::Hash;

use crate::canonical;
use crate::client::Certificate;
use crate::error::DaError;
use crate::listed::ListedBlob;
use crate::names;
use crate::plan::{self, FORMAT, Plan};

/// A blob with its recorded certificate. The first record under a name wins and is never replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// The name of the blob: keccak-256 of the certificate's bytes.
    pub blob_id: Hash,
    /// The deployment whose batches they are.
    pub deployment: DeploymentId,
    /// The one partition of the blob.
    pub partition: Partition,
    /// Its first batch.
    pub first_seq: Seq,
    /// Its last batch, included.
    pub last_seq: Seq,
    /// The certificate.
    pub certificate: Certificate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    blob_id: String,
    deployment: String,
    partition: u32,
    first_seq: u64,
    last_seq: u64,
    payload_hash: String,
    payload_bytes: u64,
    backend: String,
    commitment: String,
    certified_at: String,
    expires_at: Option<String>,
    certificate: String,
}

impl BlobRecord {
    /// The record of a plan that was carried out.
    pub fn new(plan: &Plan, certificate: Certificate) -> Self {
        Self {
            blob_id: certificate.blob_id(),
            deployment: plan.deployment,
            partition: plan.partition,
            first_seq: plan.first_seq,
            last_seq: plan.last_seq,
            certificate,
        }
    }

    /// Whether it certifies exactly what was planned.
    pub fn carries_out(&self, plan: &Plan) -> bool {
        ListedBlob::of(self).carries_out(plan)
    }

    /// The canonical record.
    pub fn encode(&self) -> Bytes {
        canonical::encode(&Text {
            format: FORMAT,
            blob_id: self.blob_id.to_string(),
            deployment: self.deployment.to_string(),
            partition: self.partition.get(),
            first_seq: self.first_seq.get(),
            last_seq: self.last_seq.get(),
            payload_hash: self.certificate.content_hash.to_string(),
            payload_bytes: self.certificate.payload_bytes,
            backend: self.certificate.backend.clone(),
            commitment: canonical::hex(&self.certificate.commitment),
            certified_at: self.certificate.certified_at.to_string(),
            expires_at: self.certificate.expires_at.map(|at| at.to_string()),
            certificate: canonical::hex(&self.certificate.bytes),
        })
    }

    /// Reads the record that lies under the name of this partition and first batch. [`DaError::Corrupt`] names it.
    pub fn decode(partition: Partition, first: Seq, bytes: &[u8]) -> Result<Self, DaError> {
        let right = Self::parse(bytes).and_then(|blob| match blob.partition == partition && blob.first_seq == first {
            true => Ok(blob),
            false => Err(format!("it certifies partition {} from {}", blob.partition, blob.first_seq)),
        });
        right.map_err(|what| DaError::corrupt(names::certificate(partition, first), what))
    }

    /// Reads a record that lies somewhere else, byte for byte.
    ///
    /// # Errors
    /// Why it is none, for people.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        canonical::decode(bytes).and_then(Self::of_text)
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
        let blob = Self {
            blob_id: canonical::parse_canonical_hash(&text.blob_id)?,
            deployment: plan::parse_deployment(&text.deployment)?,
            partition: plan::parse_partition(text.partition)?,
            first_seq: plan::parse_seq(text.first_seq)?,
            last_seq: plan::parse_seq(text.last_seq)?,
            certificate,
        };
        plan::check_range(blob.first_seq, blob.last_seq)?;
        match blob.certificate.blob_id() == blob.blob_id {
            true => Ok(blob),
            false => {
                Err(format!("its certificate hashes to {}, not to its blob_id {}", blob.certificate.blob_id(), blob.blob_id))
            }
        }
    }
}
