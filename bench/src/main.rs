//! Figures for this machine: the flow from the door to the tables, with the sender on the same machine, and DuckDB turning
//! the same NDJSON into typed Parquet beside it.

mod duckdb;
mod faces;
mod flow;
mod freshness;
mod input;
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
    /// What is measured; absent: everything.
    #[arg(long, value_enum)]
    only: Option<Part>,
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
}

async fn run(arguments: &Arguments) -> Outcome<()> {
    let is_wanted = |part| arguments.only.is_none_or(|only| only == part);
    let stages = if is_wanted(Part::Flow) { Some(stages(arguments).await?) } else { None };
    let size = faces::Size {
        rounds: arguments.faces_rounds,
        requests: arguments.requests,
        live_events: arguments.live_events,
        runs: arguments.runs,
    };
    let faces = if is_wanted(Part::Faces) {
        Some(faces::measure(&arguments.bin, &arguments.flywheel, arguments.python.as_deref(), size).await?)
    } else {
        None
    };
    let report = report::Report { stages, faces };
    print!("{report}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
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
