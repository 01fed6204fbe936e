//! Stores with sealed batches that nobody has published yet, and publishers (`tributary da`) over them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Outcome;
use crate::command::{self, Ran};
use crate::play::wait;
use crate::server::{Options, Server};
use crate::services::Service;
use crate::worlds::World;

/// How long everything sealed may take to become available.
const AVAILABLE_WITHIN: Duration = Duration::from_secs(60);

/// So many events are sent at once, and sealed before the next are sent: each batch has so many at most.
const EVENTS_OF_A_BATCH: usize = 30;

/// A world that is sealed and not published.
pub struct Sealed {
    server: Server,
}

impl Sealed {
    /// Seals all epochs of a world.
    pub async fn of(world: &World, partitions: u32) -> Outcome<Self> {
        let mut server = Server::fresh(Options::quick(partitions).with("DA__PAUSED", "true")).await?;
        for lines in world.epochs.iter().flat_map(|epoch| epoch.lines.chunks(EVENTS_OF_A_BATCH)) {
            server.send(lines).await?.expect_code(0)?;
            wait(&server, "sealed", AVAILABLE_WITHIN).await?;
        }
        server.stop().await?;
        Ok(Self { server })
    }

    /// A copy of it, to be published through this proxy.
    pub fn copy(&self, proxy_url: &str) -> Outcome<Publishers> {
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().canonicalize()?;
        copy_all(&self.server.data().join("store/journal"), &folder.join("store/journal"))?;
        let config = format!(
            "[data]\ndir = \"{0}/data\"\n[store]\nurl = \"file://{0}/store\"\n\
             [da]\nbackend = \"eigenda\"\nproxy_url = \"{proxy_url}\"\nblob_age_ms = 100\npaid_pause_max_ms = 100\n",
            folder.display()
        );
        std::fs::write(folder.join("tributary.toml"), config)?;
        Ok(Publishers { folder, _scratch: scratch })
    }
}

/// A store and whoever publishes what is sealed in it.
pub struct Publishers {
    folder: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Publishers {
    /// A publisher with more settings, such as `("DA__PUBLISHER", "a")`, and more in its environment; not started.
    pub fn publisher(&self, name: &str, settings: &[(&str, &str)], env: Vec<(String, String)>) -> Outcome<Service> {
        let set = settings.iter().map(|(key, value)| (format!("TRIBUTARY__{key}"), (*value).to_owned()));
        Service::new("da", &self.config(), &self.folder.join(name), set.chain(env).collect())
    }

    /// Runs a command on the store.
    pub async fn run(&self, arguments: &[&str]) -> Outcome<Ran> {
        let config = self.config().display().to_string();
        let arguments: Vec<String> = arguments.iter().copied().chain(["--config", &config]).map(str::to_owned).collect();
        command::run(&arguments, &[]).await
    }

    /// Waits until everything sealed is available, as a publisher says.
    pub async fn available(&self, publisher: &Service) -> Outcome {
        let timeout = format!("{}s", AVAILABLE_WITHIN.as_secs());
        let arguments = ["status", "--wait", "available", "--timeout", &timeout, "--url", &publisher.url()].map(str::to_owned);
        let ran = command::run(&arguments, &[]).await?;
        ran.expect_code(0).map(drop).map_err(|error| publisher.describe(&error.to_string()).into())
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn config(&self) -> PathBuf {
        self.folder.join("tributary.toml")
    }
}

/// Copies a folder with all that is in it.
pub fn copy_all(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
