//! Small JSON records with exactly one spelling, each ending with its own hash.
//!
//! A record is a JSON object without white space, its members in the order of the format, and `record_hash` last: the
//! keccak-256 of the same text without that member. So every flipped byte is found, in a value, a name or the hash.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tributary_schemas::units::{Hash, keccak256, parse_hash};

const MEMBER: &str = ",\"record_hash\":\"";
/// `,"record_hash":"0x…64 digits…"}`
const TAIL_BYTES: usize = MEMBER.len() + 66 + 2;

/// The text of a record.
pub fn encode<T: Serialize>(record: &T) -> Bytes {
    let text = serde_json::to_string(record).expect("a record has text, numbers and null only, all of which JSON can write");
    let open = text.strip_suffix('}').expect("a record is a struct with members, which JSON writes as an object");
    Bytes::from(format!("{open}{MEMBER}{}\"}}", keccak256(text.as_bytes())))
}

/// Reads a record; anything but the bytes that [`encode`] gives for it is refused with the reason.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let cut = text.len().checked_sub(TAIL_BYTES).filter(|cut| text.is_char_boundary(*cut)).ok_or("it is cut short")?;
    let (open, tail) = text.split_at(cut);
    let stated =
        tail.strip_prefix(MEMBER).and_then(|rest| rest.strip_suffix("\"}")).ok_or("it does not end with its record_hash")?;
    let body = format!("{open}}}");
    let found = keccak256(body.as_bytes());
    if found.to_string() != stated {
        return Err(format!("its record_hash is {stated}, its text gives {found}"));
    }
    let record: T = serde_json::from_str(&body).map_err(|e| format!("it is not of its format: {e}"))?;
    if encode(&record) != bytes {
        return Err("it is not in its canonical spelling".to_owned());
    }
    Ok(record)
}

/// Bytes as 0x text.
pub fn hex(bytes: &Bytes) -> String {
    format!("0x{bytes:x}")
}

/// Bytes of lower-case 0x text.
pub fn parse_hex(text: &str) -> Result<Bytes, String> {
    let digits =
        text.strip_prefix("0x").filter(|d| d.len() % 2 == 0 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    let digits = digits.ok_or_else(|| format!("`{text}` is not lower-case 0x text"))?;
    let byte = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).map_err(|e| e.to_string());
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A hash of 0x text, in its canonical spelling.
pub fn parse_canonical_hash(text: &str) -> Result<Hash, String> {
    parse_hash(text).ok().filter(|hash| hash.to_string() == text).ok_or_else(|| format!("`{text}` is not a hash"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(deny_unknown_fields)]
    struct Note {
        number: u32,
        text: Option<String>,
    }

    #[test]
    fn a_record_is_read_back_and_every_flipped_bit_is_found() {
        let bytes = encode(&Note { number: 7, text: Some("é".to_owned()) });
        assert_eq!(decode::<Note>(&bytes).unwrap(), Note { number: 7, text: Some("é".to_owned()) });
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Note>(&flipped).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(decode::<Note>(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn another_spelling_with_a_right_hash_is_refused() {
        for body in [
            "{\"number\": 7,\"text\":null}",
            "{\"text\":null,\"number\":7}",
            "{\"number\":7}",
            "{\"number\":7,\"text\":null,\"more\":1}",
        ] {
            let open = body.strip_suffix('}').unwrap();
            let text = format!("{open}{MEMBER}{}\"}}", keccak256(body.as_bytes()));
            assert!(decode::<Note>(text.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(parse_hex("0x").unwrap(), Bytes::new());
        assert_eq!(hex(&parse_hex("0x00ff").unwrap()), "0x00ff");
        for text in ["", "00", "0x0", "0xFF", "0xgg", "0x+1"] {
            assert!(parse_hex(text).is_err(), "{text}");
        }
    }
}
