//! What a request says about itself: its framing and its compression.

use axum::http::{HeaderMap, header};

use crate::error::{DoorError, shortened};

/// How events lie in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One event.
    One,
    /// A JSON array of events.
    Array,
    /// One event per line; empty lines are skipped and a carriage return before the line's end is tolerated.
    Lines,
}

/// How a request is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip, also in several members.
    Gzip,
    /// zstd, also in several frames; the window is at most [`Encoding::ZSTD_WINDOW_BYTES`].
    Zstd,
}

impl Encoding {
    /// The largest window of a zstd frame, as RFC 9659 sets it for HTTP.
    pub const ZSTD_WINDOW_BYTES: usize = 1 << Self::ZSTD_WINDOW_LOG;
    pub(crate) const ZSTD_WINDOW_LOG: u32 = 23;

    /// Memory that decompressing takes besides what comes out.
    pub fn overhead_bytes(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Gzip => 64 << 10,
            Self::Zstd => Self::ZSTD_WINDOW_BYTES,
        }
    }
}

/// Reads `Content-Type`; parameters are tolerated, but a charset must be UTF-8.
///
/// # Errors
/// [`DoorError::ContentType`].
pub fn framing(headers: &HeaderMap) -> Result<Framing, DoorError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(DoorError::ContentType { given: "(none)".into() });
    };
    let refused = || DoorError::ContentType { given: shortened(value.as_bytes()) };
    let mut parts = value.to_str().map_err(|_| refused())?.split(';').map(str::trim);
    let framing = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/cloudevents+json" => Framing::One,
        "application/cloudevents-batch+json" => Framing::Array,
        "application/x-ndjson" => Framing::Lines,
        _ => return Err(refused()),
    };
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let charset = value.trim().trim_matches('"');
        let utf8 = charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii");
        if name.trim().eq_ignore_ascii_case("charset") && !utf8 {
            return Err(refused());
        }
    }
    Ok(framing)
}

/// Reads `Content-Encoding`.
///
/// # Errors
/// [`DoorError::ContentEncoding`], also when a request is compressed more than once.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, DoorError> {
    let mut encoding = Encoding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let refused = || DoorError::ContentEncoding { given: shortened(value.as_bytes()) };
        for name in value.to_str().map_err(|_| refused())?.split(',').map(|n| n.trim().to_ascii_lowercase()) {
            let named = match name.as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Encoding::Gzip,
                "zstd" => Encoding::Zstd,
                _ => return Err(refused()),
            };
            if encoding != Encoding::Identity {
                return Err(refused());
            }
            encoding = named;
        }
    }
    Ok(encoding)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_three_content_types_are_taken_with_parameters_in_any_case() {
        let framing = |value| framing(&headers(header::CONTENT_TYPE, &[value]));
        assert_eq!(framing("application/cloudevents+json"), Ok(Framing::One));
        assert_eq!(framing("Application/CloudEvents-Batch+JSON; charset=UTF-8"), Ok(Framing::Array));
        assert_eq!(framing("application/x-ndjson;charset=\"utf-8\"; profile=x"), Ok(Framing::Lines));
        for other in ["application/json", "text/plain", "", "application/x-ndjson; charset=latin1", "application/cloudevents"] {
            assert!(matches!(framing(other), Err(DoorError::ContentType { .. })), "{other}");
        }
        assert!(super::framing(&HeaderMap::new()).is_err());
    }

    #[test]
    fn gzip_and_zstd_are_taken_once() {
        let encoding = |values: &[&str]| encoding(&headers(header::CONTENT_ENCODING, values));
        assert_eq!(encoding(&[]), Ok(Encoding::Identity));
        assert_eq!(encoding(&["identity"]), Ok(Encoding::Identity));
        assert_eq!(encoding(&["GZIP"]), Ok(Encoding::Gzip));
        assert_eq!(encoding(&["identity, zstd"]), Ok(Encoding::Zstd));
        for other in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"], &["deflate"]] {
            assert!(encoding(other).is_err(), "{other:?}");
        }
    }
}
