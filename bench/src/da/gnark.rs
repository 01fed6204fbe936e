//! The multiplication of EigenDA's own client, by gnark-crypto in Go, over the same blob (`bench/gnark`).

use std::path::Path;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::commitments::filled;
use crate::Outcome;

/// The shipped points, beside the sources of this bench.
const POINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../da/srs/g1-32768.point");

/// The figures: each the least of its runs.
#[derive(Serialize)]
pub struct Gnark {
    /// On one core.
    pub one_core_seconds: f64,
    /// On all.
    pub all_cores_seconds: f64,
}

/// What it answers.
#[derive(Deserialize)]
struct Answer {
    commitment: String,
    one_core_seconds: f64,
    all_cores_seconds: f64,
}

/// Has it commit to a blob of so many symbols. Its commitment must be ours.
pub async fn measure(gnark: &Path, symbols: u32, runs: u32) -> Outcome<Gnark> {
    let (blob, commitment) = filled(symbols)?;
    let mut started = Command::new(gnark)
        .args([POINTS, &runs.max(1).to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    // It reads all of it before it answers.
    let mut input = started.stdin.take().ok_or("it has no input")?;
    input.write_all(&blob.to_bytes()).await?;
    drop(input);
    let ended = started.wait_with_output().await?;
    if !ended.status.success() {
        return Err(format!("{} ended with {}", gnark.display(), ended.status).into());
    }
    let answer: Answer = serde_json::from_slice(&ended.stdout)?;
    let ours: String = commitment.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    if answer.commitment != ours {
        return Err(format!("gnark commits to the blob as {}, we as {ours}", answer.commitment).into());
    }
    Ok(Gnark { one_core_seconds: answer.one_core_seconds, all_cores_seconds: answer.all_cores_seconds })
}
