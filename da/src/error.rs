//! What can go wrong, by what the caller must do.

use tributary_journal::JournalError;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Timestamp;

/// A failure of the data-availability stage.
#[derive(Debug, thiserror::Error)]
pub enum DaError {
    /// The world did not answer; the same call may succeed later. Nothing is lost or half done.
    #[error("{object}: {source}")]
    Retry {
        /// The object or backend that did not answer.
        object: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The backend does not work for now, after tries of its own, or cannot be reached. Use another for a while, or come back
    /// later.
    #[error("{object}: the backend does not work for now: {source}")]
    Down {
        /// What was to be published.
        object: String,
        /// Whether this try may be billed; if not, certainly nothing was sent.
        billed: bool,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A payload was sent and no certificate came back. It may be published and paid for, or become so yet. It is recorded as
    /// such; to send it again may be to pay twice.
    #[error("{object} may be published and paid for, but no certificate arrived: {source}")]
    OutcomeUnknown {
        /// What was sent.
        object: String,
        /// What ended the exchange.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another publisher has sent this payload, and its answer is not there yet. Look again: it ends, or counts as ended at the
    /// time that is named.
    #[error("{object} was sent by another publisher, whose answer is waited for until {until}")]
    UnderWay {
        /// What was to be published.
        object: String,
        /// When it is waited for no longer.
        until: Timestamp,
    },
    /// The backend keeps the payload no longer, by our own record of its dispersal. Read the archive.
    #[error("{object} expired at {at}: the backend keeps it no longer")]
    Expired {
        /// The certificate.
        object: String,
        /// When.
        at: Timestamp,
    },
    /// The request can never succeed as it is: too large, or a certificate that the backend calls bad.
    #[error("{object} is refused: {what}")]
    Reject {
        /// What was refused.
        object: String,
        /// Why.
        what: String,
    },
    /// What was read back is not what was written. An operator must look; nothing is repaired in silence.
    #[error("{object} is corrupt: {what}")]
    Corrupt {
        /// The object.
        object: String,
        /// What differs.
        what: String,
    },
    /// A payload is nowhere that it was looked for, and nothing says that it may come back. Restore it into the archive, or name
    /// the store that has it.
    #[error("{object}: {what}")]
    Missing {
        /// The name that the archive has for the payload.
        object: String,
        /// Why nobody gives it.
        what: String,
    },
    /// The certified prefix did not reach the wanted cut in time. Wait longer, or find out why nothing is certified.
    #[error("not certified in time: wanted {wanted}, certified so far {certified}")]
    Late {
        /// The cut that was waited for.
        wanted: Cut,
        /// The certified cut at the deadline.
        certified: Cut,
    },
    /// The journal failed; its own kind says what to do.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl DaError {
    /// The stable code that docs/errors.md lists.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "da_unavailable",
            Self::Down { .. } => "da_backend_down",
            Self::OutcomeUnknown { .. } => "da_outcome_unknown",
            Self::UnderWay { .. } => "da_under_way",
            Self::Expired { .. } => "da_expired",
            Self::Reject { .. } => "da_rejected",
            Self::Corrupt { .. } => "da_corrupt",
            Self::Missing { .. } => "da_missing",
            Self::Late { .. } => "da_not_certified_in_time",
            Self::Journal(_) => "da_journal",
        }
    }

    /// Whether what was stored is damaged or gone, so that an operator must look.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Missing { .. } => true,
            Self::Journal(error) => error.is_corrupt(),
            _ => false,
        }
    }

    pub(crate) fn corrupt(object: impl ToString, what: impl Into<String>) -> Self {
        Self::Corrupt { object: object.to_string(), what: what.into() }
    }

    pub(crate) fn missing(object: impl ToString, what: impl Into<String>) -> Self {
        Self::Missing { object: object.to_string(), what: what.into() }
    }

    pub(crate) fn reject(object: impl ToString, what: impl Into<String>) -> Self {
        Self::Reject { object: object.to_string(), what: what.into() }
    }

    /// Down after something was sent, which may be billed.
    pub(crate) fn down(object: impl ToString, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Down { object: object.to_string(), billed: true, source: source.into() }
    }

    pub(crate) fn unknown(object: impl ToString, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::OutcomeUnknown { object: object.to_string(), source: source.into() }
    }

    pub(crate) fn retry(object: impl ToString, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry { object: object.to_string(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_code_is_listed_with_cause_and_cure() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
        let section = docs.split("\n## ").find(|section| section.starts_with("Data availability\n")).unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let listed: Vec<&str> = rows.map(|(code, _)| code).collect();
        let at = Timestamp::from_micros(0).unwrap();
        let all = [
            DaError::retry("", ""),
            DaError::down("", ""),
            DaError::unknown("", ""),
            DaError::UnderWay { object: String::new(), until: at },
            DaError::Expired { object: String::new(), at },
            DaError::reject("", ""),
            DaError::corrupt("", ""),
            DaError::missing("", ""),
            DaError::Late { wanted: Cut::default(), certified: Cut::default() },
            DaError::Journal(JournalError::Closed),
        ];
        assert_eq!(listed, all.iter().map(DaError::code).collect::<Vec<_>>());
    }
}
