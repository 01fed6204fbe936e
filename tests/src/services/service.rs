//! One service as a process: started, killed, paused, asked to stop.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::Instant;

use super::port;
use super::status::PartitionStatus;
use crate::patience::Patience;
use crate::{Outcome, command, ensure, tail};

/// A service that was started listens within this, on a machine that is busy with other tests too.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);
/// While store and brokers fail, a start may take as long as the fault and several attempts.
const LISTENS_AT_LAST: Duration = Duration::from_secs(180);
/// A service answers what it is asked within this, if it runs at all; it may wait for a broker itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// A service and, while it runs, its process.
pub struct Service {
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    log: PathBuf,
    port: u16,
    child: Option<Child>,
    client: Client,
    was_ready: bool,
}

impl Service {
    /// A service of this role, not started. Its log lies beside `data`.
    pub fn new(role: &str, config: &Path, data: &Path, env: Vec<(String, String)>) -> Outcome<Self> {
        let port = port::free()?;
        let arguments = [role, "--config", &config.display().to_string(), "--port", &port.to_string()].map(str::to_owned);
        let (log, client) = (data.with_extension("log"), Client::builder().no_proxy().build()?);
        Ok(Self { arguments: arguments.to_vec(), env, log, port, child: None, client, was_ready: false })
    }

    /// Starts it and waits until it listens.
    pub async fn start(&mut self) -> Outcome {
        self.spawn()?;
        let listens = self.listens(Patience::of(LISTENS_WITHIN)).await?;
        ensure(listens, || self.describe("it ended before it listened"))
    }

    /// Starts it and waits until a SIGKILL ends it.
    pub async fn start_to_die(&mut self, within: Duration) -> Outcome {
        self.spawn()?;
        let mut child = self.child.take().ok_or("it was just started")?;
        let ended = tokio::time::timeout(within, child.wait()).await;
        let status = ended.map_err(|_| self.describe(&format!("it was not killed within {within:?}")))??;
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        ensure(killed, || self.describe(&format!("it was to be killed, and ended with {status}")))
    }

    /// Starts it while the world around it fails: one that ends before it listens is started again.
    pub async fn start_at_last(&mut self) -> Outcome {
        let patience = Patience::of(LISTENS_AT_LAST);
        loop {
            self.spawn()?;
            if self.listens(patience).await? {
                return Ok(());
            }
            patience.pause(|| self.describe("it ends again and again before it listens")).await?;
        }
    }

    fn spawn(&mut self) -> Outcome {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = command::prepare(&self.arguments, &self.env);
        let child = command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null()).spawn();
        self.child = Some(child.map_err(|e| format!("{}: {e}", command::binary().display()))?);
        self.was_ready = false;
        Ok(())
    }

    /// Whether it came to listen; otherwise it ended.
    async fn listens(&mut self, patience: Patience) -> Outcome<bool> {
        loop {
            if self.get("/livez").await.is_ok_and(|(status, _)| status.is_success()) {
                return Ok(true);
            }
            if self.ended()? {
                return Ok(false);
            }
            patience.pause(|| self.describe("it does not listen")).await?;
        }
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self, within: Duration) -> Outcome {
        let patience = Patience::of(within);
        loop {
            let answer = self.get("/readyz").await;
            if answer.as_ref().is_ok_and(|(status, _)| status.is_success()) {
                self.was_ready = true;
                return Ok(());
            }
            ensure(!self.ended()?, || self.describe("it ended before it was ready"))?;
            patience.pause(|| self.describe(&format!("it is not ready: {answer:?}"))).await?;
        }
    }

    /// Starts it again if it ended before it ever was ready, as an orchestrator does. To end later is an error.
    pub async fn look_after(&mut self) -> Outcome {
        if self.child.is_none() {
            return Ok(());
        }
        if self.ended()? {
            ensure(!self.was_ready, || self.describe("it was ready, and ended by itself"))?;
            return self.start_at_last().await;
        }
        if !self.was_ready {
            self.was_ready = self.get("/readyz").await.is_ok_and(|(status, _)| status.is_success());
        }
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub async fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.child.take()
            && child.try_wait()?.is_none()
        {
            child.kill().await?;
        }
        Ok(())
    }

    /// Pauses it with SIGSTOP.
    pub fn pause(&self) -> Outcome {
        Ok(kill_process(self.pid()?, Signal::STOP)?)
    }

    /// Lets it go on with SIGCONT.
    pub fn resume(&self) -> Outcome {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    /// Stops it with SIGTERM. It must end well, and within this time.
    pub async fn stop(&mut self, within: Duration) -> Outcome {
        let began = Instant::now();
        kill_process(self.pid()?, Signal::TERM)?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let ended = tokio::time::timeout(within, child.wait()).await;
        let status = ended.map_err(|_| self.describe(&format!("it did not stop within {within:?}")))??;
        ensure(status.success(), || self.describe(&format!("it stopped with {status} after {:?}", began.elapsed())))
    }

    /// Whether the process ended.
    pub fn ended(&mut self) -> Outcome<bool> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_some(),
            None => true,
        })
    }

    /// What it says of its partitions.
    pub async fn partitions(&self) -> Outcome<Vec<PartitionStatus>> {
        let (status, body) = self.get("/v1/status").await?;
        ensure(status.is_success(), || self.describe(&format!("/v1/status is {status}: {body}")))?;
        PartitionStatus::list(&serde_json::from_str(&body)?)
    }

    /// The partitions that it seals.
    pub async fn owned(&self) -> Outcome<Vec<u32>> {
        let all = self.partitions().await?;
        Ok(all.into_iter().filter(|status| status.owned).map(|status| status.partition).collect())
    }

    /// The status and body of a route.
    pub async fn get(&self, path: &str) -> Outcome<(StatusCode, String)> {
        let answer = self.client.get(format!("{}{path}", self.url())).timeout(ANSWERS_WITHIN).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// The value of a metric, named with its labels.
    pub async fn metric(&self, series: &str) -> Outcome<u64> {
        let (status, text) = self.get("/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = line.and_then(|value| value.parse().ok());
        value.ok_or_else(|| self.describe(&format!("/metrics is {status}, without a whole number for {series}")).into())
    }

    /// The memory that it holds, in bytes.
    pub fn resident_bytes(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        Ok(kib.ok_or_else(|| format!("no VmRSS in {status}"))? * 1024)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A message with the end of the log.
    pub fn describe(&self, what: &str) -> String {
        format!("`tributary {}`: {what}; the end of its log:\n{}", self.arguments.join(" "), tail::of(&self.log))
    }

    fn pid(&self) -> Outcome<Pid> {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw).ok_or_else(|| self.describe("it is not running").into())
    }
}
