//! From the door to the tables: how fast the input is durable, sealed, in Delta; and how long closing an epoch takes.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::Outcome;
use crate::input::Input;
use crate::process;
use crate::server::Server;

/// How long the stages may take to catch up after the last acknowledgement.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);

/// Events of one request, and requests under way at once, where only the record is wanted.
const FILL_EVENTS: usize = 1_000;
const FILL_CONNECTIONS: usize = 2;

/// The figures of one run.
#[derive(Serialize)]
pub struct Flow {
    /// Events sent.
    pub events: u64,
    /// Of them different, and found in the table.
    pub distinct: u64,
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
    let cpu_before = server.cpu_seconds()?;
    let started = Instant::now();
    let repeated = send(server, input.requests(request_events), connections).await?;
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
    let counted = server.sql("SELECT count(*) AS n FROM events").await?;
    if counted[0]["n"].as_u64() != Some(input.distinct) {
        return Err(format!("the table of events holds {}, not the {} sent", counted[0]["n"], input.distinct).into());
    }
    let events = input.lines.len() as u64;
    Ok(Flow {
        events,
        bytes: input.bytes,
        durable_seconds,
        sealed_seconds: sealed_seconds.ok_or("never sealed")?,
        indexed_seconds: indexed_seconds.ok_or("never indexed")?,
        distinct: input.distinct,
        repeated,
        cpu_seconds: server.cpu_seconds()? - cpu_before,
    })
}

/// Sends everything and waits for its acknowledgement only.
pub async fn fill(server: &Server, input: &Input) -> Outcome<()> {
    send(server, input.requests(FILL_EVENTS), FILL_CONNECTIONS).await.map(|_| ())
}

/// Waits until everything that the log holds is in Delta.
pub async fn wait_until_indexed(server: &Server) -> Outcome<()> {
    let started = Instant::now();
    while started.elapsed() < CATCH_UP_MAX {
        let status = server.status().await?;
        if status.partitions.iter().all(|p| p.indexed_offset >= p.next_offset) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the stages did not catch up".into())
}

/// Sends the requests, so many under way at once. Gives how often one had to be repeated.
async fn send(server: &Server, requests: Vec<bytes::Bytes>, connections: usize) -> Outcome<u64> {
    let sent = stream::iter(requests).map(|body| server.post(body)).buffer_unordered(connections);
    sent.try_fold(0, |sum, repeated| std::future::ready(Ok(sum + u64::from(repeated)))).await
}

/// Sends the input at a steady rate, a request when its time has come. Gives the rate that was reached.
pub async fn pace(server: &Server, input: &Input, request_events: usize, events_per_second: f64) -> Outcome<f64> {
    let started = tokio::time::Instant::now();
    let mut due = 0.0;
    for (body, lines) in input.requests(request_events).into_iter().zip(input.lines.chunks(request_events)) {
        tokio::time::sleep_until(started + Duration::from_secs_f64(due)).await;
        server.post(body).await?;
        due += lines.len() as f64 / events_per_second;
    }
    Ok(input.lines.len() as f64 / started.elapsed().as_secs_f64())
}

/// One epoch, closed.
#[derive(Serialize)]
pub struct Settle {
    /// From the start of the command to its end.
    pub seconds: f64,
    /// Inferences settled.
    pub inferences: u64,
    /// The most memory that the job held at once.
    pub peak_memory_bytes: u64,
}

/// How often the memory of a job is read.
const LOOK_EVERY: Duration = Duration::from_millis(10);

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
    let mut job = tokio::process::Command::new(bin);
    job.args(["settle", "--json", "--data-dir"]).arg(server.data_dir()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = job.spawn()?;
    let pid = child.id().ok_or("the job ended at once")?;
    let mut ended = std::pin::pin!(child.wait_with_output());
    let mut peak_memory_bytes = 0;
    let output = loop {
        tokio::select! {
            output = &mut ended => break output?,
            () = tokio::time::sleep(LOOK_EVERY) => {
                // Between its end and its reaping a process has no memory any more.
                peak_memory_bytes = peak_memory_bytes.max(process::peak_memory(pid).unwrap_or(0));
            }
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let settled: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let inferences = settled["inferences"].as_u64().ok_or("settle printed no count of inferences")?;
    Ok(Settle { seconds, inferences, peak_memory_bytes })
}
