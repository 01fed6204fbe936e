//! How a command ends: the exit codes that scripts rely on.

use std::fmt::Display;

/// The command could not do what was asked.
pub const FAILED: u8 = 1;
/// Wrong usage or configuration; nothing was done.
pub const USAGE: u8 = 2;
/// A check found a difference.
pub const DIFFERENCE: u8 = 3;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command could not do what was asked.
    #[error("{0}")]
    Failed(String),
    /// Wrong usage or configuration; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// A check found a difference, named here.
    #[error("{0}")]
    Difference(String),
}

impl Failure {
    /// Wraps an error with what was being done.
    pub fn failed(doing: &str, error: impl Display) -> Self {
        Self::Failed(format!("{doing}: {error}"))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => FAILED,
            Self::Usage(_) => USAGE,
            Self::Difference(_) => DIFFERENCE,
        }
    }
}

/// What every subcommand returns.
pub type Outcome = Result<(), Failure>;
