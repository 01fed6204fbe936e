//! The figures, as a table for people and as JSON for machines.

use std::fmt;

use serde::Serialize;

use crate::duckdb::Duckdb;
use crate::flow::{Flow, Settle};
use crate::freshness::Freshness;

/// Everything measured in one run.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Report {
    pub flow: Flow,
    pub settle: Settle,
    pub freshness: Freshness,
    pub load_events_per_second: f64,
    pub loaded_freshness: Freshness,
    pub peak_memory_bytes: u64,
    pub duckdb: Option<Duckdb>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.flow.events as f64;
        let megabytes = self.flow.bytes as f64 / 1e6;
        writeln!(f, "| figure | value |\n|---|---|")?;
        for (what, seconds) in [
            ("durable", self.flow.durable_seconds),
            ("sealed", self.flow.sealed_seconds),
            ("in Delta", self.flow.indexed_seconds),
        ] {
            writeln!(f, "| door → {what} | {:.0} events/s, {:.1} MB/s |", events / seconds, megabytes / seconds)?;
        }
        writeln!(
            f,
            "| events, of them distinct, requests repeated | {events}, {}, {} |",
            self.flow.distinct, self.flow.repeated
        )?;
        writeln!(f, "| server CPU per event | {:.1} µs |", self.flow.cpu_seconds * 1e6 / events)?;
        let load = format!("at {:.0} events/s", self.load_events_per_second);
        for (when, freshness) in [("at rest", &self.freshness), (load.as_str(), &self.loaded_freshness)] {
            let Freshness { probes, p50_seconds, p99_seconds } = freshness;
            writeln!(
                f,
                "| freshness {when}, accepted → in SQL ({probes} probes) | p50 {p50_seconds:.2} s, p99 {p99_seconds:.2} s |"
            )?;
        }
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(f, "| settle ({} inferences) | {:.2} s |", self.settle.inferences, self.settle.seconds)?;
        writeln!(f, "| peak memory of the settling job | {:.0} MiB |", mebibytes(self.settle.peak_memory_bytes))?;
        writeln!(f, "| peak memory of the server | {:.0} MiB |", mebibytes(self.peak_memory_bytes))?;
        if let Some(duckdb) = &self.duckdb {
            let rate = duckdb.events as f64 / duckdb.seconds;
            let ratio = (events / self.flow.indexed_seconds) / rate;
            writeln!(f, "| DuckDB {}, NDJSON → typed Parquet | {rate:.0} events/s |", duckdb.version)?;
            writeln!(f, "| door → Delta as a ratio of DuckDB | {ratio:.2} |")?;
        }
        Ok(())
    }
}
