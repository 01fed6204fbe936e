//! Data availability: what commitments and proofs take, how fast a backlog is published, checked and rebuilt, and the bare
//! multi-scalar multiplication beside it, ours and that of EigenDA's own client.

mod backlog;
mod checking;
mod commitments;
mod evidence;
mod gnark;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::task::block_in_place;

use crate::{Outcome, flow};

use backlog::Backlog;

pub use backlog::Publishing;
pub use checking::Check;
pub use commitments::{Ceiling, Commitment};
pub use evidence::Evidence;
pub use gnark::Gnark;

/// How much is measured.
#[derive(clap::Args)]
pub struct Options {
    /// How often the flywheel is sent before its blobs are published.
    #[arg(long, default_value_t = 8)]
    pub da_rounds: u32,
    /// Blobs that commitments are measured with, in symbols, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15])]
    pub da_symbols: Vec<u32>,
    /// Runs of each; the least time counts.
    #[arg(long, default_value_t = 5)]
    pub da_runs: u32,
    /// How many of each kind a check by sample draws.
    #[arg(long, default_value_t = 20)]
    pub da_sample: u32,
    /// What commits as EigenDA's own client does (`scripts/gnark` builds it); absent: no comparison.
    #[arg(long)]
    pub gnark: Option<PathBuf>,
}

/// The figures.
#[derive(Serialize)]
pub struct Da {
    /// Reading the points for the largest blob, once in a process.
    pub points_seconds: f64,
    /// By size.
    pub commitments: Vec<Commitment>,
    /// Bare multiplications of the largest size, on one core and on more.
    pub ceilings: Vec<Ceiling>,
    /// The multiplication of EigenDA's own client, of the largest size.
    pub gnark: Option<Gnark>,
    /// A backlog published, on as many cores.
    pub publishing: Vec<Publishing>,
    /// The proof of an event.
    pub evidence: Evidence,
    /// Checking and rebuilding what was published.
    pub checks: Vec<Check>,
}

/// Measures commitments alone, then the binary with a backlog.
pub async fn measure(bin: &Path, flywheel: &Path, options: &Options) -> Outcome<Da> {
    let largest = options.da_symbols.iter().copied().max().ok_or("name a size of blobs")?;
    let points_seconds = block_in_place(|| commitments::read_points(largest))?;
    let mut sizes = Vec::new();
    for symbols in &options.da_symbols {
        sizes.push(commitments::measure(*symbols, options.da_runs).await?);
    }
    let cores = std::thread::available_parallelism()?.get().min(2);
    let ceilings = (1..=cores).map(|cores| block_in_place(|| commitments::ceiling(largest, cores, options.da_runs)));
    let ceilings = ceilings.collect::<Outcome<Vec<_>>>()?;
    let gnark = match &options.gnark {
        Some(gnark) => Some(gnark::measure(gnark, largest, options.da_runs).await?),
        None => None,
    };
    let backlog = Backlog::fill(bin, flywheel, options.da_rounds).await?;
    let mut publishing = Vec::new();
    for cores in 1..=cores {
        publishing.push(backlog.publish(cores).await?);
    }
    let server = backlog.serve().await?;
    let evidence = evidence::measure(&server).await?;
    flow::settle(&server, bin).await?;
    server.stop().await?;
    let checks = checking::measure(bin, &backlog, options.da_sample).await?;
    Ok(Da { points_seconds, commitments: sizes, ceilings, gnark, publishing, evidence, checks })
}
