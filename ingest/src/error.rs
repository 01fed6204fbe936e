//! Why a whole request was refused, as `application/problem+json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A request that was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// Send one of the content types of the door.
    #[error(
        "the content type {given} is not taken: send application/cloudevents+json, application/cloudevents-batch+json or \
         application/x-ndjson, in UTF-8"
    )]
    ContentType {
        /// What the request says, shortened.
        given: String,
    },
    /// Compress with gzip or zstd, or not at all.
    #[error("the content encoding {given} is not taken: send gzip, zstd or none")]
    ContentEncoding {
        /// What the request says, shortened.
        given: String,
    },
    /// Split the request.
    #[error("the request has more than {max} bytes, before or after decompression: split it")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// Split the request.
    #[error("the request has more than {max} events: split it")]
    TooManyEvents {
        /// The limit.
        max: usize,
    },
    /// Send UTF-8.
    #[error("the request is not UTF-8: event {index}, or what stands beside it, has other bytes")]
    NotUtf8 {
        /// Which event has the bytes, or stands before them.
        index: usize,
    },
    /// Leave the byte order mark out.
    #[error("the request begins with a byte order mark: leave it out")]
    ByteOrderMark,
    /// Send one JSON array.
    #[error("the request is not a JSON array of events: {reason}")]
    NotArray {
        /// What is wrong.
        reason: &'static str,
    },
    /// Compress again.
    #[error("the request cannot be decompressed: {reason}")]
    Compression {
        /// What the decoder says.
        reason: String,
    },
    /// Send it whole.
    #[error("the request ended before it was complete: {reason}")]
    Incomplete {
        /// What the connection says.
        reason: String,
    },
    /// Send faster, or in smaller pieces.
    #[error("the request did not arrive in time: send it again, in smaller pieces if the line is slow")]
    Slow,
    /// Send it again in a moment.
    #[error("too many requests are under way ({what}): send it again in a moment")]
    Overloaded {
        /// Which limit was met.
        what: &'static str,
    },
    /// Send it again later. Some of its events may have been recorded.
    #[error("events cannot be recorded now; some of this request may have been, and sending it again is safe: {reason}")]
    LogUnavailable {
        /// What the log says.
        reason: String,
        /// When to try again, in seconds.
        retry_after: u32,
    },
    /// Only POST is served here.
    #[error("this address takes POST only")]
    Method,
    /// Reach the server under a loopback name.
    #[error("the Host {given} is no loopback name: this server answers on this machine only")]
    Host {
        /// What the request says, shortened.
        given: String,
    },
    /// Not from another site's page.
    #[error("the Origin {given} is another site: this server answers no web pages but its own")]
    Origin {
        /// What the request says, shortened.
        given: String,
    },
}

/// Every code of [`DoorError`], with its status; listed in docs/errors.md.
pub const CODES: &[(&str, u16)] = &[
    ("content_type_unsupported", 415),
    ("content_encoding_unsupported", 415),
    ("request_too_large", 413),
    ("too_many_events", 413),
    ("not_utf8", 400),
    ("byte_order_mark", 400),
    ("not_an_array", 400),
    ("bad_compression", 400),
    ("request_incomplete", 400),
    ("request_timeout", 408),
    ("overloaded", 503),
    ("log_unavailable", 503),
    ("method_not_allowed", 405),
    ("host_not_loopback", 403),
    ("origin_foreign", 403),
];

impl DoorError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.facts().0
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.facts().1
    }

    fn facts(&self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::ContentType { .. } => {
                ("content_type_unsupported", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content type not supported")
            }
            Self::ContentEncoding { .. } => {
                ("content_encoding_unsupported", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content encoding not supported")
            }
            Self::TooLarge { .. } => ("request_too_large", StatusCode::PAYLOAD_TOO_LARGE, "Request too large"),
            Self::TooManyEvents { .. } => ("too_many_events", StatusCode::PAYLOAD_TOO_LARGE, "Too many events"),
            Self::NotUtf8 { .. } => ("not_utf8", StatusCode::BAD_REQUEST, "Not UTF-8"),
            Self::ByteOrderMark => ("byte_order_mark", StatusCode::BAD_REQUEST, "Byte order mark"),
            Self::NotArray { .. } => ("not_an_array", StatusCode::BAD_REQUEST, "Not an array"),
            Self::Compression { .. } => ("bad_compression", StatusCode::BAD_REQUEST, "Bad compression"),
            Self::Incomplete { .. } => ("request_incomplete", StatusCode::BAD_REQUEST, "Request incomplete"),
            Self::Slow => ("request_timeout", StatusCode::REQUEST_TIMEOUT, "Request too slow"),
            Self::Overloaded { .. } => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Too busy"),
            Self::LogUnavailable { .. } => ("log_unavailable", StatusCode::SERVICE_UNAVAILABLE, "Log not writable"),
            Self::Method => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::Host { .. } => ("host_not_loopback", StatusCode::FORBIDDEN, "Host not allowed"),
            Self::Origin { .. } => ("origin_foreign", StatusCode::FORBIDDEN, "Origin not allowed"),
        }
    }

    /// After how many seconds sending again makes sense.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Overloaded { .. } => Some(1),
            Self::LogUnavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

#[derive(serde::Serialize)]
struct Problem<'a> {
    code: &'a str,
    title: &'a str,
    status: u16,
    detail: String,
}

impl IntoResponse for DoorError {
    fn into_response(self) -> Response {
        let (code, status, title) = self.facts();
        let problem = Problem { code, title, status: status.as_u16(), detail: self.to_string() };
        let json = serde_json::to_string(&problem).expect("a struct of strings and a number is always JSON");
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self == Self::Method {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// A value of a header as a message repeats it: at most 64 characters, nothing invisible.
pub(crate) fn shortened(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    format!("`{}`", text.chars().filter(|c| !c.is_control()).take(64).collect::<String>())
}
