//! The two faces over a large record: GraphQL lookups, pages and live events, and SQL beside DuckDB on the same files.

mod analyst;
mod live;
mod lookups;
mod sample;

use std::path::Path;

use serde::Serialize;

use crate::Outcome;
use crate::flow;
use crate::input::Input;
use crate::server::Server;

pub use analyst::Analyst;
pub use live::Live;
pub use lookups::Lookup;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How often the flywheel is sent, each time with other ids.
    pub rounds: u32,
    /// Requests per kind of lookup.
    pub requests: u32,
    /// Live events watched.
    pub live_events: u32,
    /// Runs of each query; the least time counts.
    pub runs: u32,
}

/// The figures.
#[derive(Serialize)]
pub struct Faces {
    /// Events in the record.
    pub events: u64,
    /// GraphQL requests by kind.
    pub lookups: Vec<Lookup>,
    /// Live events.
    pub live: Live,
    /// Analyst queries.
    pub analyst: Analyst,
    /// The most memory that the server held.
    pub peak_memory_bytes: u64,
}

/// Fills a server of its own and measures.
pub async fn measure(bin: &Path, flywheel: &Path, python: Option<&Path>, size: Size) -> Outcome<Faces> {
    let server = Server::start(bin).await?;
    let mut sample = sample::Sample::default();
    let mut events = 0;
    for round in 0..size.rounds {
        let input = Input::load(flywheel, round..round + 1)?;
        sample.take(&input, size.requests.div_ceil(size.rounds))?;
        events += input.distinct;
        flow::fill(&server, &input).await?;
        eprintln!("bench: {events} events are in the record");
    }
    flow::wait_until_indexed(&server).await?;
    let lookups = lookups::measure(&server, &sample, size.requests).await?;
    let live = live::measure(&server, size.live_events).await?;
    let analyst = analyst::measure(&server, python, size.runs).await?;
    let peak_memory_bytes = server.peak_memory()?;
    server.stop().await?;
    Ok(Faces { events, lookups, live, analyst, peak_memory_bytes })
}
