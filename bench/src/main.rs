//! Figures for this machine: the flow from the door to the tables, with the sender on the same machine, and DuckDB turning
//! the same NDJSON into typed Parquet beside it; the way through Kafka, and Kafka's own client beside it; publishing blobs, and the
//! bare multi-scalar multiplication beside it.

mod counters;
mod da;
mod door;
mod duckdb;
mod faces;
mod flow;
mod freshness;
mod input;
mod kafka;
mod percentile;
mod process;
mod report;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Whatever goes wrong in a bench ends it with a message.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures the flow.
#[derive(Parser)]
struct Arguments {
    /// The binary under test.
    #[arg(long, env = "TRIBUTARY_BIN")]
    bin: PathBuf,
    /// The recorded flywheel.
    #[arg(long, default_value = "examples/flywheel")]
    flywheel: PathBuf,
    /// How often the flywheel is sent, each time with other ids.
    #[arg(long, default_value_t = 8)]
    rounds: u32,
    /// How many small requests measure freshness.
    #[arg(long, default_value_t = 200)]
    probes: u32,
    /// Events a second sent while freshness is measured under load.
    #[arg(long, default_value_t = 15_000)]
    load_rate: u32,
    /// Rounds sent at that rate.
    #[arg(long, default_value_t = 5)]
    load_rounds: u32,
    /// Requests under way at once.
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Events of one request.
    #[arg(long, default_value_t = 1_000)]
    request_events: usize,
    /// What is measured, separated by commas; absent: flow and faces, and Kafka if brokers are named.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often the flywheel is sent before GraphQL and SQL are measured.
    #[arg(long, default_value_t = 36)]
    faces_rounds: u32,
    /// GraphQL requests of each kind.
    #[arg(long, default_value_t = 2_000)]
    requests: u32,
    /// Live events watched.
    #[arg(long, default_value_t = 400)]
    live_events: u32,
    /// Runs of each analyst query.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    #[command(flatten)]
    kafka: kafka::Options,
    #[command(flatten)]
    da: da::Options,
    /// A Python with the package duckdb; absent: no comparison.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the figures are written as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// From the door to the tables, freshness, settling.
    Flow,
    /// GraphQL and SQL.
    Faces,
    /// From the door through Kafka to the journal.
    Kafka,
    /// The same for a long time, and its memory.
    Soak,
    /// Commitments, proofs, blobs; checking and rebuilding.
    Da,
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        match part {
            _ if !self.only.is_empty() => self.only.contains(&part),
            Part::Flow | Part::Faces => true,
            Part::Kafka => self.kafka.kafka.is_some(),
            Part::Soak | Part::Da => false,
        }
    }
}

async fn run(arguments: &Arguments) -> Outcome<()> {
    let Arguments { bin, flywheel, .. } = arguments;
    let mut report = report::Report::default();
    if arguments.wants(Part::Flow) {
        report.stages = Some(stages(arguments).await?);
    }
    if arguments.wants(Part::Faces) {
        let size = faces::Size {
            rounds: arguments.faces_rounds,
            requests: arguments.requests,
            live_events: arguments.live_events,
            runs: arguments.runs,
        };
        report.faces = Some(faces::measure(bin, flywheel, arguments.python.as_deref(), size).await?);
    }
    if arguments.wants(Part::Kafka) {
        report.kafka = Some(kafka::measure(bin, flywheel, &arguments.kafka).await?);
    }
    if arguments.wants(Part::Soak) {
        report.soak = Some(kafka::soak(bin, flywheel, &arguments.kafka).await?);
    }
    if arguments.wants(Part::Da) {
        report.da = Some(da::measure(bin, flywheel, &arguments.da).await?);
    }
    print!("{report}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    report.soak.map_or(Ok(()), |soak| soak.check())
}

async fn stages(arguments: &Arguments) -> Outcome<report::Stages> {
    let input = input::Input::load(&arguments.flywheel, 0..arguments.rounds)?;
    let server = server::Server::start(&arguments.bin).await?;
    let flow = flow::measure(&server, &input, arguments.connections, arguments.request_events).await?;
    let settle = flow::settle(&server, &arguments.bin).await?;
    let freshness = freshness::measure(&server, arguments.probes, "urn:bench:rest").await?;
    let more = input::Input::load(&arguments.flywheel, arguments.rounds..arguments.rounds + arguments.load_rounds)?;
    let (load_events_per_second, loaded_freshness) = tokio::try_join!(
        flow::pace(&server, &more, arguments.request_events, arguments.load_rate.into()),
        freshness::measure(&server, arguments.probes, "urn:bench:load"),
    )?;
    let peak_memory_bytes = server.peak_memory()?;
    server.stop().await?;
    let duckdb = match &arguments.python {
        Some(python) => Some(duckdb::measure(python, &input)?),
        None => None,
    };
    Ok(report::Stages { flow, settle, freshness, load_events_per_second, loaded_freshness, peak_memory_bytes, duckdb })
}
