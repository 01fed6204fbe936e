//! `tributary`: the one binary. Reads the command line, runs one subcommand, turns its outcome into an exit code.

mod cli;
mod config;
mod exit;
mod gate;
mod input;
mod lock;
mod logging;
mod metrics;
mod progress;
mod remote;
mod server;
mod service;
mod stages;
mod status;
mod wire;

use std::io::Write;
use std::process::ExitCode;

/// Batches and tables are built and dropped by many threads in blocks of all sizes, which glibc's allocator keeps in pieces:
/// its process grows with what passed through it, this one's with what it holds. RocksDB uses it as well.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long threads that work for nobody any more are waited for.
const SHUTDOWN_MAX: std::time::Duration = std::time::Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = <cli::Arguments as clap::Parser>::parse();
    logging::init(arguments.verbosity());
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("the async runtime does not start: {error}"));
            return ExitCode::from(exit::FAILED);
        }
    };
    let ended = runtime.block_on(cli::run(arguments));
    // Work that waits for a disk or a broker does not keep the process: it is written so that it can be cut off.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::from(error.code())
        }
    }
}

/// Says on stderr why the program ends. The exit code says it too, so a stderr that takes nothing changes nothing.
fn tell(error: &str) {
    let _ = writeln!(std::io::stderr(), "error: {error}");
}
