//! DuckDB as a second opinion: the same questions over the same Parquet files.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{Outcome, ensure};

/// A question at a cut.
#[derive(Clone, Debug)]
pub struct Question {
    /// The cut, as text.
    pub cut: String,
    /// SQL that DuckDB understands.
    pub sql: String,
}

/// The interpreter with DuckDB. Where every test is required its absence fails the test; elsewhere it says so loudly.
pub async fn python() -> Outcome<Option<PathBuf>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(root.join("scripts/duckdb")).output().await?;
    if output.status.success() {
        return Ok(Some(PathBuf::from(String::from_utf8(output.stdout)?.trim())));
    }
    let how = format!("DuckDB for Python cannot be installed: {}", String::from_utf8_lossy(&output.stderr));
    ensure(std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(), || format!("TRIBUTARY_REQUIRE_ALL is set, but {how}"))?;
    eprintln!("SKIPPED: {how}");
    Ok(None)
}

/// The rows of every question, each value as text.
pub async fn answers(python: &Path, lake: &Path, questions: &[Question]) -> Outcome<Vec<Vec<Vec<String>>>> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bench/duckdb/answer.py");
    let mut command = Command::new(python);
    command.arg(script).arg(lake).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let asked: Vec<Value> = questions.iter().map(|question| json!({"cut": question.cut, "sql": question.sql})).collect();
    let mut stdin = child.stdin.take().ok_or("the peer has no stdin")?;
    stdin.write_all(Value::from(asked).to_string().as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(serde_json::from_slice(&output.stdout)?)
}
