//! From the door to the tables: how fast the input is durable, sealed, in Delta; and how long closing an epoch takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{TryStreamExt, stream};
use serde::Serialize;

use crate::Outcome;
use crate::input::Input;
use crate::server::Server;

/// How long the stages may take to catch up after the last acknowledgement.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);

/// The figures of one run.
#[derive(Serialize)]
pub struct Flow {
    /// Events sent.
    pub events: u64,
    /// Their JSON bytes.
    pub bytes: u64,
    /// Until the last acknowledgement.
    pub durable_seconds: f64,
    /// Until everything was sealed.
    pub sealed_seconds: f64,
    /// Until everything was in Delta.
    pub indexed_seconds: f64,
    /// Requests that had to be repeated because the door was full.
    pub repeated: u64,
    /// CPU seconds of the server.
    pub cpu_seconds: f64,
}

/// Sends everything and waits until it is in Delta.
pub async fn measure(server: &Server, input: &Input, connections: usize, request_events: usize) -> Outcome<Flow> {
    let requests = input.requests(request_events);
    let repeated = Arc::new(AtomicU64::new(0));
    let cpu_before = server.cpu_seconds()?;
    let started = Instant::now();
    stream::iter(requests.into_iter().map(Ok::<_, Box<dyn std::error::Error + Send + Sync>>))
        .map_ok(|body| {
            let repeated = Arc::clone(&repeated);
            async move {
                repeated.fetch_add(u64::from(server.post(body).await?), Ordering::Relaxed);
                Ok(())
            }
        })
        .try_buffer_unordered(connections)
        .try_collect::<Vec<()>>()
        .await?;
    let durable_seconds = started.elapsed().as_secs_f64();
    let (mut sealed_seconds, mut indexed_seconds) = (None, None);
    while indexed_seconds.is_none() {
        let status = server.status().await?;
        let elapsed = started.elapsed();
        if status.partitions.iter().all(|p| p.sealed_offset >= p.next_offset) {
            sealed_seconds.get_or_insert(elapsed.as_secs_f64());
        }
        if status.partitions.iter().all(|p| p.indexed_offset >= p.next_offset) {
            indexed_seconds.get_or_insert(elapsed.as_secs_f64());
        }
        if elapsed > CATCH_UP_MAX {
            return Err("the stages did not catch up".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let events = input.lines.len() as u64;
    let counted = server.sql("SELECT count(*) AS n FROM events").await?;
    let in_tables = counted[0]["n"].as_u64().ok_or("no count")?;
    println!("bench: {events} events sent, {in_tables} in the table (the rest are the recording's own duplicates)");
    Ok(Flow {
        events,
        bytes: input.bytes,
        durable_seconds,
        sealed_seconds: sealed_seconds.ok_or("never sealed")?,
        indexed_seconds: indexed_seconds.ok_or("never indexed")?,
        repeated: repeated.load(Ordering::Relaxed),
        cpu_seconds: server.cpu_seconds()? - cpu_before,
    })
}

/// One epoch, closed.
#[derive(Serialize)]
pub struct Settle {
    /// From the start of the command to its end, availability included.
    pub seconds: f64,
    /// Inferences settled.
    pub inferences: u64,
}

/// Closes an epoch over everything sent.
pub async fn settle(server: &Server, bin: &Path) -> Outcome<Settle> {
    let waited = tokio::process::Command::new(bin)
        .args(["status", "--wait", "available", "--timeout", "300s", "--url", &server.url])
        .output()
        .await?;
    if !waited.status.success() {
        return Err(String::from_utf8_lossy(&waited.stderr).into_owned().into());
    }
    let started = Instant::now();
    let output =
        tokio::process::Command::new(bin).args(["settle", "--json", "--data-dir"]).arg(server.data_dir()).output().await?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let settled: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(Settle { seconds, inferences: settled["inferences"].as_u64().ok_or("settle printed no count of inferences")? })
}
