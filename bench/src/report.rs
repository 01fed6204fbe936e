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
        writeln!(f, "| events, requests repeated | {events}, {} |", self.flow.repeated)?;
        writeln!(f, "| server CPU per event | {:.1} µs |", self.flow.cpu_seconds * 1e6 / events)?;
        writeln!(
            f,
            "| freshness, accepted → in SQL ({} probes) | p50 {:.2} s, p99 {:.2} s |",
            self.freshness.probes, self.freshness.p50_seconds, self.freshness.p99_seconds
        )?;
        writeln!(f, "| settle ({} inferences) | {:.2} s |", self.settle.inferences, self.settle.seconds)?;
        writeln!(f, "| peak memory of the server | {:.0} MiB |", self.peak_memory_bytes as f64 / f64::from(1 << 20))?;
        if let Some(duckdb) = &self.duckdb {
            let rate = duckdb.events as f64 / duckdb.seconds;
            let ratio = (events / self.flow.indexed_seconds) / rate;
            writeln!(f, "| DuckDB {}, NDJSON → typed Parquet | {rate:.0} events/s |", duckdb.version)?;
            writeln!(f, "| door → Delta as a ratio of DuckDB | {ratio:.2} |")?;
        }
        Ok(())
    }
}
