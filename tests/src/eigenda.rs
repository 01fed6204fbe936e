//! EigenDA's own proxy in front of a network in its memory: a process that can be killed and started again, and told to be slow, to
//! fail and to forget.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::patience::Patience;
use crate::services::port;
use crate::{Outcome, ensure, required, tail, worlds};

/// A proxy that was started answers within this, on a machine that is busy with other tests too.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);
/// It looks this often for what has expired.
const FORGETS_WITHIN: Duration = Duration::from_secs(10);

/// For tests that publish little: its points are read in a second, those for 1 MiB in five.
pub const SMALL: [&str; 4] = ["--eigenda.max-blob-length", "128KiB", "--eigenda.v2.max-blob-length", "128KiB"];

/// A proxy and, while it runs, its process.
pub struct Proxy {
    folder: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
    port: u16,
    client: Client,
}

impl Proxy {
    /// Starts a proxy in a new folder, with more options of its own. `None` where it cannot be built: where every test is required
    /// that fails the test, elsewhere it says so loudly.
    pub async fn start(folder: &Path, options: &[&str]) -> Outcome<Option<Self>> {
        let mut build = Command::new(script());
        if !required::is_there("EigenDA's proxy", build.arg("build")).await? {
            return Ok(None);
        }
        let options = options.iter().copied().map(str::to_owned).collect();
        let client = Client::builder().no_proxy().build()?;
        let mut proxy = Self { folder: folder.to_path_buf(), options, child: None, port: port::free()?, client };
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("port"), proxy.port.to_string())?;
        proxy.restart().await?;
        Ok(Some(proxy))
    }

    /// Starts it, on the same port as before, and waits until it answers. It has nothing of what was published before.
    pub async fn restart(&mut self) -> Outcome {
        let patience = Patience::of(ANSWERS_WITHIN);
        self.spawn()?;
        while !self.answers().await {
            patience.pause(|| self.describe("it does not answer")).await?;
            if self.ended()? {
                // Somebody had its port for a moment.
                self.spawn()?;
            }
        }
        Ok(())
    }

    fn spawn(&mut self) -> Outcome {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(script());
        command.arg("run").arg(&self.folder).args(&self.options);
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true).spawn()?);
        Ok(())
    }

    async fn answers(&self) -> bool {
        let answer = self.client.get(format!("{}/health", self.url())).timeout(Duration::from_secs(1)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn ended(&mut self) -> Outcome<bool> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_some(),
            None => true,
        })
    }

    /// Kills it with SIGKILL: what is under way breaks off, and all that was published is gone.
    pub async fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Changes a setting of the network while it runs, such as `PutLatency` to `"2s"`.
    pub async fn set(&self, key: &str, value: impl Into<Value>) -> Outcome {
        let value = value.into();
        let request = self.client.patch(format!("{}/memstore/config", self.url())).json(&json!({ key: value }));
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure(status.is_success(), || format!("{key} cannot be set to {value}: {status} {text}"))
    }

    /// Lets the network forget all that was published, and keep what is published afterwards. `certificate` is of something that it
    /// has: it returns when that is gone.
    pub async fn forget(&self, certificate: &str) -> Outcome {
        self.set("BlobExpiration", "1ns").await?;
        let patience = Patience::of(FORGETS_WITHIN);
        while self.has(certificate).await? {
            patience.pause(|| self.describe("it does not forget")).await?;
        }
        self.set("BlobExpiration", "1h").await
    }

    /// Whether it gives a payload for this certificate, `0x…`.
    pub async fn has(&self, certificate: &str) -> Outcome<bool> {
        let answer = self.client.get(format!("{}/get/{certificate}?commitment_mode=standard", self.url())).send().await?;
        Ok(answer.status().is_success())
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A message with the end of its log.
    pub fn describe(&self, what: &str) -> String {
        format!("EigenDA's proxy in {}: {what}; the end of its log:\n{}", self.folder.display(), tail::of(&self.log_path()))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }
}

fn script() -> PathBuf {
    worlds::root().join("scripts/services/eigenda-proxy")
}
