//! Freshness: from the door's answer to the row in SQL.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Outcome;
use crate::percentile::p50_and_p99;
use crate::server::Server;

/// The pause between two probes.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the last probe may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long accepted events took until SQL showed them.
#[derive(Serialize)]
pub struct Freshness {
    /// Events watched.
    pub probes: usize,
    /// Half of them took at most this long.
    pub p50_seconds: f64,
    /// 99 of 100 took at most this long.
    pub p99_seconds: f64,
}

/// Sends `probes` single events, `source` telling them from others, and watches for each in SQL at the same time.
pub async fn measure(server: &Server, probes: u32, source: &str) -> Outcome<Freshness> {
    let query = format!("SELECT event_id FROM feedback WHERE source = '{source}'");
    let mut waiting: HashMap<String, Instant> = HashMap::new();
    let mut seconds = Vec::new();
    let mut sent = 0;
    let mut next_send = Instant::now();
    let mut last_sent = Instant::now();
    while sent < probes || !waiting.is_empty() {
        if sent < probes && Instant::now() >= next_send {
            let id = format!("fresh-{sent}");
            server.post(probe(&id, source).into()).await?;
            last_sent = Instant::now();
            waiting.insert(id, last_sent);
            sent += 1;
            next_send = last_sent + PAUSE;
        }
        let rows = server.sql(&query).await?;
        let seen = Instant::now();
        for row in rows.as_array().ok_or("no rows")? {
            if let Some(at) = row["event_id"].as_str().and_then(|id| waiting.remove(id)) {
                seconds.push((seen - at).as_secs_f64());
            }
        }
        if last_sent.elapsed() > PATIENCE {
            return Err(format!("{} accepted events are not in SQL after {PATIENCE:?}", waiting.len()).into());
        }
    }
    let (p50_seconds, p99_seconds) = p50_and_p99(&mut seconds);
    Ok(Freshness { probes: seconds.len(), p50_seconds, p99_seconds })
}

/// A single event, as a line of NDJSON.
pub fn probe(id: &str, source: &str) -> String {
    let event = serde_json::json!({
        "specversion": "1.0", "id": id, "source": source, "type": "tributary.feedback.recorded.v1",
        "time": "2026-10-01T00:00:00Z",
        "data": {"inference_id": id, "actor": "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "score": 0.5},
    });
    format!("{event}\n")
}
