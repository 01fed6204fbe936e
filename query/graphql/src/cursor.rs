//! Cursors: where a page ended, and at which point of the record its list was read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use datafusion::common::ScalarValue;

use super::listing::{KeyType, Listing};
use tributary_query::error::{Code, QueryError};
use tributary_query::point::Point;

/// The values of a row's sort keys, and the point. As text it is opaque: base64url of a JSON array.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cursor {
    pub(crate) point: Point,
    pub(crate) values: Vec<ScalarValue>,
}

/// Raised when what cursors say changes, so that older ones are refused rather than misread.
const VERSION: u8 = 1;

impl Cursor {
    /// The cursor of a row of a list.
    pub(crate) fn encode(listing: &Listing, point: &Point, values: &[ScalarValue]) -> Result<String, QueryError> {
        let values = values.iter().map(text_of).collect::<Option<Vec<String>>>();
        let values = values.ok_or_else(|| QueryError::new(Code::Internal, "a sort key is null or of an unknown type"))?;
        let parts = serde_json::json!([VERSION, listing.fingerprint(), point.to_string(), values]);
        Ok(URL_SAFE_NO_PAD.encode(parts.to_string()))
    }

    /// Reads a cursor of this list.
    ///
    /// # Errors
    /// `bad_cursor`.
    pub(crate) fn decode(listing: &Listing, text: &str) -> Result<Self, QueryError> {
        let bad = |what: &str| QueryError::new(Code::BadCursor, format!("a cursor {what}: start again without it"));
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad("is not one that this server gave"))?;
        let parts: (u8, u32, String, Vec<String>) =
            serde_json::from_slice(&json).map_err(|_| bad("is not one that this server gave"))?;
        let (version, fingerprint, point, values) = parts;
        if version != VERSION {
            return Err(bad("is of another version"));
        }
        if fingerprint != listing.fingerprint() || values.len() != listing.order.len() {
            return Err(bad("is of another list or another order"));
        }
        let point = point.parse().map_err(|_| bad("names no point of the record"))?;
        let values =
            values.iter().zip(&listing.order).map(|(text, key)| value_of(text, key.key_type)).collect::<Option<Vec<_>>>();
        Ok(Self { point, values: values.ok_or_else(|| bad("has a value of another type"))? })
    }
}

fn text_of(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            Some(text.clone())
        }
        ScalarValue::Int64(Some(number)) | ScalarValue::TimestampMicrosecond(Some(number), _) => Some(number.to_string()),
        ScalarValue::Int32(Some(number)) => Some(number.to_string()),
        ScalarValue::Decimal128(Some(number), _, 0) => Some(number.to_string()),
        _ => None,
    }
}

fn value_of(text: &str, key_type: KeyType) -> Option<ScalarValue> {
    Some(match key_type {
        KeyType::Text => ScalarValue::Utf8(Some(text.to_owned())),
        KeyType::Long => ScalarValue::Int64(Some(text.parse().ok()?)),
        KeyType::Wei => ScalarValue::Decimal128(Some(text.parse().ok().filter(|n| *n < 10_i128.pow(38))?), 38, 0),
        KeyType::Time => ScalarValue::TimestampMicrosecond(Some(text.parse().ok()?), Some("UTC".into())),
    })
}
