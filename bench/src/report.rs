//! The figures, as a table for people and as JSON for machines.

use std::fmt;

use serde::Serialize;

use crate::da::{Commitment, Da};
use crate::duckdb::Duckdb;
use crate::faces::Faces;
use crate::flow::{Flow, Settle};
use crate::freshness::Freshness;
use crate::kafka::{Kafka, Memory, Passage, REQUEST_EVENTS, Soak, Throughput};

/// Everything measured in one run.
#[derive(Default, Serialize)]
pub struct Report {
    /// From the door to the tables.
    pub stages: Option<Stages>,
    /// GraphQL and SQL.
    pub faces: Option<Faces>,
    /// The way through Kafka.
    pub kafka: Option<Kafka>,
    /// The same for a long time.
    pub soak: Option<Soak>,
    /// Data availability.
    pub da: Option<Da>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | value |\n|---|---|")?;
        if let Some(stages) = &self.stages {
            stages.fmt(f)?;
        }
        if let Some(faces) = &self.faces {
            faces.fmt(f)?;
        }
        if let Some(kafka) = &self.kafka {
            kafka.fmt(f)?;
        }
        if let Some(soak) = &self.soak {
            soak.fmt(f)?;
        }
        if let Some(da) = &self.da {
            da.fmt(f)?;
        }
        Ok(())
    }
}

/// The flow of events through the stages.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Stages {
    pub flow: Flow,
    pub settle: Settle,
    pub freshness: Freshness,
    pub load_events_per_second: f64,
    pub loaded_freshness: Freshness,
    pub peak_memory_bytes: u64,
    pub duckdb: Option<Duckdb>,
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.flow.events as f64;
        let megabytes = self.flow.bytes as f64 / 1e6;
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

impl fmt::Display for Faces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| events in the record | {} |", self.events)?;
        for lookup in &self.lookups {
            let (p50, p99) = (lookup.p50_seconds * 1e3, lookup.p99_seconds * 1e3);
            write!(f, "| GraphQL {} ({} requests) | p50 {p50:.1} ms, p99 {p99:.1} ms", lookup.kind, lookup.requests)?;
            match lookup.per_second {
                Some(rate) => writeln!(f, ", {rate:.0} requests/s |")?,
                None => writeln!(f, " |")?,
            }
        }
        let (p50, p99) = (self.live.p50_seconds, self.live.p99_seconds);
        writeln!(f, "| live event, accepted → subscriber ({} events) | p50 {p50:.2} s, p99 {p99:.2} s |", self.live.events)?;
        let peer = self.analyst.duckdb.as_deref().unwrap_or("none");
        for query in &self.analyst.queries {
            let ours = query.seconds * 1e3;
            match query.duckdb_seconds.map(|seconds| seconds * 1e3) {
                Some(theirs) => {
                    writeln!(f, "| SQL: {} | {ours:.0} ms, DuckDB {theirs:.0} ms, ratio {:.2} |", query.name, ours / theirs)?;
                }
                None => writeln!(f, "| SQL: {} | {ours:.0} ms |", query.name)?,
            }
        }
        let ours: f64 = self.analyst.queries.iter().map(|query| query.seconds).sum();
        if let Some(theirs) = self.analyst.queries.iter().map(|query| query.duckdb_seconds).sum::<Option<f64>>() {
            writeln!(f, "| ten analyst queries in sum | {ours:.2} s, DuckDB {peer} {theirs:.2} s, ratio {:.2} |", ours / theirs)?;
        }
        writeln!(f, "| peak memory of the server | {:.0} MiB |", mebibytes(self.peak_memory_bytes))
    }
}

impl fmt::Display for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replication, passage, produce, consume, sweep } = self;
        writeln!(f, "| Kafka: copies of each record, partitions | {replication}, {} |", passage.partitions)?;
        for (what, raw) in [("produce", produce), ("consume", consume)] {
            let Throughput { records, bytes, seconds, cpu_seconds } = raw;
            let (records, megabytes) = (*records as f64, *bytes as f64 / 1e6);
            let (rate, megabytes, cpu) = (records / seconds, megabytes / seconds, cpu_seconds * 1e6 / records);
            writeln!(f, "| raw {what} | {rate:.0} records/s, {megabytes:.1} MB/s, {cpu:.1} µs CPU per record |")?;
        }
        passage.fmt(f)?;
        let (door, seal) = (passage.flood.per_second(), passage.sealing.per_second());
        writeln!(f, "| HTTP → Kafka as a ratio of raw produce | {:.2} |", door / produce.per_second())?;
        writeln!(f, "| Kafka → journal as a ratio of raw consume | {:.2} |", seal / consume.per_second())?;
        for other in sweep {
            let (door, seal) = (other.flood.per_second(), other.sealing.per_second());
            let p99 = other.pace.p99_seconds * 1e3;
            write!(f, "| partitions: {}; HTTP → Kafka, p99 at half of it, Kafka → journal | ", other.partitions)?;
            writeln!(f, "{door:.0} events/s, {p99:.0} ms, {seal:.0} events/s |")?;
        }
        Ok(())
    }
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flood, pace, sealing, .. } = self;
        let (rate, events) = (flood.per_second(), flood.sent.events as f64);
        let megabytes = flood.sent.bytes as f64 / 1e6 / flood.seconds;
        writeln!(f, "| HTTP → Kafka, acknowledged | {rate:.0} events/s, {megabytes:.1} MB/s of JSON |")?;
        let (sent, repeated) = (flood.sent.events, flood.sent.repeated);
        writeln!(f, "| events, of them distinct, requests repeated | {sent}, {}, {repeated} |", flood.sent.distinct)?;
        writeln!(f, "| ingest CPU per event | {:.1} µs |", flood.cpu_seconds * 1e6 / events)?;
        let (rate, requests) = (pace.events_per_second, pace.sent.requests);
        let (p50, p99) = (pace.p50_seconds * 1e3, pace.p99_seconds * 1e3);
        write!(f, "| HTTP → Kafka at {rate:.0} events/s ({requests} requests of {REQUEST_EVENTS}) | ")?;
        writeln!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms |")?;
        let (rate, records) = (sealing.per_second(), sealing.records as f64);
        writeln!(f, "| Kafka → journal on one core | {rate:.0} events/s, {} distinct sealed |", sealing.distinct)?;
        writeln!(f, "| sealer CPU per event | {:.1} µs |", sealing.cpu_seconds * 1e6 / records)
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, sent, ingest, seal } = self;
        let rate = sent.events as f64 / *seconds as f64;
        writeln!(f, "| soak of {seconds} s | {rate:.0} events/s, {} distinct sealed |", sent.distinct)?;
        for (role, memory) in [("ingest", ingest), ("seal", seal)] {
            let Memory { start, end, max } = memory;
            let [start, end, max] = [start, end, max].map(|bytes| mebibytes(*bytes));
            write!(f, "| memory of {role} after the first minute, at the end, at most | ")?;
            writeln!(f, "{start:.0} MiB, {end:.0} MiB, {max:.0} MiB |")?;
        }
        Ok(())
    }
}

impl fmt::Display for Da {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points_seconds, commitments, ceilings, gnark, publishing, evidence, checks } = self;
        writeln!(f, "| reading the points for the largest blob, once | {:.0} ms |", points_seconds * 1e3)?;
        for commitment in commitments {
            commitment.fmt(f)?;
        }
        if let Some((gnark, largest)) = gnark.as_ref().zip(commitments.iter().max_by_key(|commitment| commitment.symbols)) {
            let (one, all, ours) = (gnark.one_core_seconds, gnark.all_cores_seconds, largest.multiplication_seconds);
            write!(f, "| gnark-crypto, the multiplication of {} symbols on one core and on all | ", largest.symbols)?;
            writeln!(
                f,
                "{:.1} ms, {:.1} ms; ours on one core {:.1} ms, ratio {:.2} |",
                one * 1e3,
                all * 1e3,
                ours * 1e3,
                one / ours
            )?;
        }
        for (run, ceiling) in publishing.iter().zip(ceilings) {
            let (rate, cpu) = (run.per_second() / 1e6, run.cpu_seconds * 1e9 / run.bytes as f64);
            let (cores, blobs, megabytes) = (run.cores, run.blobs, run.bytes as f64 / 1e6);
            let memory = mebibytes(run.peak_memory_bytes);
            write!(f, "| blobs published on {cores} cores ({blobs} blobs, {megabytes:.1} MB) | {rate:.2} MB/s, ")?;
            writeln!(f, "{cpu:.0} ns CPU per byte, {memory:.0} MiB at most |")?;
            let bare = ceiling.bytes_per_second / 1e6;
            writeln!(f, "| bare multiplications on {} cores | {bare:.2} MB/s, ratio {:.2} |", ceiling.cores, rate / bare)?;
        }
        let (first, again) = (evidence.first_seconds * 1e3, evidence.again_seconds * 1e3);
        writeln!(f, "| `event.proof` by GraphQL, blob of {} symbols | {first:.0} ms, again {again:.1} ms |", evidence.symbols)?;
        let (p50, p99) = (evidence.check_p50_seconds * 1e3, evidence.check_p99_seconds * 1e3);
        writeln!(f, "| checking a proof | p50 {p50:.2} ms, p99 {p99:.2} ms |")?;
        let (bytes, json) = (evidence.bytes, evidence.json_bytes);
        writeln!(f, "| size of a proof without event and certificate | {bytes} bytes, {json} as JSON |")?;
        for check in checks {
            let (events, seconds) = (check.events, check.seconds);
            writeln!(f, "| {} ({events} events) | {seconds:.1} s, {:.0} events/s |", check.what, events as f64 / seconds)?;
        }
        Ok(())
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { symbols, payload_bytes, .. } = self;
        let [commit, multiply, transform, open] =
            [self.commit_seconds, self.multiplication_seconds, self.transform_seconds, self.open_seconds].map(|time| time * 1e3);
        write!(f, "| {symbols} symbols ({payload_bytes} bytes): commitment, multiplication and transform in it, proof | ")?;
        writeln!(f, "{commit:.1} ms, {multiply:.1} ms, {transform:.1} ms, {open:.0} ms |")
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
