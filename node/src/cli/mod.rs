//! The command line: one file per subcommand.

mod claim;
mod completions;
mod configuration;
mod da;
mod dev;
mod ingest;
mod journal;
mod rebuild;
mod seal;
mod send;
mod settle;
mod sql;
mod status;
mod table;
mod topics;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::exit::{Failure, Outcome};

/// The version with the commit it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TRIBUTARY_COMMIT"), ")");

/// Tributary records what AI systems do, makes the record available to anyone, and pays the people whose data made it
/// possible.
#[derive(Parser)]
#[command(name = "tributary", version = VERSION, propagate_version = true)]
pub struct Arguments {
    /// Log more: -v for information, -vv for details.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// How much is logged. A service tells more by itself, for nobody watches it start.
    pub fn verbosity(&self) -> u8 {
        let is_service = match &self.command {
            Command::Ingest(_) | Command::Seal(_) => true,
            Command::Da(command) => command.is_service(),
            _ => false,
        };
        self.verbose.saturating_add(u8::from(is_service))
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process: embedded log, local store, local data availability.
    Dev(dev::Dev),
    /// Take events over HTTP and record them in Kafka.
    Ingest(ingest::Ingest),
    /// Seal what Kafka holds into batches.
    Seal(seal::Seal),
    /// Publish what is sealed, or say what publishing costs.
    Da(da::Da),
    /// Create or check the topic of the deployment.
    Topics(topics::Topics),
    /// Accept a gap between log and journal, or list those accepted.
    Journal(journal::JournalCommand),
    /// Send NDJSON files of events.
    Send(send::Send),
    /// Run one SQL query.
    Sql(sql::Sql),
    /// Show heads, lag and finality per partition, or wait until what was accepted is that far.
    Status(status::Status),
    /// Close one epoch and print it.
    Settle(settle::Settle),
    /// Recompute and compare; exit 3 on the first difference.
    Verify(verify::Verify),
    /// Recreate the lake and all epochs in another directory.
    Rebuild(rebuild::Rebuild),
    /// Print the claim of an account and its proof.
    Claim(claim::Claim),
    /// Print or check the effective configuration.
    Config(configuration::Configuration),
    /// Print the completions for a shell.
    Completions(completions::Completions),
}

/// Where the data is: common to the commands that read or write it.
#[derive(Args, Clone)]
pub struct DataArguments {
    /// The data directory [default: ./tributary-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl DataArguments {
    /// The effective configuration: file, environment, then these flags.
    pub fn load(&self) -> Result<Config, Failure> {
        let mut config = Config::load(self.config.as_deref(), std::env::vars_os())?;
        if let Some(directory) = &self.data_dir {
            config.data.dir.clone_from(directory);
        }
        if config.settlement.treasury.is_none() && self.config.is_none() {
            config.settlement.treasury = Some(tributary_settlement::Settings::DEV_TREASURY.to_owned());
        }
        Ok(config)
    }
}

/// What the services have in common.
#[derive(Args, Clone)]
pub struct ServiceArguments {
    #[command(flatten)]
    data: DataArguments,
    /// The port; 0 takes a free one [default: 8080].
    #[arg(long)]
    port: Option<u16>,
}

impl ServiceArguments {
    /// The effective configuration: file, environment, then these flags.
    pub fn load(&self) -> Result<Config, Failure> {
        let mut config = self.data.load()?;
        if let Some(port) = self.port {
            config.http.port = port;
        }
        Ok(config)
    }
}

/// Says on stdout where a service listens.
pub fn announce(service: &str, listener: &tokio::net::TcpListener, what: &str) -> Outcome {
    let address = listener.local_addr().map_err(|e| Failure::failed("no address", e))?;
    println!("tributary {service} listens on http://{address}; {what}");
    Ok(())
}

/// Runs the subcommand.
pub async fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Dev(command) => command.run().await,
        Command::Ingest(command) => command.run().await,
        Command::Seal(command) => command.run().await,
        Command::Da(command) => command.run().await,
        Command::Topics(command) => command.run().await,
        Command::Journal(command) => command.run().await,
        Command::Send(command) => command.run().await,
        Command::Sql(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Settle(command) => command.run().await,
        Command::Verify(command) => command.run().await,
        Command::Rebuild(command) => command.run().await,
        Command::Claim(command) => command.run().await,
        Command::Config(command) => command.run(),
        Command::Completions(command) => command.run(),
    }
}

/// Prints one JSON object on stdout.
pub fn print_json(value: &impl serde::Serialize) -> Outcome {
    use std::io::Write;
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::failed("the answer cannot be written as JSON", e))?;
    writeln!(std::io::stdout(), "{text}").map_err(|e| Failure::failed("stdout cannot be written", e))
}
