//! What went wrong between the proxy and its caller, by what the caller must do about it.

use std::error::Error;

use bytes::Bytes;
use reqwest::StatusCode;

use crate::certificate::CertificateError;

/// Characters of an explanation that are kept.
const MESSAGE_CHARS_MAX: usize = 1000;

/// A request to the proxy failed.
///
/// | kind | HTTP | after sending a payload | after asking for one |
/// |---|---|---|---|
/// | `Settings` | | mend the address | the same |
/// | `NotSent` | | try again; nothing happened | try again |
/// | `OutcomeUnknown` | | record it; sending again may pay twice | does not happen |
/// | `Interrupted` | | does not happen | try again |
/// | `Rejected` | 400 | never try again | never try again |
/// | `TooLarge` | 413 | never try again; split the payload | does not happen |
/// | `BadCertificate` | 418 | does not happen | give the certificate up for good |
/// | `Busy` | 429 | wait, longer each time | the same |
/// | `FailOver` | 503 | use another backend for a while | try again later, or elsewhere |
/// | `Failed` | 500 | try again, a few times; each may be billed | compare with your own record of the expiry: expired, or down |
/// | `Unexpected` | others | an operator must look | the same |
/// | `AnswerTooLong` | 200 | does not happen | an operator must look |
/// | `Unreadable` | 200 | keep the bytes: the payload is stored and paid for | does not happen |
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The client cannot be made, or has no such request. Nothing was sent.
    #[error("the settings of the proxy are wrong: {what}")]
    Settings {
        /// What is wrong.
        what: String,
    },
    /// No connection came about. Nothing was sent, nothing happened: try again when the proxy is there.
    #[error("not sent, the proxy cannot be reached: {reason}")]
    NotSent {
        /// What stood in the way.
        reason: String,
    },
    /// The payload was sent, or part of it, and no certificate arrived. It may be stored and billed, or become so yet. Record
    /// this as a state of its own; to send again is to risk a second charge.
    #[error("the outcome is unknown, the payload may be stored and billed: {reason}")]
    OutcomeUnknown {
        /// What ended the exchange.
        reason: String,
    },
    /// The answer did not come in time, or broke off. Asking again is safe.
    #[error("the answer did not arrive whole: {reason}")]
    Interrupted {
        /// What ended the exchange.
        reason: String,
    },
    /// The proxy takes no such request, and never will.
    #[error("the proxy refuses the request for good: {message}")]
    Rejected {
        /// What it says.
        message: String,
    },
    /// The payload is larger than EigenDA, the proxy or something before it takes. (v1.8.2 of the proxy answers 500 to this.)
    #[error("the payload is too large: {message}")]
    TooLarge {
        /// How large it may be, or what the proxy says.
        message: String,
    },
    /// The certificate is bad and stays so: no payload will ever be derived from it.
    #[error("the certificate is bad for good, {verdict}: {message}")]
    BadCertificate {
        /// Which check it fails.
        verdict: Verdict,
        /// What the proxy says.
        message: String,
    },
    /// EigenDA takes no more for now. Wait longer after each such answer: the proxy does not wait itself.
    #[error("EigenDA is busy: {message}")]
    Busy {
        /// What the proxy says.
        message: String,
    },
    /// EigenDA does not work for now, after all the tries of the proxy. Use another backend and come back later. A dispersal that
    /// came too late, or was signed by too few, may have been billed.
    #[error("EigenDA does not work for now: {message}")]
    FailOver {
        /// What the proxy says.
        message: String,
    },
    /// Anything else went wrong in the proxy or behind it. To a request for a payload this is also the answer when it is older
    /// than EigenDA keeps it (14 days); only one's own record of the dispersal tells the two apart. After sending a payload it
    /// does not mean that nothing was stored: a proxy with `--storage.error-on-secondary-insert-failure` answers so when the
    /// dispersal is done and only its secondary storage failed.
    #[error("the proxy failed: {message}")]
    Failed {
        /// What it says.
        message: String,
    },
    /// An answer that the proxy does not give to such a request: a 403 if its interface is switched off, and else probably the
    /// answer of something that is no EigenDA proxy. An operator must look. A payload may have been stored.
    #[error("an unexpected answer with status {status}: {message}")]
    Unexpected {
        /// The status.
        status: u16,
        /// The beginning of the body.
        message: String,
    },
    /// A payload longer than any that EigenDA stores.
    #[error("the answer has more than {bytes_max} bytes")]
    AnswerTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The payload is stored, and its certificate is none that this crate can read. Keep the bytes.
    #[error("the certificate cannot be read: {source}")]
    Unreadable {
        /// What came in place of a certificate.
        bytes: Bytes,
        /// What is wrong with it.
        source: CertificateError,
    },
}

/// Which check a certificate fails, by the numbers of the proxy (`coretypes/derivation_errors.go`; other documents number them
/// differently).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 1: it cannot be parsed.
    Unparsable,
    /// 2: it was recorded on the settlement chain too long after its reference block.
    NotRecent,
    /// 3: the verifier contract does not accept it.
    Invalid,
    /// 4: the blob is no encoded payload.
    Undecodable,
    /// A number that is not known here.
    Other(u8),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unparsable => formatter.write_str("unparsable"),
            Self::NotRecent => formatter.write_str("not recent when it was recorded"),
            Self::Invalid => formatter.write_str("invalid by the verifier contract"),
            Self::Undecodable => formatter.write_str("of a blob that is no encoded payload"),
            Self::Other(code) => write!(formatter, "code {code}"),
        }
    }
}

/// The body of a 418.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Teapot {
    status_code: u8,
    #[serde(default)]
    msg: String,
}

impl ProxyError {
    pub(super) fn of_status(status: StatusCode, body: &[u8]) -> Self {
        let message = message(body);
        match status.as_u16() {
            400 => Self::Rejected { message },
            413 => Self::TooLarge { message },
            418 => match serde_json::from_slice::<Teapot>(body) {
                Ok(Teapot { status_code, msg }) => {
                    Self::BadCertificate { verdict: Verdict::of_code(status_code), message: self::message(msg.as_bytes()) }
                }
                // To give a certificate up for good takes more than a status that anybody may send.
                Err(_) => Self::Unexpected { status: 418, message },
            },
            429 => Self::Busy { message },
            500 => Self::Failed { message },
            503 => Self::FailOver { message },
            status => Self::Unexpected { status, message },
        }
    }

    pub(super) fn of_transport(error: reqwest::Error) -> Self {
        if error.is_builder() {
            Self::Settings { what: reason(error) }
        } else if error.is_connect() {
            Self::NotSent { reason: reason(error) }
        } else {
            Self::Interrupted { reason: reason(error) }
        }
    }

    pub(super) fn of_body(error: reqwest::Error) -> Self {
        Self::Interrupted { reason: reason(error) }
    }
}

impl Verdict {
    const fn of_code(code: u8) -> Self {
        match code {
            1 => Self::Unparsable,
            2 => Self::NotRecent,
            3 => Self::Invalid,
            4 => Self::Undecodable,
            other => Self::Other(other),
        }
    }
}

/// The error and its causes on one line, without the URL: a certificate makes it long, and it may hold a password.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    reason
}

/// The beginning of a body as one line of text, whatever it is.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let printable = text.trim().chars().map(|character| if character.is_control() { ' ' } else { character });
    printable.take(MESSAGE_CHARS_MAX).collect()
}
