//! The scalars, each with one text in both directions.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use tributary_query::error::{Code, QueryError};
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::{self, parse_hash};

/// The greatest integer that every JSON reader keeps exactly: 2^53 − 1.
pub const LONG_MAX: i64 = (1 << 53) - 1;

fn text_of(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("a string is expected, found {other}")),
    }
}

/// An instant: RFC 3339, microseconds, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

/// RFC 3339, microseconds, UTC
#[Scalar(name = "DateTime")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = text_of(&value)?;
        Timestamp::parse_rfc3339(text).map(Self).map_err(|problem| InputValueError::custom(format!("`{text}` {problem}")))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// An amount in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wei(pub u128);

/// decimal string, unsigned
#[Scalar(name = "Wei")]
impl ScalarType for Wei {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = text_of(&value)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        match text.parse::<u128>() {
            Ok(amount) if digits && i128::try_from(amount).is_ok_and(|amount| amount < 10_i128.pow(38)) => Ok(Self(amount)),
            _ => Err(InputValueError::custom(format!(
                "`{text}` is no amount: digits without sign and leading zeros, at most 38, as a string"
            ))),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// An account's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub units::Address);

/// 0x and 40 hexadecimal digits; given with EIP-55 checksum, taken in any case
#[Scalar(name = "Address")]
impl ScalarType for Address {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = text_of(&value)?;
        let address = units::Address::parse_any_case(&lower_prefix(text));
        address.map(Self).map_err(|problem| InputValueError::custom(format!("`{text}` {problem}")))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.checksummed())
    }
}

/// 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub units::Hash);

/// 0x and 64 hexadecimal digits; taken in any case
#[Scalar(name = "Hash")]
impl ScalarType for Hash {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = text_of(&value)?;
        parse_hash(&lower_prefix(text)).map(Self).map_err(|problem| InputValueError::custom(format!("`{text}` {problem}")))
    }

    fn to_value(&self) -> Value {
        Value::String(format!("{:#x}", self.0))
    }
}

/// The text with `0x` for `0X`.
fn lower_prefix(text: &str) -> String {
    text.strip_prefix("0X").map_or_else(|| text.to_owned(), |digits| format!("0x{digits}"))
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long(pub i64);

impl Long {
    /// A total of many numbers, if it is still one that every JSON reader keeps exactly.
    ///
    /// # Errors
    /// `evaluation`, naming the field.
    pub(crate) fn total(field: &str, total: u128) -> Result<Self, QueryError> {
        let fits = i64::try_from(total).ok().filter(|total| *total <= LONG_MAX);
        fits.map(Self).ok_or_else(|| {
            let message = format!("`{field}` is {total}, more than a Long holds ({LONG_MAX}): ask for it in SQL");
            QueryError::new(Code::Evaluation, message)
        })
    }
}

/// integer 0…2^53−1, a JSON number
#[Scalar(name = "Long")]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        match number {
            Some(number) if (0..=LONG_MAX).contains(&number) => Ok(Self(number)),
            _ => Err(InputValueError::custom(format!("{value} is no whole number from 0 to {LONG_MAX}"))),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// A JSON value, as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Json(pub Value);

/// a JSON value
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}
