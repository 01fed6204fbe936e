//! `tributary dev`: everything in one process.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tributary_schemas::ids::PartitionCount;

use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::server;
use crate::service;
use crate::wire::{self, Record};

/// Arguments of `dev`.
#[derive(Args)]
pub struct Dev {
    #[command(flatten)]
    data: super::DataArguments,
    /// The port on the loopback interface; 0 takes a free one [default: 8080].
    #[arg(long)]
    port: Option<u16>,
    /// Partitions of a new deployment; an existing one keeps its own [default: 4].
    #[arg(long)]
    partitions: Option<u32>,
}

impl Dev {
    /// Serves until SIGTERM or SIGINT, or until a stage ends by itself, which is a failure that names it.
    pub async fn run(self) -> Outcome {
        let mut config = self.data.load()?;
        if let Some(port) = self.port {
            config.http.port = port;
        }
        let lock = wire::take_for_dev(&config.data.dir).await?;
        let listener = server::bind(Ipv4Addr::LOCALHOST.into(), config.http.port).await?;
        let url = listener.local_addr().map(|a| format!("http://{a}")).map_err(|e| Failure::failed("no address", e))?;
        let born_with = self.partitions(&config)?;
        let record = Record::open(&config, born_with).await?;
        let writers = record.writers(&config, lock).await?;
        let door = writers.door(&record, &config);
        let mut registry = Registry::with_prefix("tributary");
        writers.register_metrics(&record, &door, &mut registry);

        let shutdown = CancellationToken::new();
        let started = CancellationToken::new();
        let router = server::router(&record, door, writers.sources(&record), registry, started.clone());
        let stages = writers.start(&shutdown);
        started.cancel();
        let engine = Arc::clone(&record.engine);
        tokio::spawn(async move { engine.warm().await });
        announce(&url, &record.directory, record.journal.genesis().partitions.get());

        let (graphql, told) = (Arc::clone(&record.graphql), shutdown.clone());
        tokio::spawn(async move {
            told.cancelled().await;
            graphql.close();
        });
        service::serve_and_end_within(service::PUBLISHERS_END_MAX, stages, listener, router, &shutdown).await
    }

    /// The partition count to be born with: the flag if given (an existing deployment must match it), else its own if the
    /// directory has one, else the default.
    fn partitions(&self, config: &Config) -> Result<Option<PartitionCount>, Failure> {
        let genesis: PathBuf = wire::store_directory(config)?.join("journal/genesis.json");
        match self.partitions {
            None if genesis.exists() => Ok(None),
            flag => {
                let count = flag.unwrap_or(config.data.partitions);
                let refused = || Failure::Usage(format!("{count} partitions cannot be had: name 1 to {}", PartitionCount::MAX));
                PartitionCount::new(count).map(Some).ok_or_else(refused)
            }
        }
    }
}

fn announce(url: &str, directory: &std::path::Path, partitions: u32) {
    println!("tributary dev listens on {url}");
    println!("data in {}, {partitions} partitions; stop with Ctrl-C", directory.display());
}
