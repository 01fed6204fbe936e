//! A deployment over a real Kafka: `tributary ingest` and `tributary seal` as processes of their own, any number of each, over
//! one store.

pub(crate) mod port;
mod service;
mod status;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use service::Service;
pub use status::PartitionStatus;

use crate::Outcome;
use crate::command::{self, Ran};
use crate::kafka::{self, Cluster};
use crate::patience::Patience;
use crate::server::Options;

/// The topic of the events.
pub const TOPIC: &str = "events";
/// The group of the sealers.
pub const GROUP: &str = "sealers";
/// The session time-out of the group: the least that a broker takes.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// Partitions where the test names no other number.
const PARTITIONS: u32 = 4;

/// Brokers, a store and a configuration, in a folder of their own.
pub struct Deployment {
    cluster: Cluster,
    options: Options,
    folder: PathBuf,
    scratch: Option<tempfile::TempDir>,
}

impl Deployment {
    /// Starts so many brokers and makes the topic. `None` where no Kafka can run.
    pub async fn create(brokers: usize, options: Options) -> Outcome<Option<Self>> {
        let Some(deployment) = Self::without_topic(brokers, options).await? else { return Ok(None) };
        deployment.create_topic().await?;
        Ok(Some(deployment))
    }

    /// Starts so many brokers, no more. `None` where no Kafka can run.
    pub async fn without_topic(brokers: usize, options: Options) -> Outcome<Option<Self>> {
        if !kafka::is_there().await? {
            return Ok(None);
        }
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().canonicalize()?;
        let cluster = Cluster::start(&folder.join("kafka"), brokers).await?;
        let deployment = Self { cluster, options, folder, scratch: Some(scratch) };
        std::fs::write(deployment.config_path(), deployment.config())?;
        Ok(Some(deployment))
    }

    /// `tributary topics create`, which must succeed.
    pub async fn create_topic(&self) -> Outcome {
        self.run(&["topics", "create"]).await?.expect_code(0).map(drop)
    }

    fn config(&self) -> String {
        let (folder, partitions, nodes) = (self.folder.display(), self.partitions(), self.cluster.nodes());
        format!(
            "[data]\ndir = \"{folder}/jobs\"\npartitions = {partitions}\n\
             [store]\nurl = \"file://{folder}/store\"\n\
             [kafka]\nbootstrap = \"{}\"\ntopic = \"{TOPIC}\"\nreplication = {nodes}\nmin_insync_replicas = {}\n\
             group = \"{GROUP}\"\nsession_timeout_ms = {}\ndelivery_timeout_ms = 5000\n",
            self.cluster.bootstrap(),
            nodes / 2 + 1,
            SESSION_TIMEOUT.as_millis(),
        )
    }

    /// Runs a command: `--config` is added.
    pub async fn run(&self, arguments: &[&str]) -> Outcome<Ran> {
        self.run_with(arguments, &self.options).await
    }

    /// Runs a command with other settings.
    pub async fn run_with(&self, arguments: &[&str], options: &Options) -> Outcome<Ran> {
        let config = self.config_path().display().to_string();
        let arguments: Vec<String> = arguments.iter().copied().chain(["--config", &config]).map(str::to_owned).collect();
        command::run(&arguments, &options.env).await
    }

    /// An ingest service, not started.
    pub fn ingest(&self, number: u64) -> Outcome<Service> {
        self.service("ingest", number, Vec::new())
    }

    /// A sealer, not started.
    pub fn seal(&self, number: u64) -> Outcome<Service> {
        self.seal_with(number, Vec::new())
    }

    /// A sealer with more in its environment, not started.
    pub fn seal_with(&self, number: u64, env: Vec<(String, String)>) -> Outcome<Service> {
        self.service("seal", number, env)
    }

    fn service(&self, role: &str, number: u64, more: Vec<(String, String)>) -> Outcome<Service> {
        let data = self.folder.join(format!("{role}-{number}"));
        std::fs::create_dir_all(&data)?;
        let mut env = self.options.env.clone();
        env.push(("TRIBUTARY__DATA__DIR".to_owned(), data.display().to_string()));
        env.extend(more);
        Service::new(role, &self.config_path(), &data, env)
    }

    /// Waits until these sealers, between them, have sealed all that the log holds.
    pub async fn wait_sealed(&self, sealers: &[&Service], within: Duration) -> Outcome {
        let patience = Patience::of(within);
        loop {
            let left = match self.unsealed(sealers).await {
                Ok(left) if left.is_empty() => return Ok(()),
                Ok(left) => left.join("; "),
                Err(error) => error.to_string(),
            };
            let logs = || sealers.iter().map(|sealer| sealer.describe("not done")).collect::<Vec<_>>().join("\n");
            patience.pause(|| format!("not sealed: {left}\n{}", logs())).await?;
        }
    }

    /// The partitions that nobody has sealed up to the end of the log.
    async fn unsealed(&self, sealers: &[&Service]) -> Outcome<Vec<String>> {
        let mut left = Vec::new();
        let mut owned = Vec::new();
        for sealer in sealers {
            owned.extend(sealer.partitions().await?.into_iter().filter(|status| status.owned));
        }
        for partition in 0..self.partitions() {
            let end = self.end(partition).await?;
            let mut states = owned.iter().filter(|status| status.partition == partition);
            if !states.clone().any(|status| status.sealed_offset == end && status.lag == Some(0)) {
                left.push(format!("partition {partition} ends at {end}, {:?}", states.next()));
            }
        }
        Ok(left)
    }

    /// Where the log of a partition ends, as the brokers say.
    pub async fn end(&self, partition: u32) -> Outcome<u64> {
        let (_, end) = self.cluster.bounds(TOPIC, i32::try_from(partition)?).await?;
        Ok(u64::try_from(end)?)
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> u32 {
        self.options.partitions.unwrap_or(PARTITIONS)
    }

    /// The brokers.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// How every process is started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The store that all services share.
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("tributary.toml")
    }

    /// Ends the brokers, so that nothing is left when the folder goes.
    pub async fn end_cluster(&self) -> Outcome {
        self.cluster.kill_all().await
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("TRIBUTARY_E2E_KEEP").is_some() {
            // What a failed test left is worth looking at.
            if let Some(scratch) = self.scratch.take() {
                eprintln!("kept: {}", scratch.keep().display());
            }
        }
    }
}
