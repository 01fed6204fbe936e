//! `tributary send`: NDJSON files to the door, in order, repeated until taken.

use std::io::Write;
use std::time::Instant;

use clap::Args;
use indicatif::ProgressBar;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::exit::{Failure, Outcome};
use crate::input::{Lines, total_bytes};
use crate::{progress, remote};

/// The most events of one request; the door takes 10,000.
const REQUEST_EVENTS: usize = 1_000;
/// The most bytes of one request unless one line alone is longer; the door takes 16 MiB.
const REQUEST_BYTES: usize = 4 << 20;
/// Requests read ahead while one is under way.
const READ_AHEAD: usize = 2;
/// How many refused events are printed; the rest are counted.
const PRINTED_MAX: u64 = 20;

/// Arguments of `send`.
#[derive(Args)]
pub struct Send {
    /// NDJSON files, one CloudEvent per line: plain, .zst, .gz, or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// The server.
    #[arg(long, default_value = remote::DEFAULT_URL)]
    url: String,
    /// A bearer token, where the server wants one.
    #[arg(long, env = "TRIBUTARY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// One request's worth of lines.
struct Chunk {
    body: Vec<u8>,
    file: usize,
    first_line: u64,
}

/// What the door answers.
#[derive(Deserialize)]
struct Answer {
    accepted: u64,
    rejected: Vec<Rejected>,
}

#[derive(Deserialize, Serialize)]
struct Rejected {
    index: u64,
    id: Option<String>,
    code: String,
    field: Option<String>,
    message: String,
}

/// What was sent.
#[derive(Default, Serialize)]
struct Summary {
    accepted: u64,
    rejected: u64,
    bytes: u64,
    requests: u64,
    retries: u64,
    seconds: f64,
}

impl Send {
    /// Sends every file; fails when anything was refused.
    pub async fn run(self) -> Outcome {
        let total = total_bytes(&self.files).map_err(|e| Failure::failed("the input cannot be read", e))?;
        let bar = progress::bytes(total, "sending");
        let started = Instant::now();
        let (chunks, mut received) = mpsc::channel(READ_AHEAD);
        let (files, reading) = (self.files.clone(), bar.clone());
        let reader = tokio::task::spawn_blocking(move || read_chunks(&files, &reading, &chunks));
        let client = remote::client()?;
        let mut summary = Summary::default();
        while let Some(chunk) = received.recv().await {
            self.send_chunk(&client, chunk, &mut summary, &bar).await?;
            bar.set_message(format!("{} events", summary.accepted));
        }
        let read = reader.await.map_err(|e| Failure::failed("reading stopped", e))?;
        bar.finish_and_clear();
        read?;
        summary.seconds = started.elapsed().as_secs_f64();
        self.report(&summary)
    }

    async fn send_chunk(&self, client: &Client, chunk: Chunk, summary: &mut Summary, bar: &ProgressBar) -> Outcome {
        let body = bytes::Bytes::from(chunk.body);
        let make = || {
            let request = client.post(remote::route(&self.url, "/v1/events")).header("content-type", "application/x-ndjson");
            let request = match &self.token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            request.body(body.clone())
        };
        let (answer, retries) = remote::persist_to_end(make).await?;
        let answered = match answer.status {
            StatusCode::UNPROCESSABLE_ENTITY => answer.body,
            _ => answer.success()?,
        };
        let answer: Answer =
            serde_json::from_slice(&answered).map_err(|e| Failure::failed("the answer is not what a door says", e))?;
        for refused in &answer.rejected {
            if summary.rejected < PRINTED_MAX {
                bar.suspend(|| eprintln!("{}", describe(refused, &self.files[chunk.file], chunk.first_line)));
            }
            summary.rejected += 1;
        }
        summary.accepted += answer.accepted;
        summary.bytes += body.len() as u64;
        summary.requests += 1;
        summary.retries += u64::from(retries);
        Ok(())
    }

    fn report(&self, summary: &Summary) -> Outcome {
        if self.json {
            super::print_json(summary)?;
        } else {
            let rate = summary.accepted as f64 / summary.seconds.max(1e-9);
            let text = format!(
                "accepted {} events in {:.1} s ({rate:.0} events/s), refused {}, repeated {} requests",
                summary.accepted, summary.seconds, summary.rejected, summary.retries
            );
            writeln!(std::io::stdout(), "{text}").map_err(|e| Failure::failed("stdout cannot be written", e))?;
        }
        match summary.rejected {
            0 => Ok(()),
            refused => Err(Failure::Failed(format!("{refused} events were refused; correct them and send them again"))),
        }
    }
}

fn describe(refused: &Rejected, file: &str, first_line: u64) -> String {
    let field = refused.field.as_deref().filter(|f| !f.is_empty()).map(|f| format!(" `{f}`")).unwrap_or_default();
    let id = refused.id.as_deref().map(|id| format!(" (id {id})")).unwrap_or_default();
    let line = first_line + refused.index;
    format!("{file}: event {line}{id}:{field} {} [{}]", refused.message, refused.code)
}

/// Reads all files into chunks; events are counted per file from 1.
fn read_chunks(files: &[String], bar: &ProgressBar, chunks: &mpsc::Sender<Chunk>) -> Outcome {
    for (file, name) in files.iter().enumerate() {
        let failed = |e: std::io::Error| Failure::Failed(format!("{name}: {e}"));
        let mut lines = Lines::open(name, bar).map_err(failed)?;
        let mut sent = 0;
        loop {
            let mut body = Vec::new();
            let mut count = 0;
            while count < REQUEST_EVENTS && body.len() < REQUEST_BYTES && lines.next_into(&mut body).map_err(failed)? {
                count += 1;
            }
            if count == 0 {
                break;
            }
            let first_line = sent + 1;
            sent += count as u64;
            if chunks.blocking_send(Chunk { body, file, first_line }).is_err() {
                return Ok(()); // the sender stopped and says why itself
            }
        }
    }
    Ok(())
}
