//! What can go wrong with settlement, by what the caller must do.

use std::fmt;

use tributary_da::DaError;
use tributary_journal::JournalError;
use tributary_query::QueryError;
use tributary_query::error::Kind;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;

use crate::allocate::Overflow;

/// Something is not what it must be: the first thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The object, or the table and the key of the row.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

impl Difference {
    pub(crate) fn new(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self { object: object.into(), what: what.into() }
    }
}

/// Why settlement, a check or a rebuild did not come to its end. The kind says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// The store or a stage before did not answer. Nothing is lost or half done: run it again.
    #[error("{what}: {reason}; nothing is lost, it can be run again")]
    Retry {
        /// What was tried, on what.
        what: String,
        /// What stood in the way.
        reason: String,
    },
    /// A stage did not reach the cut in time. No epoch was closed: wait, or find out why that stage stands still.
    #[error("not {stage} in time: the epoch needs {wanted}, reached is {reached}; no epoch was closed")]
    Late {
        /// `certified` or `indexed`.
        stage: &'static str,
        /// The cut that was waited for.
        wanted: Cut,
        /// How far the stage was.
        reached: Cut,
    },
    /// The request does not fit the record: mend the request.
    #[error("{0}")]
    Refused(String),
    /// An epoch was asked for that neither is closed nor is the next.
    #[error("epoch {asked} cannot be settled: {}", latest.map_or("no epoch is closed yet, the next is 1".to_owned(), |n| format!("the latest closed epoch is {n}, the next is {}", n.next())))]
    NoSuchEpoch {
        /// The epoch asked for.
        asked: Epoch,
        /// The latest closed epoch.
        latest: Option<Epoch>,
    },
    /// An amount is above a configured ceiling or above what tables hold. No epoch was closed; somebody must look at the
    /// inferences, and raise the ceiling if they are right.
    #[error("{limit}; no epoch was closed. Inferences: {}{}", inferences.join(", "), if *more > 0 { format!(" and {more} more") } else { String::new() })]
    Ceiling {
        /// Which limit, and by what it is exceeded.
        limit: String,
        /// The inferences concerned, at most [`crate::ledger::NAMED_MAX`].
        inferences: Vec<String>,
        /// How many more there are.
        more: u64,
    },
    /// A blob was certified by a backend whose word does not count here. No epoch was closed, and none will be over this blob until
    /// the configuration lists its backend.
    #[error(
        "blob {object} is certified by `{backend}`, which settlement does not accept ({accepted}); no epoch was closed. If its word is to count, list it in `settlement.available_backends`"
    )]
    BackendNotAccepted {
        /// The record of the blob.
        object: String,
        /// Who certified it.
        backend: String,
        /// Whose word counts.
        accepted: String,
    },
    /// An epoch is closed and its tables are complete, but its manifest is not certified. Nothing is lost: settle again.
    #[error(
        "epoch {epoch} is closed and its tables are complete, but its manifest is not certified yet: {cause}; run settle again, it completes the manifest"
    )]
    ManifestPending {
        /// The epoch.
        epoch: Epoch,
        /// What stood in the way.
        cause: String,
    },
    /// What is stored differs from what follows from the batches. Only an operator can go on from here.
    #[error("{0}")]
    Difference(Difference),
    /// A fault of this program.
    #[error("internal fault: {0}")]
    Internal(String),
    /// The service was asked to stop.
    #[error("shutting down")]
    Closed,
}

impl SettlementError {
    /// The stable code that docs/errors.md lists.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "settlement_unavailable",
            Self::Late { .. } => "settlement_late",
            Self::Refused(_) => "settlement_refused",
            Self::NoSuchEpoch { .. } => "settlement_no_such_epoch",
            Self::Ceiling { .. } => "settlement_ceiling",
            Self::BackendNotAccepted { .. } => "settlement_backend_not_accepted",
            Self::ManifestPending { .. } => "settlement_manifest_pending",
            Self::Difference(_) => "settlement_difference",
            Self::Internal(_) => "settlement_internal",
            Self::Closed => "settlement_closed",
        }
    }

    /// Every code, for the list of docs/errors.md.
    pub const CODES: [&'static str; 10] = [
        "settlement_unavailable",
        "settlement_late",
        "settlement_refused",
        "settlement_no_such_epoch",
        "settlement_ceiling",
        "settlement_backend_not_accepted",
        "settlement_manifest_pending",
        "settlement_difference",
        "settlement_internal",
        "settlement_closed",
    ];

    pub(crate) fn difference(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Difference(Difference::new(object, what))
    }

    pub(crate) fn retry(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Retry { what: what.into(), reason: reason.to_string() }
    }
}

impl From<Difference> for SettlementError {
    fn from(difference: Difference) -> Self {
        Self::Difference(difference)
    }
}

impl From<Overflow> for SettlementError {
    fn from(overflow: Overflow) -> Self {
        Self::Internal(overflow.to_string())
    }
}

impl From<JournalError> for SettlementError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Corrupt { object, reason } => Self::difference(object, reason),
            JournalError::Retry { what, reason } => Self::Retry { what, reason },
            JournalError::Refused(what) => Self::Refused(what),
            JournalError::Closed => Self::Closed,
            JournalError::Fenced { .. } => Self::difference("journal", error.to_string()),
        }
    }
}

impl From<DaError> for SettlementError {
    fn from(error: DaError) -> Self {
        match error {
            DaError::Retry { object, source }
            | DaError::Down { object, source, .. }
            | DaError::OutcomeUnknown { object, source } => Self::retry(object, source),
            DaError::UnderWay { .. } => Self::retry("publishing", error),
            DaError::Expired { .. } => Self::Refused(error.to_string()),
            DaError::Reject { object, what } => Self::Refused(format!("{object} is refused: {what}")),
            DaError::Corrupt { object, what } | DaError::Missing { object, what } => Self::difference(object, what),
            DaError::Late { wanted, certified } => Self::Late { stage: "certified", wanted, reached: certified },
            DaError::Journal(error) => error.into(),
        }
    }
}

impl From<tributary_indexer::Error> for SettlementError {
    fn from(error: tributary_indexer::Error) -> Self {
        use tributary_indexer::Error;
        match error {
            Error::Store { .. } | Error::Contended { .. } => Self::retry("the lake", error),
            Error::Corrupt { object, problem } => Self::difference(object.to_string(), problem),
            Error::Batch { partition, seq, problem } => {
                Self::difference(format!("batch {seq} of partition {partition}"), problem)
            }
            Error::Unsupported { .. } => Self::Refused(error.to_string()),
            Error::Rows { .. } | Error::Format { .. } => Self::Internal(error.to_string()),
            Error::Journal(error) => error.into(),
            Error::Closed => Self::Closed,
        }
    }
}

impl From<QueryError> for SettlementError {
    fn from(error: QueryError) -> Self {
        match error.kind() {
            Kind::Retry | Kind::Limit => Self::retry("a query over the lake", error),
            Kind::Corrupt => Self::difference("the lake", error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

/// From the stream of an answer.
impl From<datafusion::error::DataFusionError> for SettlementError {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        QueryError::from(error).into()
    }
}

impl From<datafusion::arrow::error::ArrowError> for SettlementError {
    fn from(error: datafusion::arrow::error::ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::SettlementError;

    #[test]
    fn every_code_is_listed_with_cause_and_cure() {
        let page = include_str!("../../docs/errors.md");
        let section = page.split("\n## ").find(|section| section.starts_with("Settlement\n")).unwrap_or_default();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let listed: Vec<&str> = rows.map(|(code, _)| code).collect();
        assert_eq!(listed, SettlementError::CODES);
    }
}
