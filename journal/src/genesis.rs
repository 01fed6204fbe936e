//! The genesis record: what a deployment was born with, and what every role must find again.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_schemas::ids::{PartitionCount, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

/// Names one deployment; every header carries it, so that batches of two deployments never mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(pub [u8; 16]);

impl DeploymentId {
    /// A new name, chosen at random.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }
}

/// As a UUID.
impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first object of a journal, `journal/genesis.json`; written once and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Which deployment this is.
    pub deployment: DeploymentId,
    /// The version of every format in the store; [`Genesis::FORMAT`].
    pub format: u32,
    /// How many partitions the event log has, for ever.
    pub partitions: PartitionCount,
    /// When the journal was created.
    pub created_at: Timestamp,
}

/// The JSON form, its fields in this order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    format: u32,
    deployment: String,
    partitions: u32,
    created_at: String,
    hash: String,
}

impl Genesis {
    /// The format version that this program reads and writes.
    pub const FORMAT: u32 = 1;

    /// One line of JSON and a line feed. `hash` is keccak-256 of `format|deployment|partitions|created_at`.
    pub fn encode(&self) -> Bytes {
        let form = Form {
            format: self.format,
            deployment: self.deployment.to_string(),
            partitions: self.partitions.get(),
            created_at: self.created_at.to_string(),
            hash: format!("{:#x}", self.hash()),
        };
        let mut json = serde_json::to_vec(&form).expect("numbers and texts always have a JSON form");
        json.push(b'\n');
        json.into()
    }

    /// Reads it back; only the exact bytes of [`Self::encode`] are taken.
    ///
    /// # Errors
    /// [`GenesisError`]: a newer format is told apart from damage.
    pub fn decode(bytes: &[u8]) -> Result<Self, GenesisError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |reason: &str| GenesisError::Damaged(reason.to_owned());
        let version: Version = serde_json::from_slice(bytes).map_err(|e| damaged(&e.to_string()))?;
        if version.format != Self::FORMAT {
            return Err(GenesisError::Format(version.format));
        }
        let form: Form = serde_json::from_slice(bytes).map_err(|e| damaged(&e.to_string()))?;
        let deployment = uuid::Uuid::try_parse(&form.deployment).map_err(|e| damaged(&e.to_string()))?;
        let genesis = Self {
            deployment: DeploymentId(deployment.into_bytes()),
            format: form.format,
            partitions: PartitionCount::new(form.partitions).ok_or_else(|| damaged("impossible number of partitions"))?,
            created_at: Timestamp::parse_rfc3339(&form.created_at).map_err(damaged)?,
        };
        if genesis.encode() != bytes {
            return Err(damaged("it does not match its own hash or form"));
        }
        Ok(genesis)
    }

    fn hash(&self) -> Hash {
        let fields = format!("{}|{}|{}|{}", self.format, self.deployment, self.partitions.get(), self.created_at);
        keccak256(fields)
    }
}

/// Why a genesis record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Another version of this program wrote it.
    #[error("format version {0} is not known to this program, which reads version {known}", known = Genesis::FORMAT)]
    Format(u32),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn genesis() -> Genesis {
        Genesis {
            deployment: DeploymentId([7; 16]),
            format: 1,
            partitions: PartitionCount::new(4).unwrap(),
            created_at: Timestamp::from_micros(1_790_000_000_000_000).unwrap(),
        }
    }

    #[test]
    fn a_genesis_record_is_read_back_and_any_flipped_bit_is_found() {
        let bytes = genesis().encode();
        assert_eq!(Genesis::decode(&bytes), Ok(genesis()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Genesis::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let newer = String::from_utf8(genesis().encode().to_vec()).unwrap().replace("\"format\":1", "\"format\":2,\"new\":true");
        assert_eq!(Genesis::decode(newer.as_bytes()), Err(GenesisError::Format(2)));
    }
}
