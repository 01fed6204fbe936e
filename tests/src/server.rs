//! `tributary dev` as a process of its own: started, killed, started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::Instant;

use crate::command::{self, Ran};
use crate::{Outcome, ensure, tail};

/// `dev` promises to be ready within this.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// On a machine that is busy with other tests a start may take longer; only a test of its own holds it to the promise.
const READY_AT_LAST: Duration = Duration::from_secs(60);
/// A server that was asked to stop does so within this.
const STOP_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--partitions`; none for the directory's own.
    pub partitions: Option<u32>,
    /// Settings, as environment variables.
    pub env: Vec<(String, String)>,
}

impl Options {
    /// With this partition count, and ages so short that a test waits little. More, and smaller, batches and blobs are made so.
    pub fn quick(partitions: u32) -> Self {
        Self { partitions: Some(partitions), env: Vec::new() }.with("SEAL__BATCH_AGE_MS", "50").with("DA__BLOB_AGE_MS", "100")
    }

    /// With another setting, such as `DA__PAUSED`.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        let name = format!("TRIBUTARY__{key}");
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.to_owned()));
        self
    }
}

/// A data directory and, while it runs, the server on it.
pub struct Server {
    data: PathBuf,
    scratch: Option<tempfile::TempDir>,
    options: Options,
    child: Option<Child>,
    port: u16,
    client: Client,
}

impl Server {
    /// Starts a server on a new data directory.
    pub async fn fresh(options: Options) -> Outcome<Self> {
        let scratch = tempfile::tempdir()?;
        let mut server = Self::at(&scratch.path().join("data"), options)?;
        server.scratch = Some(scratch);
        server.start().await?;
        Ok(server)
    }

    /// A server on this data directory, not started.
    pub fn at(data: &Path, options: Options) -> Outcome<Self> {
        let client = Client::builder().no_proxy().build()?;
        Ok(Self { data: data.to_path_buf(), scratch: None, options, child: None, port: 0, client })
    }

    /// Starts it and waits until it is ready: on a free port at first, then always on the same.
    pub async fn start(&mut self) -> Outcome {
        self.spawn().await?;
        self.wait_ready().await
    }

    /// Starts it and waits until it listens, no longer.
    pub async fn spawn(&mut self) -> Outcome {
        let mut arguments = vec!["dev".to_owned(), "--port".to_owned(), self.port.to_string()];
        arguments.extend(["--data-dir".to_owned(), self.data.display().to_string()]);
        if let Some(partitions) = self.options.partitions {
            arguments.extend(["--partitions".to_owned(), partitions.to_string()]);
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = command::prepare(&arguments, &self.options.env);
        let mut child =
            command.stdout(Stdio::piped()).stderr(log).spawn().map_err(|e| format!("{}: {e}", command::binary().display()))?;
        let stdout = child.stdout.take().ok_or("the server has no stdout")?;
        self.child = Some(child);
        let mut lines = BufReader::new(stdout).lines();
        let first =
            tokio::time::timeout(READY_AT_LAST, lines.next_line()).await.map_err(|_| self.describe("it does not listen"))??;
        let first = first.ok_or_else(|| self.describe("it ended before it listened"))?;
        let port = first.rsplit(':').next().and_then(|digits| digits.trim().parse().ok());
        self.port = port.ok_or_else(|| self.describe(&format!("it printed no port: {first}")))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    async fn wait_ready(&mut self) -> Outcome {
        let deadline = Instant::now() + READY_AT_LAST;
        loop {
            let answer = self.client.get(self.route("/readyz")).timeout(READY_WITHIN).send().await;
            if answer.as_ref().is_ok_and(|a| a.status().is_success()) {
                return Ok(());
            }
            ensure(!self.ended()?, || self.describe("it ended before it was ready"))?;
            ensure(Instant::now() < deadline, || self.describe(&format!("it is not ready: {answer:?}")))?;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills it with SIGKILL: nothing of it runs on.
    pub async fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Kills it and starts it again on the same port. A job that holds the directory meanwhile is waited for by `dev` itself.
    pub async fn kill_and_restart(&mut self) -> Outcome {
        self.kill().await?;
        self.start().await
    }

    /// Stops it with SIGTERM and waits for its end, which must be a success.
    pub async fn stop(&mut self) -> Outcome {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).ok_or("the server ended by itself")?;
        kill_process(pid, Signal::TERM)?;
        let status = tokio::time::timeout(STOP_WITHIN, child.wait()).await.map_err(|_| self.describe("it does not stop"))??;
        ensure(status.success(), || self.describe(&format!("it stopped with {status}")))
    }

    /// Restarts it with another setting.
    pub async fn restart_with(&mut self, key: &str, value: &str) -> Outcome {
        self.stop().await?;
        self.options = self.options.clone().with(key, value);
        self.start().await
    }

    /// Whether the process ended.
    pub fn ended(&mut self) -> Outcome<bool> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_some(),
            None => true,
        })
    }

    /// Runs a command against the server: `--url` is added.
    pub async fn remote(&self, arguments: &[&str]) -> Outcome<Ran> {
        let mut all: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        all.extend(["--url".to_owned(), self.url()]);
        command::run(&all, &self.options.env).await
    }

    /// Runs a job on the data directory, with or without the server: `--data-dir` is added.
    pub async fn job(&self, arguments: &[&str]) -> Outcome<Ran> {
        command::run(&self.job_arguments(arguments), &self.options.env).await
    }

    /// Starts a job and leaves it running.
    pub fn spawn_job(&self, arguments: &[&str]) -> Outcome<Child> {
        let mut command = command::prepare(&self.job_arguments(arguments), &self.options.env);
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    fn job_arguments(&self, arguments: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        all.extend(["--data-dir".to_owned(), self.data.display().to_string()]);
        all
    }

    /// Sends lines with `tributary send`.
    pub async fn send(&self, lines: &[String]) -> Outcome<Ran> {
        command::send(&self.url(), lines, &self.options.env).await
    }

    /// The process of the running server.
    pub fn pid(&self) -> Outcome<u32> {
        self.child.as_ref().and_then(Child::id).ok_or_else(|| "the server is not running".into())
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The address of a route.
    pub fn route(&self, path: &str) -> String {
        format!("{}{path}", self.url())
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A client of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How it was started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A message with the end of the log.
    pub fn describe(&self, what: &str) -> String {
        format!("the server on {}: {what}; the end of its log:\n{}", self.data.display(), tail::of(&self.log_path()))
    }

    fn log_path(&self) -> PathBuf {
        let mut path = self.data.clone().into_os_string();
        path.push(".log");
        path.into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("TRIBUTARY_E2E_KEEP").is_some() {
            // What a failed test left is worth looking at.
            if let Some(scratch) = self.scratch.take() {
                eprintln!("kept: {}", scratch.keep().display());
            }
        }
    }
}
