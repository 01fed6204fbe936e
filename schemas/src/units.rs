//! The units of the event rules: addresses, hashes, wei, counts, names, scores. Parsed once; inside, the type is the proof.

use std::fmt;

pub use alloy_primitives::keccak256;

/// 32 bytes: a keccak-256 hash, or one a producer sent.
pub type Hash = alloy_primitives::B256;

/// keccak-256 of the parts in their order, without putting them together first.
pub fn keccak256_of(parts: &[&[u8]]) -> Hash {
    let mut hasher = alloy_primitives::Keccak256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Why a text or number is not of its unit. The message continues "`field` …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(pub &'static str);

/// An account on an EVM chain; never the zero address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 20]);

impl Address {
    /// An address in mixed case whose checksum is wrong; a producer most likely mistyped it.
    pub const BAD_CHECKSUM: UnitError =
        UnitError("is in mixed case, but its EIP-55 checksum does not hold: copy it again, or send it in lower case");

    /// Parses 0x + 40 hex. Mixed case must carry a correct EIP-55 checksum; the zero address is refused.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let address = Self::parse_any_case(text)?;
        let digits = &text[2..];
        let mixed = digits.bytes().any(|b| b.is_ascii_uppercase()) && digits.bytes().any(|b| b.is_ascii_lowercase());
        if mixed && alloy_primitives::Address::from(address.0).to_checksum_buffer(None).as_str() != text {
            return Err(Self::BAD_CHECKSUM);
        }
        Ok(address)
    }

    /// Parses 0x + 40 hex in any case, as queries take it.
    pub fn parse_any_case(text: &str) -> Result<Self, UnitError> {
        let bytes = hex_bytes::<20>(text).ok_or(UnitError("is not an address: 0x and 40 hexadecimal digits"))?;
        Self::from_bytes(bytes)
    }

    /// From its 20 bytes; the zero address is refused.
    pub fn from_bytes(bytes: [u8; 20]) -> Result<Self, UnitError> {
        if bytes == [0; 20] {
            return Err(UnitError("is the zero address, which nobody owns"));
        }
        Ok(Self(bytes))
    }

    /// The 20 bytes.
    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// With its EIP-55 checksum, as GraphQL gives it.
    pub fn checksummed(&self) -> String {
        alloy_primitives::Address::from(self.0).to_checksum(None)
    }
}

/// Lower-case 0x text, as tables hold it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", alloy_primitives::FixedBytes::<20>(self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses a hash: 0x + 64 hex in any case.
pub fn parse_hash(text: &str) -> Result<Hash, UnitError> {
    hex_bytes::<32>(text).map(Hash::from).ok_or(UnitError("is not a hash: 0x and 64 hexadecimal digits"))
}

fn hex_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    let mut seen = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    (seen & NOT_HEX == 0).then_some(bytes)
}

/// A bit that no nibble has.
const NOT_HEX: u8 = 0x80;

/// The value of every hexadecimal digit, [`NOT_HEX`] for other bytes.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NOT_HEX; 256];
    let mut value = 0;
    while value < 16 {
        nibbles[b"0123456789abcdef"[value as usize] as usize] = value;
        nibbles[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    nibbles
};

/// An amount of money in one event, in wei, below 2^96.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wei(u128);

impl Wei {
    /// The first amount that is too large.
    pub const LIMIT: u128 = 1 << 96;

    /// `None` from [`Self::LIMIT`] upwards.
    pub fn new(amount: u128) -> Option<Self> {
        (amount < Self::LIMIT).then_some(Self(amount))
    }

    /// Parses a decimal string without sign or leading zeros.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        const SHAPE: UnitError = UnitError("is not an amount: a decimal string of wei without sign or leading zeros");
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(SHAPE);
        }
        text.parse().ok().and_then(Self::new).ok_or(UnitError("is not below 2^96 wei"))
    }

    /// The amount in wei.
    pub fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Wei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An integer from 0 to 2^53 − 1, which every JSON reader keeps exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(u64);

impl Count {
    /// The largest count.
    pub const MAX: u64 = (1 << 53) - 1;

    /// `None` above [`Self::MAX`].
    pub fn new(count: u64) -> Option<Self> {
        (count <= Self::MAX).then_some(Self(count))
    }

    /// Parses a plain JSON integer literal; `1.0`, `1e3` and `-0` are refused, for readers differ on them.
    pub fn parse(literal: &str) -> Result<Self, UnitError> {
        const SHAPE: UnitError = UnitError("is not a count: an integer from 0 to 9007199254740991");
        if literal.is_empty() || !literal.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SHAPE);
        }
        literal.parse().ok().and_then(Self::new).ok_or(SHAPE)
    }

    /// The count.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The count as tables hold it.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).expect("a Count is below 2^53 by construction")
    }
}

/// 1–256 bytes of UTF-8 without control characters (Unicode category Cc).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The most bytes a name has.
    pub const MAX_BYTES: usize = 256;

    /// Checks the length and the characters.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    /// The same for a text that is already owned.
    pub fn from_string(text: String) -> Result<Self, UnitError> {
        Self::check(&text)?;
        Ok(Self(text.into_boxed_str()))
    }

    /// Whether the text is a name.
    pub(crate) fn check(text: &str) -> Result<(), UnitError> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(UnitError("must have 1 to 256 bytes of UTF-8"));
        }
        let plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        if !plain && text.chars().any(char::is_control) {
            return Err(UnitError("contains a control character (Unicode category Cc)"));
        }
        Ok(())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A rating in [−1, 1], kept as integer millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(i32);

impl Score {
    /// From millionths; `None` outside ±1,000,000.
    pub fn from_millionths(millionths: i32) -> Option<Self> {
        (-1_000_000..=1_000_000).contains(&millionths).then_some(Self(millionths))
    }

    /// Parses a JSON number literal whose exact decimal value has at most six decimals (`5e-7` has seven, `0.5000000` one).
    pub fn parse(literal: &str) -> Result<Self, UnitError> {
        const RANGE: UnitError = UnitError("is not a score in [-1, 1]");
        let (negative, unsigned) = literal.strip_prefix('-').map_or((false, literal), |rest| (true, rest));
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: String = [whole, fraction].concat();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(UnitError("is not a JSON number"));
        }
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok(Self(0));
        }
        // Value = significant × 10^power, with the zeros cut off at the right given back to the power. An exponent too
        // long for i64 is far outside the range either way.
        let exponent: i64 = exponent.parse().map_err(|_| RANGE)?;
        let cut = digits.len() - digits.trim_end_matches('0').len();
        let offset = i64::try_from(cut).map_err(|_| RANGE)? - i64::try_from(fraction.len()).map_err(|_| RANGE)?;
        let power = exponent.saturating_add(offset);
        if power < -6 {
            return Err(UnitError("has more than six decimals"));
        }
        if significant.len() > 7 || power > 0 {
            return Err(RANGE);
        }
        let shift = u32::try_from(power + 6).map_err(|_| RANGE)?;
        let value: i64 = significant.parse::<i64>().map_err(|_| RANGE)? * 10_i64.pow(shift);
        i32::try_from(if negative { -value } else { value }).ok().and_then(Self::from_millionths).ok_or(RANGE)
    }

    /// The score in millionths.
    pub fn millionths(self) -> i32 {
        self.0
    }
}

/// As a JSON number: the shortest decimal text.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let digits = format!("{fraction:06}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            digits => write!(f, "{sign}{whole}.{digits}"),
        }
    }
}

/// A share in basis points, 0–10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bps(u16);

impl Bps {
    /// The whole.
    pub const WHOLE: u16 = 10_000;

    /// `None` above 10000.
    pub fn new(bps: u64) -> Option<Self> {
        u16::try_from(bps).ok().filter(|b| *b <= Self::WHOLE).map(Self)
    }

    /// The share.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// How much a contribution weighed in an inference: 1 … 2^31 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

impl Weight {
    /// `None` for 0 and from 2^31 upwards.
    pub fn new(weight: u64) -> Option<Self> {
        i32::try_from(weight).ok().filter(|w| *w > 0).map(|w| Self(w.unsigned_abs()))
    }

    /// The weight.
    pub fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests;
