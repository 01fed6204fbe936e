//! The server under test: `tributary dev` as a process of its own, in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Outcome, door, process};

/// A server that was started is ready within this, on a machine that has just built and tested.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How a server is started.
pub struct Launch<'a> {
    /// The binary under test.
    pub bin: &'a Path,
    /// The data directory.
    pub data: &'a Path,
    /// The cores that it runs on, as `taskset` names them; absent: all.
    pub cores: Option<&'a str>,
    /// Settings, as environment variables.
    pub settings: &'a [(&'a str, &'a str)],
}

/// A running server.
pub struct Server {
    child: Child,
    data: PathBuf,
    /// Where the data lie, if nobody else keeps them.
    _directory: Option<tempfile::TempDir>,
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
    pub available_offset: u64,
    pub indexed_offset: u64,
}

impl Server {
    /// Starts the binary on a new data directory and a free port, and waits until it is ready.
    pub async fn start(bin: &Path) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("data");
        let server = Self::launch(&Launch { bin, data: &data, cores: None, settings: &[] }).await?;
        Ok(Self { _directory: Some(directory), ..server })
    }

    /// Starts the binary on a free port and waits until it is ready.
    pub async fn launch(launch: &Launch<'_>) -> Outcome<Self> {
        let mut command = match launch.cores {
            None => Command::new(launch.bin),
            Some(cores) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["--cpu-list", cores]).arg(launch.bin);
                pinned
            }
        };
        command.args(["dev", "--port", "0", "--data-dir"]).arg(launch.data).envs(launch.settings.iter().copied());
        let started = command.stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = started.map_err(|e| format!("{}: {e}", launch.bin.display()))?;
        let stdout = child.stdout.take().ok_or("the server has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next_line().await?.ok_or("the server ended before it listened")?;
        let url = first.rsplit(' ').next().ok_or("the server did not print its address")?.to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = reqwest::Client::builder().no_proxy().build()?;
        let server = Self { child, data: launch.data.to_owned(), _directory: None, url, client };
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let ready = server.client.get(server.route("/readyz")).send().await;
            if ready.is_ok_and(|r| r.status().is_success()) {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("the server is not ready after {READY_WITHIN:?}").into())
    }

    /// The address of a route.
    pub fn route(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data.clone()
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

    /// The metrics.
    pub async fn metrics(&self) -> Outcome<String> {
        Ok(self.client.get(self.route("/metrics")).send().await?.error_for_status()?.text().await?)
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
