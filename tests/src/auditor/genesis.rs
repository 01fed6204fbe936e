//! The genesis record, read as docs/journal.md describes it.

use alloy_primitives::keccak256;
use serde_json::Value;

/// What a deployment was born with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Genesis {
    pub deployment: [u8; 16],
    pub partitions: u32,
}

impl Genesis {
    /// Reads the record, which must have exactly the documented form.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let record: Value = serde_json::from_slice(bytes).map_err(|e| format!("it is no JSON: {e}"))?;
        let text = |name: &str| record[name].as_str().ok_or_else(|| format!("it has no text `{name}`"));
        let number = |name: &str| record[name].as_u64().ok_or_else(|| format!("it has no number `{name}`"));
        let (deployment, created_at, partitions) = (text("deployment")?, text("created_at")?, number("partitions")?);
        let hash = keccak256(format!("1|{deployment}|{partitions}|{created_at}"));
        let fields = format!("\"format\":1,\"deployment\":\"{deployment}\",\"partitions\":{partitions}");
        let expected = format!("{{{fields},\"created_at\":\"{created_at}\",\"hash\":\"{hash:#x}\"}}\n");
        if bytes != expected.as_bytes() {
            return Err(format!("it is not {expected}"));
        }
        let partitions = u32::try_from(partitions).map_err(|_| "it has too many partitions")?;
        Ok(Self { deployment: uuid(deployment)?, partitions })
    }
}

fn uuid(text: &str) -> Result<[u8; 16], String> {
    let number = u128::from_str_radix(&text.replace('-', ""), 16);
    number.map(u128::to_be_bytes).map_err(|_| format!("{text} is no UUID"))
}
