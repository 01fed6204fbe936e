//! A record that is sealed and indexed, and of which nothing is published: what one publisher does with it, alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::input::Input;
use crate::server::{Launch, Server};
use crate::{Outcome, counters, flow};

/// How long publishing may take.
const PUBLISH_MAX: Duration = Duration::from_secs(1_800);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The record.
pub struct Backlog {
    bin: PathBuf,
    directory: tempfile::TempDir,
    /// Events in it.
    pub events: u64,
}

/// The figures of one run.
#[derive(Serialize)]
pub struct Publishing {
    /// Cores that the server had.
    pub cores: usize,
    /// Blobs recorded while the clock ran.
    pub blobs: u64,
    /// Their payloads.
    pub bytes: u64,
    /// From the first look to the last certificate.
    pub seconds: f64,
    /// CPU seconds of the server meanwhile.
    pub cpu_seconds: f64,
    /// The most memory that the server held.
    pub peak_memory_bytes: u64,
}

impl Publishing {
    /// Payload bytes a second.
    pub fn per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }
}

/// The publisher at one moment.
struct Look {
    at: Instant,
    blobs: u64,
    bytes: u64,
    cpu_seconds: f64,
}

impl Backlog {
    /// Sends the flywheel so many times to a server that publishes nothing.
    pub async fn fill(bin: &Path, flywheel: &Path, rounds: u32) -> Outcome<Self> {
        let mut backlog = Self { bin: bin.to_owned(), directory: tempfile::tempdir()?, events: 0 };
        let server = backlog.launch(None, "true").await?;
        for round in 0..rounds {
            let input = Input::load(flywheel, round..round + 1)?;
            backlog.events += input.distinct;
            flow::fill(&server, &input).await?;
        }
        flow::wait_until_indexed(&server).await?;
        eprintln!("bench: {} events are sealed and not published", backlog.events);
        server.stop().await?;
        Ok(backlog)
    }

    /// Publishes all of it from its beginning, on so many cores. What was published before is forgotten.
    pub async fn publish(&self, cores: usize) -> Outcome<Publishing> {
        let published = self.data().join("store/da");
        if published.exists() {
            std::fs::remove_dir_all(&published)?;
        }
        let last = cores - 1;
        let server = self.launch(Some(&format!("0-{last}")), "false").await?;
        let first = Look::at(&server).await?;
        let last = loop {
            let look = Look::at(&server).await?;
            let status = server.status().await?;
            if status.partitions.iter().all(|partition| partition.available_offset >= partition.next_offset) {
                break look;
            }
            if look.at - first.at > PUBLISH_MAX {
                return Err("the backlog is not published".into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let peak_memory_bytes = server.peak_memory()?;
        server.stop().await?;
        Ok(Publishing {
            cores,
            blobs: last.blobs - first.blobs,
            bytes: last.bytes - first.bytes,
            seconds: (last.at - first.at).as_secs_f64(),
            cpu_seconds: last.cpu_seconds - first.cpu_seconds,
            peak_memory_bytes,
        })
    }

    /// Starts a server on it, which publishes.
    pub async fn serve(&self) -> Outcome<Server> {
        self.launch(None, "false").await
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A directory beside it, to rebuild into.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn launch(&self, cores: Option<&str>, paused: &str) -> Outcome<Server> {
        let settings = [("TRIBUTARY__DA__PAUSED", paused)];
        Server::launch(&Launch { bin: &self.bin, data: &self.data(), cores, settings: &settings }).await
    }
}

impl Look {
    async fn at(server: &Server) -> Outcome<Self> {
        let metrics = server.metrics().await?;
        let (blobs, bytes) =
            (counters::sum(&metrics, "tributary_da_blobs_total"), counters::sum(&metrics, "tributary_da_payload_bytes_total"));
        Ok(Self { at: Instant::now(), blobs, bytes, cpu_seconds: server.cpu_seconds()? })
    }
}
