//! Checks in Python, with its standard library alone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::command::Ran;
use crate::{Outcome, ensure};

/// No check takes longer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(280);
/// Exits well from the oldest version that the scripts promise to run on.
const IS_NEW_ENOUGH: &str = "import sys; sys.exit(sys.version_info < (3, 9))";

/// Whether Python is there. Where every test is required its absence fails the test; elsewhere it says so loudly.
pub async fn is_there() -> Outcome<bool> {
    let version = Command::new("python3").args(["-c", IS_NEW_ENOUGH]).output().await;
    if version.is_ok_and(|output| output.status.success()) {
        return Ok(true);
    }
    let how = "Python is missing: install python3, version 3.9 or newer";
    ensure(std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(), || format!("TRIBUTARY_REQUIRE_ALL is set, but {how}"))?;
    eprintln!("SKIPPED: {how}");
    Ok(false)
}

/// The folder of examples.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Runs Python with these arguments to its end.
pub async fn run(arguments: &[String]) -> Outcome<Ran> {
    let mut command = Command::new("python3");
    command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(CHECK_TIMEOUT, command.output()).await;
    let output = output.map_err(|_| format!("`python3 {}` takes longer than {CHECK_TIMEOUT:?}", arguments.join(" ")))??;
    Ok(Ran {
        arguments: [&["python3".to_owned()], arguments].concat(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
