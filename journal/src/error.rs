//! What can go wrong with the journal, by what the caller must do.

use tributary_eventlog::LogError;
use tributary_schemas::ids::{Partition, Seq};

/// Why the journal could not do what it was asked. The kind says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store, the log or the disk did not answer or is full. Nothing is lost: try again later.
    #[error("{what}: {reason}; nothing is lost, it can be tried again")]
    Retry {
        /// What was tried, on what.
        what: String,
        /// What stood in the way.
        reason: String,
    },
    /// What was asked does not fit this journal: mend the call or the configuration.
    #[error("{0}")]
    Refused(String),
    /// Another sealer wrote this sequence number: stand down, reload, go on with what it wrote.
    #[error("another sealer wrote batch {seq} of partition {partition}")]
    Fenced {
        /// The partition.
        partition: Partition,
        /// The sequence number that was lost.
        seq: Seq,
    },
    /// What was written differs from what was promised. Only an operator can go on from here.
    #[error("corrupt: {object}: {reason}")]
    Corrupt {
        /// The damaged object, or the partition and offsets concerned.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The service was asked to stop.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// Every code, in the order of docs/errors.md.
    pub const CODES: [&'static str; 5] =
        ["journal_unavailable", "journal_refused", "journal_fenced", "journal_corrupt", "journal_closed"];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "journal_unavailable",
            Self::Refused(_) => "journal_refused",
            Self::Fenced { .. } => "journal_fenced",
            Self::Corrupt { .. } => "journal_corrupt",
            Self::Closed => "journal_closed",
        }
    }

    /// Whether trying again later can succeed without anybody's help.
    pub fn is_retry(&self) -> bool {
        matches!(self, Self::Retry { .. })
    }

    /// Whether the record itself is damaged.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    pub(crate) fn retry(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Retry { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn corrupt(object: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { object: object.into(), reason: reason.to_string() }
    }

    /// A failed read or write of an object, other than its absence.
    pub(crate) fn store(object: &object_store::path::Path, error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::corrupt(object.to_string(), "the object is missing"),
            other => Self::retry(object.to_string(), with_causes(other)),
        }
    }

    /// A failure of the event log under the sealer.
    pub(crate) fn log(partition: Partition, error: LogError) -> Self {
        let place = format!("event log of partition {partition}");
        match error {
            LogError::Closed => Self::Closed,
            LogError::Retry { .. } | LogError::Interrupted { .. } => Self::retry(place, error),
            LogError::Reject { .. } | LogError::Exists { .. } | LogError::InUse { .. } => {
                Self::Refused(format!("{place}: {error}"))
            }
            LogError::Missing { offset, next, .. } if next == offset.next() => Self::corrupt(
                format!("partition {partition} of the log, offset {offset}"),
                "no record is there, but the log goes on",
            ),
            LogError::Missing { offset, next, .. } => {
                let last = next.get() - 1;
                Self::corrupt(
                    format!("partition {partition} of the log, offsets {offset} to {last}"),
                    "no record is there, but the log goes on",
                )
            }
            LogError::OutOfRange { .. } | LogError::Corrupt { .. } => Self::corrupt(place, error),
        }
    }
}

/// An error with the errors under it, for `object_store` keeps the cause (such as a full disk) out of some of its texts.
fn with_causes(error: &dyn std::error::Error) -> String {
    const CAUSES_MAX: usize = 8;
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(inner) = cause else { break };
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Why bytes are not the sealed batch they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The object ends inside the header.
    #[error("it ends after {0} bytes, inside the header of 248")]
    HeaderTruncated(usize),
    /// The first four bytes are not `TRIB`.
    #[error("it does not begin with the letters TRIB")]
    Magic,
    /// Written in a format that this program does not know.
    #[error("format version {0} is not known to this program, which reads version 1")]
    Version(u8),
    /// The header does not hash to the hash at its end.
    #[error("the header does not match its own hash")]
    HeaderHash,
    /// A field of the header has a value that no sealer writes.
    #[error("header field `{0}` has an impossible value")]
    Field(&'static str),
    /// The object is shorter or longer than its header says.
    #[error("the body has {found} bytes, but the header says {expected}")]
    BodyLength {
        /// By the header.
        expected: u32,
        /// In the object.
        found: usize,
    },
    /// The body does not hash to the hash in the header.
    #[error("the body does not match the hash in the header")]
    BodyHash,
    /// The body cannot be decompressed to the length in the header.
    #[error("the body does not decompress to the length in the header")]
    Compression,
    /// The body is not the number of length-prefixed events that the header says.
    #[error("the body does not hold the {0} events that the header says")]
    Framing(u32),
    /// The events do not have the Merkle root in the header.
    #[error("the events do not have the Merkle root in the header")]
    Root,
    /// The list of identities has another length than its header says.
    #[error("the list of identities has {found} bytes, but the header says {expected}")]
    IdsLength {
        /// By the header.
        expected: usize,
        /// In the object.
        found: usize,
    },
    /// The list of identities does not hash to the hash at its end.
    #[error("the list of identities does not match its hash")]
    IdsHash,
    /// The body of a batch that records a gap is no decision.
    #[error("the body does not hold the decision on a gap that the header says")]
    Decision,
    /// The batch would not fit its size limit.
    #[error("its events have {0} bytes, more than a batch can hold")]
    TooLarge(usize),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::JournalError;

    #[test]
    fn every_code_is_listed_with_cause_and_cure() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
        let section = docs.split("\n## ").find(|section| section.starts_with("The journal\n")).unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let listed: Vec<&str> = rows.map(|(code, _)| code).collect();
        assert_eq!(listed, JournalError::CODES);
        assert!(JournalError::CODES.contains(&JournalError::Closed.code()));
    }
}
