//! What the end-to-end tests stand on. It knows Tributary only from outside: the binary, HTTP, SQL and files.
//!
//! **Takes** recorded worlds (the flywheel and the edge worlds) and the binary under test.
//! **Gives** servers, services and brokers that can be killed and started again, commands with their exit codes, tables as
//! rows, senders that know what was acknowledged, and an auditor that compares it with the journal.
//! **Promise**: chance comes from a seed that is printed; a wait is for a condition, with a deadline that fails the test.
//! **On failure**: an error that says what was expected and what was seen, with the end of the server's log.

pub mod auditor;
pub mod blobs;
pub mod chance;
pub mod command;
pub mod compare;
pub mod crowd;
pub mod duckdb;
pub mod eigenda;
pub mod forwarder;
pub mod javascript;
pub mod kafka;
pub mod load;
pub mod patience;
pub mod play;
pub mod publishers;
pub mod python;
pub mod questions;
pub mod required;
pub mod server;
pub mod services;
pub mod socket;
pub mod sql;
pub mod storefault;
pub mod tail;
pub mod worlds;

/// What a step of a test gives.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Fails the test with this text unless the condition holds.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// Whether the long form of the tests was asked for, with `TRIBUTARY_E2E=long`.
pub fn long() -> bool {
    std::env::var("TRIBUTARY_E2E").is_ok_and(|form| form == "long")
}
