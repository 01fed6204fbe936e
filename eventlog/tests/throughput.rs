//! A measurement: `cargo test --release -p tributary-eventlog --test throughput -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tempfile::TempDir;
use tributary_eventlog::{EmbeddedLog, EventLog, Record, Settings};
use tributary_schemas::ids::{Offset, PartitionCount, murmur2};

const RECORDS: u64 = 1_000_000;
const WRITERS: u64 = 16;
const RECORDS_PER_APPEND: u64 = 100;

/// Processor seconds of this process so far.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // User and system time, in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a check"]
async fn records_per_second_and_processor_time_with_a_reader_that_keeps_up() {
    let dir = TempDir::new().unwrap();
    let partitions = PartitionCount::new(4).unwrap();
    let log = EmbeddedLog::open(dir.path(), partitions, Settings::default()).await.unwrap();
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|i| murmur2(&i.to_le_bytes()).to_le_bytes()).collect();
    let noise = Bytes::from(noise);
    let (started, processor) = (Instant::now(), processor_seconds());
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (log, noise) = (Arc::clone(&log), noise.clone());
        writers.push(tokio::spawn(async move {
            for append in 0..RECORDS / WRITERS / RECORDS_PER_APPEND {
                let record = |i: u64| {
                    let at = usize::try_from((append * RECORDS_PER_APPEND + i) * 11 % 700_000).unwrap();
                    Record { key: Bytes::from(format!("key-{writer}-{append}-{i}")), value: noise.slice(at..at + 500) }
                };
                log.append((0..RECORDS_PER_APPEND).map(record).collect()).await.unwrap();
            }
        }));
    }
    let mut readers = tokio::task::JoinSet::new();
    for partition in partitions.partitions() {
        let log = Arc::clone(&log);
        readers.spawn(async move {
            let mut next = Offset::FIRST;
            loop {
                log.wait_beyond(partition, next).await.unwrap();
                let records = log.read(partition, next, 900_000).await.unwrap();
                next = records.last().unwrap().offset.next();
                log.release(partition, next).await.unwrap();
            }
        });
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let (seconds, processor) = (started.elapsed().as_secs_f64(), processor_seconds() - processor);
    readers.abort_all();
    let metrics = log.metrics();
    let (rate, share) = (RECORDS as f64 / seconds, processor / RECORDS as f64 * 40_000.0 * 100.0);
    let (commits, backlog, memory) = (metrics.commits.get(), metrics.backlog_records.get(), peak_memory());
    println!("{RECORDS} records of 500 bytes in {seconds:.2} s: {rate:.0}/s, {commits} commits, backlog {backlog}, {memory}");
    println!("at 40,000/s this takes {share:.1} % of one core, the writers and readers of this test included");
}
