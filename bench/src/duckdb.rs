//! The peer: DuckDB turning the same NDJSON into typed Parquet, in the same run on the same machine.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::input::Input;

/// What the script prints.
#[derive(Serialize, Deserialize)]
pub struct Duckdb {
    /// Its version.
    pub version: String,
    /// Events converted.
    pub events: u64,
    /// Attribution rows written.
    pub attribution_rows: u64,
    /// From opening the file to the last Parquet file closed.
    pub seconds: f64,
}

/// Writes the input to a file and has DuckDB convert it.
pub fn measure(python: &Path, input: &Input) -> Outcome<Duckdb> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("events.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for line in &input.lines {
        file.write_all(line)?;
    }
    file.into_inner().map_err(|e| e.into_error())?.sync_all()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/duckdb/convert.py");
    let output = Command::new(python).arg(script).arg(&path).arg(directory.path()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
