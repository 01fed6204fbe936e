//! Checks in JavaScript, with the libraries that clients of the interface use. Node.js runs them; the packages are installed
//! once, by the lock file, outside the checkout.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::{Outcome, ensure};

/// No check takes longer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(280);

/// Whether Node.js is there. Where every test is required its absence fails the test; elsewhere it says so loudly.
pub async fn is_there() -> Outcome<bool> {
    let version = Command::new("node").arg("--version").output().await;
    if version.is_ok_and(|output| output.status.success()) {
        return Ok(true);
    }
    let how = "Node.js is missing: install nodejs and npm, version 20 or newer";
    ensure(std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(), || format!("TRIBUTARY_REQUIRE_ALL is set, but {how}"))?;
    eprintln!("SKIPPED: {how}");
    Ok(false)
}

/// The folder with the checks and their packages.
async fn folder() -> Outcome<PathBuf> {
    static READY: OnceCell<PathBuf> = OnceCell::const_new();
    let install = || async {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/js-checks");
        let output = Command::new(script).output().await?;
        ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
    };
    READY.get_or_try_init(install).await.cloned()
}

/// Runs a check with these arguments and this input; it must end well. Gives what it printed.
pub async fn check(name: &str, arguments: &[&str], input: &str) -> Outcome<String> {
    let mut command = Command::new("node");
    command.arg(folder().await?.join(name)).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut stdin = child.stdin.take().ok_or("the check has no stdin")?;
    let input = input.to_owned();
    // A check that ends before it has read everything says why by itself.
    let feed = tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
    let output = tokio::time::timeout(CHECK_TIMEOUT, child.wait_with_output()).await;
    let output = output.map_err(|_| format!("{name} took longer than {CHECK_TIMEOUT:?}"))??;
    feed.await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(4_000).collect::<String>();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    ensure(output.status.success(), || format!("{name} failed with {}:\n{stdout}\n{stderr}", output.status))?;
    Ok(stdout)
}
