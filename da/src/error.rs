//! What can go wrong, by what the caller must do.

use tributary_journal::JournalError;
use tributary_schemas::cut::Cut;

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
            Self::Reject { .. } => "da_rejected",
            Self::Corrupt { .. } => "da_corrupt",
            Self::Late { .. } => "da_not_certified_in_time",
            Self::Journal(_) => "da_journal",
        }
    }

    pub(crate) fn corrupt(object: impl ToString, what: impl Into<String>) -> Self {
        Self::Corrupt { object: object.to_string(), what: what.into() }
    }

    pub(crate) fn retry(object: impl ToString, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry { object: object.to_string(), source: source.into() }
    }
}
