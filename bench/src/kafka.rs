//! The way through Kafka: from the door to acknowledged records, from there to the journal, and Kafka's own client beside it.

mod ceiling;
mod deployment;
mod role;
mod sealing;
mod sender;
mod soak;
mod supply;
mod topic;

use std::path::Path;

use serde::Serialize;
use tokio::task::block_in_place;

use crate::Outcome;
use crate::input::Recording;

use deployment::Deployment;
use supply::Supply;
use topic::Cluster;

pub use ceiling::Throughput;
pub use sealing::Sealing;
pub use sender::{Flood, Pace};
pub use soak::{Memory, Soak};
pub use supply::REQUEST_EVENTS;

/// A run begins with this part of its events, which do not count: connections, and code that Kafka compiles when it is hot.
const WARM_UP_PART: usize = 10;
/// Where partition counts are compared, this part of the events is paced.
const SWEEP_PACED_PART: usize = 4;

/// Where Kafka is, and how much is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Brokers as host:port, separated by commas; without them nothing is measured on Kafka.
    #[arg(long, value_name = "BROKERS")]
    pub kafka: Option<String>,
    /// Copies of each record in Kafka.
    #[arg(long, default_value_t = 1)]
    pub replication: u16,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    pub partitions: u16,
    /// Events sent to Kafka as fast as it goes.
    #[arg(long, default_value_t = 650_000)]
    pub kafka_events: usize,
    /// Events sent at half of that rate.
    #[arg(long, default_value_t = 220_000)]
    pub paced_events: usize,
    /// Requests to Kafka's door under way at once.
    #[arg(long, default_value_t = 8)]
    pub kafka_connections: usize,
    /// Partition counts that are compared, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub sweep: Vec<u16>,
    /// Events sent for each of them, and before a soak.
    #[arg(long, default_value_t = 330_000)]
    pub sweep_events: usize,
    /// How many seconds a soak takes.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..))]
    pub soak: u64,
}

/// The figures.
#[derive(Serialize)]
pub struct Kafka {
    /// Copies of each record.
    pub replication: u16,
    /// The product.
    pub passage: Passage,
    /// Kafka's own client, writing the same records.
    pub produce: Throughput,
    /// Kafka's own client, reading them.
    pub consume: Throughput,
    /// The product with other partition counts.
    pub sweep: Vec<Passage>,
}

/// From the door to the journal, one stage after the other.
#[derive(Serialize)]
pub struct Passage {
    /// Partitions of the topic.
    pub partitions: u16,
    /// HTTP → Kafka, as fast as it goes.
    pub flood: Flood,
    /// HTTP → Kafka at half of that rate.
    pub pace: Pace,
    /// Kafka → journal.
    pub sealing: Sealing,
}

/// What every measurement uses.
struct Bench<'a> {
    bin: &'a Path,
    cluster: Cluster,
    connections: usize,
    supply: Supply,
}

/// Measures the product, then Kafka's own client with the records that the product wrote, then other partition counts.
pub async fn measure(bin: &Path, flywheel: &Path, options: &Options) -> Outcome<Kafka> {
    let mut bench = Bench::new(bin, flywheel, options)?;
    let deployment = bench.deploy(options.partitions).await?;
    let passage = bench.passage(&deployment, options.kafka_events, options.paced_events).await?;
    let records = block_in_place(|| ceiling::load(&deployment.topic))?;
    let twin = deployment.twin();
    twin.create().await?;
    let produce = block_in_place(|| ceiling::produce(&twin, &records))?;
    drop(records);
    let consume = block_in_place(|| ceiling::consume(&twin))?;
    let mut sweep = Vec::new();
    for partitions in &options.sweep {
        let deployment = bench.deploy(*partitions).await?;
        let paced_events = options.sweep_events.div_ceil(SWEEP_PACED_PART);
        sweep.push(bench.passage(&deployment, options.sweep_events, paced_events).await?);
    }
    Ok(Kafka { replication: options.replication, passage, produce, consume, sweep })
}

/// Loads door and sealer steadily for as long as the options say.
pub async fn soak(bin: &Path, flywheel: &Path, options: &Options) -> Outcome<Soak> {
    let bench = Bench::new(bin, flywheel, options)?;
    soak::measure(bench, options.partitions, options.sweep_events, options.soak).await
}

impl<'a> Bench<'a> {
    fn new(bin: &'a Path, flywheel: &Path, options: &Options) -> Outcome<Self> {
        let bootstrap = options.kafka.clone().ok_or("name the brokers with --kafka")?;
        let cluster = Cluster { bootstrap, replication: options.replication };
        let supply = Supply::new(Recording::read(flywheel)?);
        Ok(Self { bin, cluster, connections: options.kafka_connections, supply })
    }

    async fn deploy(&self, partitions: u16) -> Outcome<Deployment> {
        Deployment::create(self.bin, &self.cluster, partitions).await
    }

    async fn passage(&mut self, deployment: &Deployment, events: usize, paced_events: usize) -> Outcome<Passage> {
        let partitions = deployment.topic.partitions;
        eprintln!("bench: HTTP → Kafka → journal, {partitions} partitions, {} copies", self.cluster.replication);
        let ingest = deployment.ingest().await?;
        let warm = sender::flood(&ingest, self.supply.take(events.div_ceil(WARM_UP_PART)), self.connections).await?;
        let flood = sender::flood(&ingest, self.supply.take(events), self.connections).await?;
        let pace = sender::pace(&ingest, self.supply.take(paced_events), flood.per_second() / 2.0).await?;
        ingest.stop().await?;
        let sent = warm.sent.plus(flood.sent).plus(pace.sent);
        deployment.topic.check_holds(&sent)?;
        let sealing = sealing::measure(deployment, &sent).await?;
        Ok(Passage { partitions, flood, pace, sealing })
    }
}
