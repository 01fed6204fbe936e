//! The server under test: `tributary dev` as a process of its own, in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Outcome, door, process};

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
        Ok(door::post(&self.client, &self.url, body).await?.repeated)
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
        process::peak_memory(self.pid()?)
    }

    /// CPU seconds of the server so far, user and system.
    pub fn cpu_seconds(&self) -> Outcome<f64> {
        process::cpu_seconds(self.pid()?)
    }

    /// Ends the server.
    pub async fn stop(self) -> Outcome<()> {
        process::end(self.child).await
    }

    fn pid(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or("the server ended")?)
    }
}
