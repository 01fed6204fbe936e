//! What was acknowledged survives SIGKILL. The test runs itself again as the process that is killed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tributary_eventlog::{EmbeddedLog, EventLog, Record, Settings};
use tributary_schemas::ids::{Offset, PartitionCount, murmur2};

const DIR: &str = "TRIBUTARY_KILL_TEST_DIR";
const WRITERS: u64 = 8;
const KILLS: u32 = 12;

fn partitions() -> PartitionCount {
    PartitionCount::new(3).unwrap()
}

/// Small buffers, so that kills also hit flushes and merges.
fn settings() -> Settings {
    Settings { write_buffer_bytes: 256 << 10, reclaim_bytes: 64 << 10, ..Settings::default() }
}

/// What each key holds, in the log's order.
async fn numbers(log: &EmbeddedLog) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for partition in partitions().partitions() {
        let mut next = Offset::FIRST;
        loop {
            let records = log.read(partition, next, 1 << 20).await.unwrap();
            let Some(last) = records.last() else { break };
            next = last.offset.next();
            for record in records {
                let number = u64::from_be_bytes(*record.value.first_chunk().unwrap());
                found.entry(String::from_utf8(record.key.to_vec()).unwrap()).or_default().push(number);
            }
        }
    }
    found
}

/// The process to be killed: every writer goes on where the log ends and prints what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn child_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let log = EmbeddedLog::open(&dir, partitions(), settings()).await.unwrap();
    let held = numbers(&log).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (log, key) = (Arc::clone(&log), format!("writer-{writer}"));
        let mut next = held.get(&key).and_then(|numbers| numbers.last()).map_or(0, |last| last + 1);
        writers.push(tokio::spawn(async move {
            // Ends with the process: nobody closes this log.
            while next < u64::MAX {
                let record = |number: u64| {
                    let value = [&number.to_be_bytes()[..], &[7; 300]].concat();
                    Record { key: Bytes::from(key.clone()), value: Bytes::from(value) }
                };
                log.append((next..next + 20).map(record).collect()).await.unwrap();
                next += 20;
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nacknowledged {key} {next}").unwrap();
                out.flush().unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Lets a child append until it has acknowledged so many appends, then kills it. Gives the last numbers it acknowledged.
fn kill_after(appends: u32, dir: &Path) -> BTreeMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_it_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut left = appends;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // A line that the kill cut short is not complete, hence not taken for an acknowledgement.
        if let Some((key, next)) = line.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' '))
            && left > 0
        {
            acknowledged.insert(key.to_owned(), next.parse().unwrap());
            left -= 1;
            if left == 0 {
                child.kill().unwrap();
            }
        }
    }
    assert!(!child.wait().unwrap().success() && left == 0, "the child ended by itself");
    acknowledged
}

#[tokio::test]
async fn what_was_acknowledged_survives_sigkill() {
    if std::env::var_os(DIR).is_some() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let seed = std::process::id();
    println!("seed {seed}");
    for kill in 0..KILLS {
        let appends = 1 + murmur2(&(seed ^ (kill << 24)).to_le_bytes()) % 120;
        let path = dir.path().to_path_buf();
        let acknowledged = tokio::task::spawn_blocking(move || kill_after(appends, &path)).await.unwrap();
        let log = EmbeddedLog::open(dir.path(), partitions(), settings()).await.unwrap();
        let held = numbers(&log).await;
        for (key, next) in acknowledged {
            let numbers = &held[&key];
            assert!(numbers.len() as u64 >= next, "kill {kill}: {key} holds {}, {next} were acknowledged", numbers.len());
        }
        for (key, numbers) in &held {
            let dense = numbers.iter().copied().eq(0..numbers.len() as u64);
            assert!(dense, "kill {kill}: {key} has a gap, a repetition or a record out of order");
        }
        log.close().await;
    }
}
