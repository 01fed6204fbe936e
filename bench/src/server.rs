//! The server under test: `tributary dev` as a process of its own, in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Outcome;

/// The unit of CPU times in /proc: fixed at 100 for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server.
pub struct Server {
    child: Child,
    directory: tempfile::TempDir,
    /// Its address.
    pub url: String,
    /// A client with connections to it.
    pub client: reqwest::Client,
}

/// The part of a status report that the bench reads.
#[derive(Deserialize)]
pub struct Status {
    /// One entry per partition.
    pub partitions: Vec<PartitionStatus>,
}

/// Offsets that are that far.
#[derive(Deserialize)]
#[allow(missing_docs)]
pub struct PartitionStatus {
    pub next_offset: u64,
    pub sealed_offset: u64,
    pub indexed_offset: u64,
}

impl Server {
    /// Starts the binary on a free port and waits until it is ready.
    pub async fn start(bin: &Path) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let mut child = Command::new(bin)
            .args(["dev", "--port", "0", "--data-dir"])
            .arg(directory.path().join("data"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{}: {e}", bin.display()))?;
        let stdout = child.stdout.take().ok_or("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next_line().await?.ok_or("the server ended before it listened")?;
        let url = first.rsplit(' ').next().ok_or("the server did not print its address")?.to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = reqwest::Client::builder().no_proxy().build()?;
        let server = Self { child, directory, url, client };
        for _ in 0..100 {
            let ready = server.client.get(server.route("/readyz")).send().await;
            if ready.is_ok_and(|r| r.status().is_success()) {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("the server is not ready after 10 s".into())
    }

    /// The address of a route.
    pub fn route(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Posts NDJSON; fails if anything was refused. Returns how often it had to be repeated.
    pub async fn post(&self, body: bytes::Bytes) -> Outcome<u32> {
        for repeated in 0..1_000 {
            let request = self.client.post(self.route("/v1/events")).header("content-type", "application/x-ndjson");
            let response = request.body(body.clone()).send().await?;
            if response.status().as_u16() == 503 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            let answer: serde_json::Value = response.json().await?;
            return match answer["rejected"].as_array().map(Vec::len) {
                Some(0) => Ok(repeated),
                _ => Err(format!("the door refused: {answer:.400}").into()),
            };
        }
        Err("the door answered 503 a thousand times".into())
    }

    /// Runs a query.
    pub async fn sql(&self, query: &str) -> Outcome<serde_json::Value> {
        let body = serde_json::json!({ "query": query });
        let response = self.client.post(self.route("/v1/sql")).json(&body).send().await?;
        if !response.status().is_success() {
            return Err(response.text().await?.into());
        }
        Ok(response.json().await?)
    }

    /// The status report.
    pub async fn status(&self) -> Outcome<Status> {
        Ok(self.client.get(self.route("/v1/status")).send().await?.json().await?)
    }

    /// The most memory the server held at once, in bytes.
    pub fn peak_memory(&self) -> Outcome<u64> {
        peak_memory(self.child.id().ok_or("the server ended")?)
    }

    /// CPU seconds of the server so far, user and system.
    pub fn cpu_seconds(&self) -> Outcome<f64> {
        let pid = self.child.id().ok_or("the server ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Ends the server.
    pub async fn stop(mut self) -> Outcome<()> {
        if let Some(pid) = self.child.id().and_then(|p| i32::try_from(p).ok()).and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await??;
        Ok(())
    }
}

/// The most memory that the process held at once, in bytes.
pub fn peak_memory(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no VmHWM")?.parse()?;
    Ok(kib * 1024)
}
