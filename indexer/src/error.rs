//! What can go wrong here, and what the caller must do about it.

use object_store::path::Path;
use tributary_journal::JournalError;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::tables::Table;

/// An error of the lake or of the indexer. [`Error::kind`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer, or refused for a reason that may pass (a full disk). Nothing was committed.
    #[error("{what} of `{object}` failed: {source}")]
    Store {
        /// The operation: read, write, list or delete.
        what: &'static str,
        /// The object it was about.
        object: Path,
        /// What the store said.
        source: object_store::Error,
    },
    /// An object of the lake does not hold what it must. It needs a person, or a rebuild from the journal.
    #[error("`{object}` is damaged: {problem}")]
    Corrupt {
        /// The damaged object.
        object: Path,
        /// What is wrong with it.
        problem: String,
    },
    /// A sealed batch holds bytes that are no events of this version.
    #[error("batch {seq} of partition {partition} cannot be indexed: {problem}")]
    Batch {
        /// Its partition.
        partition: Partition,
        /// Its place in the partition.
        seq: Seq,
        /// What is wrong with it.
        problem: String,
    },
    /// A table was written by a version of Delta Lake or of Tributary that this binary does not know.
    #[error("table {table} asks for {feature}, which this version does not know")]
    Unsupported {
        /// The table.
        table: &'static str,
        /// What it asks for.
        feature: String,
    },
    /// The rows handed in do not have the columns of the table.
    #[error("rows for table {table} are refused: {problem}")]
    Rows {
        /// The table.
        table: &'static str,
        /// What is wrong with the rows.
        problem: String,
    },
    /// Other writers committed first every time, up to the limit of attempts. Nothing was committed.
    #[error("table {table} was not committed: other writers were first {attempts} times")]
    Contended {
        /// The table.
        table: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// Parquet or Arrow refused; the rows or the file are at fault.
    #[error("{what} of table {table} failed: {problem}")]
    Format {
        /// The operation.
        what: &'static str,
        /// The table.
        table: &'static str,
        /// What the format said.
        problem: String,
    },
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The service is shutting down.
    #[error("shutting down")]
    Closed,
}

/// What the caller must do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Try again later; nothing was lost.
    Retry,
    /// Do not try again with the same input.
    Reject,
    /// Stop and call a person: the record or the lake is damaged.
    Corrupt,
    /// The service is closing.
    Closed,
}

impl Error {
    /// What the caller must do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store { .. } | Self::Contended { .. } => Kind::Retry,
            Self::Rows { .. } | Self::Unsupported { .. } => Kind::Reject,
            Self::Corrupt { .. } | Self::Batch { .. } | Self::Format { .. } => Kind::Corrupt,
            Self::Journal(error) => journal_kind(error),
            Self::Closed => Kind::Closed,
        }
    }

    /// The stable code that docs/errors.md lists.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store { .. } => "lake_store_failed",
            Self::Corrupt { .. } => "lake_object_damaged",
            Self::Batch { .. } => "lake_batch_unreadable",
            Self::Unsupported { .. } => "lake_version_unknown",
            Self::Rows { .. } => "lake_rows_refused",
            Self::Contended { .. } => "lake_contended",
            Self::Format { .. } => "lake_format_failed",
            Self::Journal(_) => "lake_journal_failed",
            Self::Closed => "lake_closed",
        }
    }

    /// Every code of [`Self::code`].
    pub const CODES: &[&str] = &[
        "lake_store_failed",
        "lake_object_damaged",
        "lake_batch_unreadable",
        "lake_version_unknown",
        "lake_rows_refused",
        "lake_contended",
        "lake_format_failed",
        "lake_journal_failed",
        "lake_closed",
    ];

    pub(crate) fn store(what: &'static str, object: &Path) -> impl FnOnce(object_store::Error) -> Self {
        let object = object.clone();
        move |source| Self::Store { what, object, source }
    }

    pub(crate) fn corrupt(object: &Path, problem: impl ToString) -> Self {
        Self::Corrupt { object: object.clone(), problem: problem.to_string() }
    }

    pub(crate) fn format<E: ToString>(what: &'static str, table: Table) -> impl FnOnce(E) -> Self {
        move |problem| Self::Format { what, table: table.name(), problem: problem.to_string() }
    }
}

fn journal_kind(error: &JournalError) -> Kind {
    match error {
        JournalError::Retry { .. } | JournalError::Fenced { .. } => Kind::Retry,
        JournalError::Refused(_) => Kind::Reject,
        JournalError::Closed => Kind::Closed,
        _ => Kind::Corrupt,
    }
}

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_code_is_listed_in_the_page_of_errors_and_no_other() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let page = std::fs::read_to_string(page).unwrap();
        let section = page.split("\n## ").find(|section| section.starts_with("The lake\n")).unwrap();
        let mut listed: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let mut codes = Error::CODES.to_vec();
        listed.sort_unstable();
        codes.sort_unstable();
        assert_eq!(listed, codes);
    }
}
