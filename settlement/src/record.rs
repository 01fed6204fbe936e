//! The record of an epoch: what closes it. Everything else about the epoch follows from the record and the batches.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Epoch, Timestamp};
use tributary_schemas::units::{Address, Hash, keccak256, parse_hash};

/// The version of the rules by which fees are shared, kept in every record.
pub const RULES_VERSION: u32 = 1;

/// What an epoch is a pure function of, besides the batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Which epoch.
    pub number: Epoch,
    /// What it covers; above the cut of the epoch before.
    pub cut: Cut,
    /// Who gets what the protocol earns in it.
    pub treasury: Address,
    /// By which rules; [`RULES_VERSION`].
    pub rules_version: u32,
    /// When it was closed; never before the epoch before it.
    pub closed_at: Timestamp,
    /// [`EpochRecord::hash`] of the epoch before; 32 zero bytes for the first.
    pub previous_hash: Hash,
    /// The root of the epoch before; 32 zero bytes for the first.
    pub previous_root: Hash,
}

/// The JSON form, its fields in this order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    number: u64,
    cut: String,
    treasury: String,
    rules_version: u32,
    closed_at: String,
    previous_hash: String,
    previous_root: String,
    hash: String,
}

impl EpochRecord {
    /// One line of JSON and a line feed. `hash` is keccak-256 of
    /// `number|cut|treasury|rules_version|closed_at|previous_hash|previous_root`, each as the JSON writes it.
    pub fn encode(&self) -> Bytes {
        let form = Form {
            number: self.number.get(),
            cut: self.cut.to_string(),
            treasury: self.treasury.to_string(),
            rules_version: self.rules_version,
            closed_at: self.closed_at.to_string(),
            previous_hash: format!("{:#x}", self.previous_hash),
            previous_root: format!("{:#x}", self.previous_root),
            hash: format!("{:#x}", self.fields_hash()),
        };
        let mut json = serde_json::to_vec(&form).expect("numbers and texts always have a JSON form");
        json.push(b'\n');
        json.into()
    }

    /// Reads it back; only the exact bytes of [`Self::encode`] are taken, so a single flipped bit is found.
    ///
    /// # Errors
    /// [`RecordError`]: rules that this program does not know are told apart from damage.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let damaged = |reason: &dyn std::fmt::Display| RecordError::Damaged(reason.to_string());
        let form: Form = serde_json::from_slice(bytes).map_err(|e| damaged(&e))?;
        let record = Self {
            number: Epoch::new(form.number).ok_or_else(|| damaged(&"impossible epoch number"))?,
            cut: form.cut.parse().map_err(|e| damaged(&e))?,
            treasury: Address::parse_any_case(&form.treasury).map_err(|e| damaged(&format!("treasury {e}")))?,
            rules_version: form.rules_version,
            closed_at: Timestamp::parse_rfc3339(&form.closed_at).map_err(|e| damaged(&format!("closed_at {e}")))?,
            previous_hash: parse_hash(&form.previous_hash).map_err(|e| damaged(&format!("previous_hash {e}")))?,
            previous_root: parse_hash(&form.previous_root).map_err(|e| damaged(&format!("previous_root {e}")))?,
        };
        if record.encode() != bytes {
            return Err(damaged(&"it does not match its own hash or form"));
        }
        if record.rules_version != RULES_VERSION {
            return Err(RecordError::Rules(record.rules_version));
        }
        Ok(record)
    }

    /// keccak-256 of the encoded record: what the next record holds as `previous_hash`.
    pub fn hash(&self) -> Hash {
        keccak256(self.encode())
    }

    /// Checks that this record can come right after `previous`, or first.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check_follows(&self, previous: Option<&EpochRecord>) -> Result<(), String> {
        let Some(previous) = previous else {
            let first = self.number == Epoch::FIRST && self.previous_hash == Hash::ZERO && self.previous_root == Hash::ZERO;
            return first.then_some(()).ok_or_else(|| "the first epoch has number 1 and nothing before it".to_owned());
        };
        let rules = [
            (self.number == previous.number.next(), "its number does not follow that of the record before"),
            (self.previous_hash == previous.hash(), "previous_hash is not the hash of the record before"),
            (self.cut.is_at_least(&previous.cut), "its cut lies below that of the record before"),
            (self.cut != previous.cut, "its cut is that of the record before"),
            (self.closed_at >= previous.closed_at, "it was closed before the record before"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, broken)| Err((*broken).to_owned()))
    }

    fn fields_hash(&self) -> Hash {
        keccak256(format!(
            "{}|{}|{}|{}|{}|{:#x}|{:#x}",
            self.number, self.cut, self.treasury, self.rules_version, self.closed_at, self.previous_hash, self.previous_root
        ))
    }
}

/// Why bytes are no epoch record that this program can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Closed by rules that this program does not know.
    #[error("rules version {0} is not known to this program, which knows version {known}", known = RULES_VERSION)]
    Rules(u32),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record() -> EpochRecord {
        EpochRecord {
            number: Epoch::FIRST,
            cut: "0:12,1:7".parse().unwrap(),
            treasury: Address::parse("0x00000000000000000000000000000000000fee01").unwrap(),
            rules_version: 1,
            closed_at: Timestamp::parse_rfc3339("2026-10-01T00:00:00Z").unwrap(),
            previous_hash: Hash::ZERO,
            previous_root: Hash::ZERO,
        }
    }

    fn next(previous: &EpochRecord) -> EpochRecord {
        let cut = "0:13,1:7".parse().unwrap();
        EpochRecord { number: previous.number.next(), cut, previous_hash: previous.hash(), ..record() }
    }

    #[test]
    fn a_record_is_read_back_and_any_flipped_bit_is_found() {
        let bytes = record().encode();
        assert_eq!(EpochRecord::decode(&bytes), Ok(record()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(EpochRecord::decode(&flipped).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(EpochRecord::decode(&bytes[..end]).is_err(), "cut to {end} bytes");
        }
    }

    #[test]
    fn a_record_has_the_documented_bytes() {
        let text = String::from_utf8(record().encode().to_vec()).unwrap();
        let zero = format!("0x{}", "0".repeat(64));
        let fields = format!("1|0:12,1:7|0x00000000000000000000000000000000000fee01|1|2026-10-01T00:00:00.000000Z|{zero}|{zero}");
        let expected = format!(
            "{{\"number\":1,\"cut\":\"0:12,1:7\",\"treasury\":\"0x00000000000000000000000000000000000fee01\",\"rules_version\":1,\
             \"closed_at\":\"2026-10-01T00:00:00.000000Z\",\"previous_hash\":\"{zero}\",\"previous_root\":\"{zero}\",\"hash\":\"{:#x}\"}}\n",
            keccak256(fields)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_record_with_other_spacing_or_rules_is_refused() {
        let text = String::from_utf8(record().encode().to_vec()).unwrap();
        assert!(EpochRecord::decode(text.replace("\":", "\": ").as_bytes()).is_err());
        assert!(EpochRecord::decode(text.trim_end().as_bytes()).is_err());
        let newer = EpochRecord { rules_version: 2, ..record() };
        assert_eq!(EpochRecord::decode(&newer.encode()), Err(RecordError::Rules(2)));
    }

    #[test]
    fn a_record_follows_only_the_one_before_it() {
        let first = record();
        let second = next(&first);
        assert_eq!(first.check_follows(None), Ok(()));
        assert_eq!(second.check_follows(Some(&first)), Ok(()));
        assert!(second.check_follows(None).is_err());
        let lower = EpochRecord { cut: "0:13".parse().unwrap(), ..second.clone() };
        assert!(lower.check_follows(Some(&first)).unwrap_err().contains("below"));
        let same = EpochRecord { cut: first.cut.clone(), ..second.clone() };
        assert!(same.check_follows(Some(&first)).unwrap_err().contains("that of the record before"));
        let foreign = EpochRecord { previous_hash: Hash::ZERO, ..second.clone() };
        assert!(foreign.check_follows(Some(&first)).unwrap_err().contains("previous_hash"));
        assert!(next(&second).check_follows(Some(&first)).unwrap_err().contains("number"));
    }
}
