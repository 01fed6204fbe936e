//! The plan: which batches make the next blob, decided once.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_journal::genesis::DeploymentId;
use tributary_schemas::ids::{Partition, Seq, Timestamp};
use tributary_schemas::units::Hash;

use crate::canonical;
use crate::error::DaError;
use crate::names;

/// The version of the records that this binary writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// The batches `first_seq..=last_seq` of a partition make one blob with this payload. Once it lies in the store, every
/// publisher carries it out exactly so; the plans of a partition tile its sequence without gap or overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The deployment whose batches they are.
    pub deployment: DeploymentId,
    /// The one partition of the blob.
    pub partition: Partition,
    /// Its first batch.
    pub first_seq: Seq,
    /// Its last batch, included.
    pub last_seq: Seq,
    /// keccak-256 of the payload.
    pub payload_hash: Hash,
    /// The length of the payload in bytes.
    pub payload_bytes: u64,
    /// When it was planned.
    pub planned_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    deployment: String,
    partition: u32,
    first_seq: u64,
    last_seq: u64,
    payload_hash: String,
    payload_bytes: u64,
    planned_at: String,
}

impl Plan {
    /// The canonical record.
    pub fn encode(&self) -> Bytes {
        canonical::encode(&Text {
            format: FORMAT,
            deployment: self.deployment.to_string(),
            partition: self.partition.get(),
            first_seq: self.first_seq.get(),
            last_seq: self.last_seq.get(),
            payload_hash: self.payload_hash.to_string(),
            payload_bytes: self.payload_bytes,
            planned_at: self.planned_at.to_string(),
        })
    }

    /// Reads the record that lies under the name of this partition and first batch. [`DaError::Corrupt`] names it.
    pub fn decode(partition: Partition, first: Seq, bytes: &[u8]) -> Result<Self, DaError> {
        let parsed = canonical::decode(bytes).and_then(Self::of_text);
        let right = parsed.and_then(|plan| match plan.partition == partition && plan.first_seq == first {
            true => Ok(plan),
            false => Err(format!("it is the plan of partition {} from {}", plan.partition, plan.first_seq)),
        });
        right.map_err(|what| DaError::corrupt(names::plan(partition, first), what))
    }

    fn of_text(text: Text) -> Result<Self, String> {
        check_format(text.format)?;
        let plan = Self {
            deployment: parse_deployment(&text.deployment)?,
            partition: parse_partition(text.partition)?,
            first_seq: parse_seq(text.first_seq)?,
            last_seq: parse_seq(text.last_seq)?,
            payload_hash: canonical::parse_canonical_hash(&text.payload_hash)?,
            payload_bytes: text.payload_bytes,
            planned_at: parse_time(&text.planned_at)?,
        };
        check_range(plan.first_seq, plan.last_seq)?;
        Ok(plan)
    }
}

pub(crate) fn check_format(format: u32) -> Result<(), String> {
    (format == FORMAT).then_some(()).ok_or_else(|| format!("its format is {format}, this binary knows {FORMAT}"))
}

pub(crate) fn check_range(first: Seq, last: Seq) -> Result<(), String> {
    (first <= last).then_some(()).ok_or_else(|| format!("its last batch {last} lies before its first {first}"))
}

pub(crate) fn parse_deployment(text: &str) -> Result<DeploymentId, String> {
    let wrong = || format!("`{text}` is not a deployment id");
    let digits: String = text.split('-').collect();
    let bytes = canonical::parse_hex(&format!("0x{digits}")).map_err(|_| wrong())?;
    let deployment = DeploymentId(<[u8; 16]>::try_from(bytes.as_ref()).map_err(|_| wrong())?);
    (deployment.to_string() == text).then_some(deployment).ok_or_else(wrong)
}

pub(crate) fn parse_partition(number: u32) -> Result<Partition, String> {
    Partition::new(number).ok_or_else(|| format!("{number} is no partition"))
}

pub(crate) fn parse_seq(number: u64) -> Result<Seq, String> {
    Seq::new(number).ok_or_else(|| format!("{number} is no sequence number"))
}

pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time = Timestamp::parse_rfc3339(text).map_err(|e| format!("`{text}` {e}"))?;
    (time.to_string() == text).then_some(time).ok_or_else(|| format!("`{text}` is not in its canonical spelling"))
}
