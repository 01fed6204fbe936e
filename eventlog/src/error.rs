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
