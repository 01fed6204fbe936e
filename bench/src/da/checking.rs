//! Jobs over what was published: verify, and rebuild.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use tokio::process::Command;

use super::backlog::Backlog;
use crate::Outcome;

/// The figures of one job.
#[derive(Serialize)]
pub struct Check {
    /// Which.
    pub what: &'static str,
    /// Events that it says it went through.
    pub events: u64,
    /// From its start to its end.
    pub seconds: f64,
}

/// Runs every job. What goes through all events must say that it did.
pub async fn measure(bin: &Path, backlog: &Backlog, sample: u32) -> Outcome<Vec<Check>> {
    let sample = sample.to_string();
    let into = ["from-journal", "from-da"].map(|name| backlog.beside(name).display().to_string());
    let jobs: [(&'static str, Vec<&str>); 4] = [
        ("verify", vec!["verify"]),
        (BY_SAMPLE, vec!["verify", "--seed", "1", "--sample", &sample]),
        ("rebuild --from journal", vec!["rebuild", "--from", "journal", "--into", &into[0]]),
        ("rebuild --from da", vec!["rebuild", "--from", "da", "--into", &into[1]]),
    ];
    let mut checks = Vec::new();
    for (what, arguments) in jobs {
        eprintln!("bench: {what}");
        let check = run(bin, backlog, what, &arguments).await?;
        if what != BY_SAMPLE && check.events != backlog.events {
            return Err(format!("{what} went through {} of {} events", check.events, backlog.events).into());
        }
        checks.push(check);
    }
    Ok(checks)
}

const BY_SAMPLE: &str = "verify --sample";

async fn run(bin: &Path, backlog: &Backlog, what: &'static str, arguments: &[&str]) -> Outcome<Check> {
    let started = Instant::now();
    let ran = Command::new(bin).args(arguments).args(["--json", "--data-dir"]).arg(backlog.data()).output().await?;
    let seconds = started.elapsed().as_secs_f64();
    if !ran.status.success() {
        return Err(format!("{what}: {}", String::from_utf8_lossy(&ran.stderr)).into());
    }
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout)?;
    let events = report["events"].as_u64().ok_or_else(|| format!("{what} says no events: {report:.300}"))?;
    Ok(Check { what, events, seconds })
}
