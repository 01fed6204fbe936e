//! How a command ends: the exit codes that scripts rely on, and the stable codes of its message.

use std::fmt::Display;

use tributary_eventlog::kafka::{Fault, FaultKind};

use crate::config::ConfigError;
use crate::lock::LockError;

/// Codes of what keeps a command or a service from its work, where they are no other part's. docs/errors.md lists them.
pub mod code {
    /// The store holds no deployment.
    pub const DEPLOYMENT_MISSING: &str = "deployment_missing";
    /// The store cannot be opened.
    pub const STORE_FAILED: &str = "store_failed";
    /// A folder of the data directory cannot be made.
    pub const DIRECTORY_FAILED: &str = "directory_failed";
    /// The seen-index cannot be opened.
    pub const INDEX_FAILED: &str = "index_failed";
    /// The address cannot be listened on.
    pub const PORT_UNAVAILABLE: &str = "port_unavailable";
}

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

    /// The same with a stable code at the end of its message.
    pub fn with_code(self, code: &str) -> Self {
        let coded = |text: String| format!("{text} [{code}]");
        match self {
            Self::Failed(text) => Self::Failed(coded(text)),
            Self::Usage(text) => Self::Usage(coded(text)),
            Self::Difference(text) => Self::Difference(coded(text)),
        }
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

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string()).with_code(error.code())
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::Failed(error.to_string()).with_code(error.code())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault.kind() {
            FaultKind::Setting | FaultKind::TlsFile => Self::Usage(fault.with_code()),
            _ => Self::Failed(fault.with_code()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_code_of_commands_and_services_is_listed_with_cause_and_cure() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
        let section = docs.split("\n## ").find(|section| section.starts_with("Commands and services\n")).unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let listed: Vec<&str> = rows.map(|(code, _)| code).collect();
        let own = [code::DEPLOYMENT_MISSING, code::STORE_FAILED, code::INDEX_FAILED, code::PORT_UNAVAILABLE];
        let known: Vec<&str> = ConfigError::CODES.into_iter().chain(own).chain(LockError::CODES).collect();
        assert_eq!(listed, known);
        assert!(LockError::CODES.contains(&code::DIRECTORY_FAILED));
    }

    #[test]
    fn a_failure_says_its_code_at_the_end_and_keeps_its_exit_code() {
        let failure = Failure::Usage("no".to_owned()).with_code(code::STORE_FAILED);
        assert_eq!((failure.to_string().as_str(), failure.code()), ("no [store_failed]", USAGE));
    }
}
