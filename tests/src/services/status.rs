//! What a sealer says of its partitions.

use serde_json::Value;

use crate::Outcome;

/// One partition, as `GET /v1/status` of a sealer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: u32,
    /// Whether this sealer seals it.
    pub owned: bool,
    /// Where the log ends; `None` while no broker answers.
    pub next_offset: Option<u64>,
    /// How far it is sealed.
    pub sealed_offset: u64,
    /// What is not sealed yet; `None` while no broker answers.
    pub lag: Option<u64>,
    /// Why it does not get on.
    pub error: Option<String>,
    /// Whether it stands still until an operator mends the record.
    pub stopped: bool,
}

impl PartitionStatus {
    /// Reads the list of a status report.
    pub(super) fn list(report: &Value) -> Outcome<Vec<Self>> {
        let list = report["partitions"].as_array().ok_or_else(|| format!("a status without partitions: {report}"))?;
        let read = |one: &Value| Self::read(one).ok_or_else(|| format!("not the status of a partition: {one}").into());
        list.iter().map(read).collect()
    }

    fn read(one: &Value) -> Option<Self> {
        Some(Self {
            partition: u32::try_from(one["partition"].as_u64()?).ok()?,
            owned: one["owned"].as_bool()?,
            next_offset: one["next_offset"].as_u64(),
            sealed_offset: one["sealed_offset"].as_u64()?,
            lag: one["lag"].as_u64(),
            error: one["error"].as_str().map(str::to_owned),
            stopped: one["stopped"].as_bool()?,
        })
    }
}
