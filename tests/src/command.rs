//! The binary's commands, with what they printed and how they ended.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::{Outcome, ensure};

/// No command of a test takes longer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// A command that ended.
#[derive(Debug)]
pub struct Ran {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Ran {
    /// Fails unless it ended with this exit code.
    pub fn expect_code(self, code: i32) -> Outcome<Self> {
        ensure(self.code == Some(code), || format!("expected exit code {code} of {}", self.describe()))?;
        Ok(self)
    }

    /// The JSON object that it printed.
    pub fn json(&self) -> Outcome<Value> {
        serde_json::from_str(&self.stdout).map_err(|e| format!("no JSON ({e}) from {}", self.describe()).into())
    }

    /// Whether it says this, on stdout or stderr.
    pub fn says(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// The command and all that is known of its end.
    pub fn describe(&self) -> String {
        let Self { arguments, code, stdout, stderr } = self;
        format!("`tributary {}`: exit {code:?}\nstdout: {stdout}\nstderr: {stderr}", arguments.join(" "))
    }
}

/// The binary under test: `TRIBUTARY_BIN`, else the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("TRIBUTARY_BIN") {
        return PathBuf::from(named);
    }
    // …/release/deps/e2e-… → …/release/tributary
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().and_then(|deps| deps.parent()).map(|release| release.join("tributary")).unwrap_or_default()
}

/// A command line of the binary, killed when dropped, in an environment without settings of ours.
pub fn prepare(arguments: &[String], env: &[(String, String)]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRIBUTARY_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(env.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub async fn run(arguments: &[String], env: &[(String, String)]) -> Outcome<Ran> {
    let output = prepare(arguments, env).output();
    let output = tokio::time::timeout(COMMAND_TIMEOUT, output).await;
    let output = output.map_err(|_| format!("`tributary {}` takes too long", arguments.join(" ")))?;
    let output =
        output.map_err(|e| format!("{}: {e}; build it with `make build` or name it in TRIBUTARY_BIN", binary().display()))?;
    Ok(Ran {
        arguments: arguments.to_vec(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Sends lines with `tributary send`, from a file of their own.
pub async fn send(url: &str, lines: &[String], env: &[(String, String)]) -> Outcome<Ran> {
    let mut file = tempfile::Builder::new().suffix(".ndjson").tempfile()?;
    for line in lines {
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    let file_name = file.path().display().to_string();
    run(&["send", &file_name, "--json", "--url", url].map(str::to_owned), env).await
}
