//! A role of the binary as a process of its own.

use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::process::{Child, Command};

use crate::door::{self, Taken};
use crate::{Outcome, process};

/// A role answers within this.
const START_MAX: Duration = Duration::from_secs(60);
/// How often it is asked whether it does.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// A running role.
pub struct Role {
    name: &'static str,
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Role {
    /// Starts the command, which listens on the port, and waits until `path` answers that all is well.
    pub async fn start(name: &'static str, mut command: Command, port: u16, path: &str) -> Outcome<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
        let child = child.map_err(|e| format!("{name} cannot be started: {e}"))?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut role = Self { name, child, url: format!("http://127.0.0.1:{port}"), client };
        role.wait_for(path).await?;
        Ok(role)
    }

    async fn wait_for(&mut self, path: &str) -> Outcome<()> {
        let started = Instant::now();
        while started.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended before it answered: {status}", self.name).into());
            }
            let answer = self.client.get(format!("{}{path}", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Err(format!("{}: {path} does not answer that all is well after {START_MAX:?}", self.name).into())
    }

    /// Posts NDJSON to the door; fails if anything was refused.
    pub async fn post(&self, body: Bytes) -> Outcome<Taken> {
        door::post(&self.client, &self.url, body).await
    }

    /// What the path answers.
    pub async fn get(&self, path: &str) -> Outcome<String> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// CPU seconds so far, user and system.
    pub fn cpu_seconds(&self) -> Outcome<f64> {
        process::cpu_seconds(self.pid()?)
    }

    /// The memory held now, in bytes.
    pub fn memory(&self) -> Outcome<u64> {
        process::memory(self.pid()?)
    }

    /// Ends it.
    pub async fn stop(self) -> Outcome<()> {
        process::end(self.child).await
    }

    fn pid(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or_else(|| format!("{} ended", self.name))?)
    }
}
