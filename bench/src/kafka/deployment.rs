//! A deployment of its own: a topic, a store and the roles between them.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::role::Role;
use super::topic::{Cluster, Topic};
use crate::Outcome;

/// How long a batch that is not full waits where a topic is sealed that nobody writes to any more.
const SHORT_AGE_MS: &str = "100";

/// A topic, a store and a configuration. All but the topic is gone when it is dropped.
pub struct Deployment {
    bin: PathBuf,
    directory: tempfile::TempDir,
    /// Where the door writes.
    pub topic: Topic,
}

impl Deployment {
    /// Creates the topic and an empty journal.
    pub async fn create(bin: &Path, cluster: &Cluster, partitions: u16) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("tributary-bench-").tempdir()?;
        let name = directory.path().file_name().and_then(OsStr::to_str).ok_or("a directory without a name")?.to_owned();
        let topic = Topic { cluster: cluster.clone(), name, partitions };
        let deployment = Self { bin: bin.to_owned(), directory, topic };
        std::fs::write(deployment.config(), deployment.settings())?;
        let created = Command::new(bin).args(["topics", "create", "--config"]).arg(deployment.config()).output().await?;
        if !created.status.success() {
            return Err(format!("the topic is not created: {}", String::from_utf8_lossy(&created.stderr)).into());
        }
        Ok(deployment)
    }

    /// A topic like its own, not created yet.
    pub fn twin(&self) -> Topic {
        Topic { name: format!("{}-raw", self.topic.name), ..self.topic.clone() }
    }

    /// Starts the door.
    pub async fn ingest(&self) -> Outcome<Role> {
        let port = free_port()?;
        Role::start("ingest", self.role(Command::new(&self.bin), "ingest", port), port, "/readyz").await
    }

    /// Starts the sealer.
    pub async fn seal(&self) -> Outcome<Role> {
        let port = free_port()?;
        Role::start("seal", self.role(Command::new(&self.bin), "seal", port), port, "/metrics").await
    }

    /// Starts the sealer on one core, to seal what the topic holds.
    pub async fn seal_on(&self, core: usize) -> Outcome<Role> {
        let port = free_port()?;
        let mut pinned = Command::new("taskset");
        pinned.args(["--cpu-list", &core.to_string()]).arg(&self.bin).env("TRIBUTARY__SEAL__BATCH_AGE_MS", SHORT_AGE_MS);
        Role::start("seal", self.role(pinned, "seal", port), port, "/metrics").await
    }

    /// The command with what a role is told.
    fn role(&self, mut command: Command, role: &str, port: u16) -> Command {
        command.args([role, "--config"]).arg(self.config()).args(["--port", &port.to_string()]);
        command
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("tributary.toml")
    }

    fn settings(&self) -> String {
        let Topic { cluster, name, partitions } = &self.topic;
        let Cluster { bootstrap, replication } = cluster;
        let (directory, min_insync) = (self.directory.path().display(), cluster.min_insync());
        format!(
            "[data]\ndir = \"{directory}/data\"\npartitions = {partitions}\n\
             [store]\nurl = \"file://{directory}/store\"\n\
             [kafka]\nbootstrap = \"{bootstrap}\"\ntopic = \"{name}\"\ngroup = \"{name}\"\n\
             replication = {replication}\nmin_insync_replicas = {min_insync}\n"
        )
    }
}

/// A port of the loopback interface that nobody listens on now.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
