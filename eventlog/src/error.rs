//! What went wrong with the log, by what the caller must do about it.

use std::path::PathBuf;

use tributary_schemas::ids::{Offset, Partition};

use crate::record::Bounds;

/// An error of the event log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Try again later: the disk is full, or the log is recovering.
    #[error("the event log is not available now: {reason}")]
    Retry {
        /// What stands in the way, and what ends it.
        reason: String,
    },
    /// Do not try again: the request can never succeed, for the reason given.
    #[error("the event log refuses this: {reason}")]
    Reject {
        /// Which rule it breaks.
        reason: String,
    },
    /// There is a log already where a new one was to be made: open it, or name another directory.
    #[error("{} holds an event log already", dir.display())]
    Exists {
        /// The directory of the log.
        dir: PathBuf,
    },
    /// Another process, or this one, has the log open already.
    #[error("the event log in {} is in use: another process (or this one) has it open", dir.display())]
    InUse {
        /// The directory of the log.
        dir: PathBuf,
    },
    /// The offset is not among those held: a reader that meets this has a gap.
    #[error(
        "offset {offset} of partition {partition} is outside what the event log holds: {} up to, but not including, {}",
        bounds.earliest,
        bounds.next
    )]
    OutOfRange {
        /// The partition asked for.
        partition: Partition,
        /// The offset asked for.
        offset: Offset,
        /// What the log held at that moment.
        bounds: Bounds,
    },
    /// Stop: the log has no record at this offset, but goes on behind it. Transactions of other writers leave such holes, and so does
    /// compaction.
    #[error("partition {partition} of the event log has no record at offset {offset}, but goes on at {next}")]
    Missing {
        /// The partition that was read.
        partition: Partition,
        /// Where a record is missing.
        offset: Offset,
        /// The first offset behind the hole.
        next: Offset,
    },
    /// Compare the log with what was read before, then go on: something happened to it, and what follows may not follow.
    #[error("reading partition {partition} of the event log was interrupted: what follows may be another log")]
    Interrupted {
        /// The partition that was read.
        partition: Partition,
    },
    /// Stop: what is stored is not what was written.
    #[error("the event log is damaged: {reason}")]
    Corrupt {
        /// What does not fit.
        reason: String,
    },
    /// Stop: the log was closed.
    #[error("the event log is closed")]
    Closed,
}

impl LogError {
    /// Every code, listed in docs/errors.md.
    pub const CODES: &[&str] = &[
        "log_not_available",
        "log_refused",
        "log_in_use",
        "log_out_of_range",
        "log_record_missing",
        "log_interrupted",
        "log_damaged",
        "log_closed",
    ];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "log_not_available",
            Self::Reject { .. } | Self::Exists { .. } => "log_refused",
            Self::InUse { .. } => "log_in_use",
            Self::OutOfRange { .. } => "log_out_of_range",
            Self::Missing { .. } => "log_record_missing",
            Self::Interrupted { .. } => "log_interrupted",
            Self::Corrupt { .. } => "log_damaged",
            Self::Closed => "log_closed",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_code_is_documented() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
        let section = docs.split("\n## ").find(|section| section.starts_with("The log\n")).unwrap();
        for code in LogError::CODES {
            assert!(section.contains(&format!("| `{code}` |")), "docs/errors.md lacks {code}");
        }
        assert!(LogError::CODES.contains(&LogError::Closed.code()));
    }
}
