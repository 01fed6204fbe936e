//! The coordinates of the record: partitions, offsets, sequence numbers, epochs, instants.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

/// One partition of the event log, counted from 0. Tables hold it as a 32-bit signed integer, so it stays below 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u32);

impl Partition {
    /// The partition with this number, or `None` above 2^31 − 1.
    pub fn new(number: u32) -> Option<Self> {
        i32::try_from(number).ok().map(|_| Self(number))
    }

    /// The number, from 0.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number as tables hold it.
    pub fn as_i32(self) -> i32 {
        i32::try_from(self.0).expect("a Partition is below 2^31 by construction")
    }

    /// The number as an index into one slot per partition.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many partitions a deployment was born with; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCount(NonZeroU32);

impl PartitionCount {
    /// The most partitions a deployment can have. Kafka clusters rarely run topics wider than this.
    pub const MAX: u32 = 4096;

    /// A count from 1 to [`Self::MAX`], else `None`.
    pub fn new(count: u32) -> Option<Self> {
        NonZeroU32::new(count).filter(|n| n.get() <= Self::MAX).map(Self)
    }

    /// The count.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Every partition, from 0 upwards.
    pub fn partitions(self) -> impl Iterator<Item = Partition> + Clone {
        (0..self.get()).map(Partition)
    }

    /// The partition of a record key: Kafka's default partitioner of the Java client, `toPositive(murmur2(key)) % count`,
    /// so that third-party producers agree on placement.
    pub fn partition_of(self, key: &[u8]) -> Partition {
        Partition((murmur2(key) & 0x7fff_ffff) % self.get())
    }
}

/// Kafka's murmur2 (org.apache.kafka.common.utils.Utils), seed 0x9747b28c.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Kafka mixes in the length as a 32-bit int; keys are at most a few hundred bytes.
    let length = u32::try_from(data.len() & 0xffff_ffff).unwrap_or(u32::MAX);
    let mut h: u32 = 0x9747_b28c ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// A text that is no number of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be a whole number from {first} to 9223372036854775807")]
pub struct OutOfRange {
    /// The least number.
    pub first: u64,
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $first:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The first of them.
            pub const FIRST: Self = Self($first);
            /// The largest: tables hold it as a 64-bit signed integer.
            pub const MAX: Self = Self(i64::MAX as u64);

            /// `None` when the number is outside [`Self::FIRST`]..=[`Self::MAX`].
            pub fn new(number: u64) -> Option<Self> {
                ($first..=Self::MAX.0).contains(&number).then_some(Self(number))
            }

            /// The number.
            pub fn get(self) -> u64 {
                self.0
            }

            /// The number as tables hold it.
            pub fn as_i64(self) -> i64 {
                i64::try_from(self.0).expect("below 2^63 by construction")
            }

            /// The one after it. Panics past 2^63 − 1, which no deployment reaches.
            pub fn next(self) -> Self {
                Self::new(self.0 + 1).expect("a counter does not reach 2^63")
            }

            /// The one before it, `None` at the first.
            pub fn previous(self) -> Option<Self> {
                self.0.checked_sub(1).and_then(Self::new)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = OutOfRange;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().ok().and_then(Self::new).ok_or(OutOfRange { first: $first })
            }
        }
    };
}

counter!(
    /// The place of a sealed batch in its partition, from 0.
    Seq,
    0
);
counter!(
    /// The place of a record in its partition of the event log, from 0.
    Offset,
    0
);
counter!(
    /// A closed stretch of the record whose fees have been shared out, counted from 1.
    Epoch,
    1
);

/// An instant in UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch; `None` outside the years 0000–9999, which RFC 3339 can write.
    pub fn from_micros(micros: i64) -> Option<Self> {
        // 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
        (-62_167_219_200_000_000..=253_402_300_799_999_999).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the Unix epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339 with at most six fractional digits and normalises to UTC. Leap seconds are refused: they have no
    /// place of their own on the Unix time line.
    pub fn parse_rfc3339(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "is not an RFC 3339 time such as 2026-10-01T00:00:00.000000Z";
        let (head, rest) = text.as_bytes().split_first_chunk::<19>().ok_or(SHAPE)?;
        let date = head[4] == b'-' && head[7] == b'-' && matches!(head[10], b'T' | b't');
        if !date || head[13] != b':' || head[16] != b':' {
            return Err(SHAPE);
        }
        let number = |at: std::ops::Range<usize>| digits(&head[at]).ok_or(SHAPE);
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if second == 60 {
            return Err("names a leap second, which is not taken");
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Err(SHAPE);
        }
        let year = i32::try_from(year).expect("a year of four digits");
        let date = NaiveDate::from_ymd_opt(year, month, day).ok_or("names a day that the calendar does not have")?;
        let days = date.signed_duration_since(NaiveDate::default()).num_days();
        let (fraction, zone) = fraction_micros(rest)?;
        let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - zone_seconds(zone).ok_or(SHAPE)?;
        Self::from_micros(seconds * 1_000_000 + fraction).ok_or("lies outside the years 0000 to 9999")
    }
}

/// The number that these ASCII digits write; at most nine of them.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number: u32, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// Reads a fraction of a second if there is one: its microseconds, and what follows.
fn fraction_micros(text: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    let Some(fraction) = text.strip_prefix(b".") else { return Ok((0, text)) };
    let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = fraction.split_at(length);
    match (length, digits(&fraction[..length.min(6)])) {
        (1..=6, Some(number)) => Ok((i64::from(number) * 10_i64.pow(6 - u32::try_from(length).unwrap_or(6)), zone)),
        (0, _) => Err("has a decimal point without digits after it"),
        _ => Err("has more than six fractional digits"),
    }
}

/// The seconds that a zone lies ahead of UTC.
fn zone_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, [h1, h2, b':', m1, m2]) = (match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    }) else {
        return None;
    };
    let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
    (hours <= 23 && minutes <= 59).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at: DateTime<Utc> = DateTime::from_timestamp_micros(self.0).expect("in range by construction");
        f.write_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// Where "now" comes from, so that a test can own it.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place where the machine's clock is read
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(Utc::now().timestamp_micros()).expect("the machine's clock lies between the years 0 and 9999")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_kafkas_java_client() {
        // From org.apache.kafka.common.utils.UtilsTest.testMurmur2.
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn a_time_is_normalised_to_utc_and_keeps_microseconds() {
        for (text, utc) in [
            ("2026-10-01T02:00:00.5+02:00", "2026-10-01T00:00:00.500000Z"),
            ("2026-10-01t00:00:00z", "2026-10-01T00:00:00.000000Z"),
            ("2024-02-29T23:59:59.000001-00:00", "2024-02-29T23:59:59.000001Z"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("2026-01-01T00:00:00+23:59", "2025-12-31T00:01:00.000000Z"),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text).map(|at| at.to_string()), Ok(utc.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_time_that_is_not_rfc_3339_in_microseconds_is_refused() {
        for text in [
            "2026-10-01T00:00:00.1234567Z",
            "2026-06-30T23:59:60Z",
            "2026-10-01T00:00:00",
            "2026-10-01 00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-10-01T24:00:00Z",
            "2026-10-01T00:60:00Z",
            "2026-10-01T00:00:00.Z",
            "2026-10-01T00:00:00,5Z",
            "2026-10-01T00:00:00+24:00",
            "2026-10-01T00:00:00+01:60",
            "2026-10-01T00:00:00+0100",
            "2026-10-01T00:00:00Z ",
            " 2026-10-01T00:00:00Z",
            "2026-10-01T00:00Z",
            "20261001T000000Z",
            "+026-10-01T00:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2026-10-01T00:00:00.é",
            "",
        ] {
            assert!(Timestamp::parse_rfc3339(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_counter_is_read_from_digits_inside_its_range() {
        assert_eq!("1".parse::<Epoch>().map(Epoch::get), Ok(1));
        for text in ["0", "-1", "9223372036854775808", "x", ""] {
            assert!(text.parse::<Epoch>().is_err(), "{text}");
        }
        assert_eq!(Seq::new(0), Some(Seq::FIRST));
        assert_eq!(Seq::FIRST.previous(), None);
        assert_eq!(Epoch::FIRST.previous(), None);
    }

    proptest::proptest! {
        #[test]
        fn a_time_agrees_with_chrono_and_is_read_back(
            micros in -62_167_219_200_000_000_i64..=253_402_300_799_999_999,
            ahead in -1439_i64..=1439,
        ) {
            let at = Timestamp::from_micros(micros).expect("in range");
            proptest::prop_assert_eq!(Timestamp::parse_rfc3339(&at.to_string()), Ok(at));
            let zone = chrono::FixedOffset::east_opt(i32::try_from(ahead * 60).expect("a day")).expect("a day");
            let local = DateTime::from_timestamp_micros(micros).expect("in range").with_timezone(&zone);
            let text = local.to_rfc3339_opts(SecondsFormat::Micros, false);
            if text.len() == 32 {
                proptest::prop_assert_eq!(Timestamp::parse_rfc3339(&text), Ok(at));
            }
        }
    }
}
