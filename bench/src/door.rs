//! The door, from its sender's side.

use std::time::Duration;

use bytes::Bytes;

use crate::Outcome;

/// How often a request is sent at most.
const ATTEMPTS_MAX: u32 = 1_000;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The door's answer to a request of which it took everything.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Events that are durable.
    pub accepted: u64,
    /// How often the request had to be repeated, for the door was full or its log could not be written.
    pub repeated: u32,
}

/// Posts NDJSON to the server at `url`; fails if anything was refused.
pub async fn post(client: &reqwest::Client, url: &str, body: Bytes) -> Outcome<Taken> {
    for repeated in 0..ATTEMPTS_MAX {
        let request = client.post(format!("{url}/v1/events")).header("content-type", "application/x-ndjson");
        let response = request.body(body.clone()).send().await?;
        if response.status().as_u16() == 503 {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let answer: serde_json::Value = response.json().await?;
        return match (answer["accepted"].as_u64(), answer["rejected"].as_array().map(Vec::len)) {
            (Some(accepted), Some(0)) => Ok(Taken { accepted, repeated }),
            _ => Err(format!("the door refused: {answer:.400}").into()),
        };
    }
    Err(format!("the door answered 503 to {ATTEMPTS_MAX} attempts").into())
}
