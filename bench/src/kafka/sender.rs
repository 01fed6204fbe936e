//! Sends: as fast as the door acknowledges, or at a steady rate.

use std::future::ready;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use super::role::Role;
use super::supply::Request;
use crate::Outcome;
use crate::percentile::p50_and_p99;

/// Requests under way at once where the rate is given; a door that is slower than that gets them late.
const PACED_MAX: usize = 32;

/// What was sent and acknowledged.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sent {
    /// Requests.
    pub requests: u64,
    /// Their events.
    pub events: u64,
    /// Of them different.
    pub distinct: u64,
    /// Their JSON bytes.
    pub bytes: u64,
    /// How often a request had to be repeated.
    pub repeated: u64,
}

impl Sent {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            events: self.events + other.events,
            distinct: self.distinct + other.distinct,
            bytes: self.bytes + other.bytes,
            repeated: self.repeated + other.repeated,
        }
    }
}

/// As fast as the door acknowledges.
#[derive(Serialize)]
pub struct Flood {
    /// What was sent.
    pub sent: Sent,
    /// Until the last acknowledgement.
    pub seconds: f64,
    /// CPU seconds of the door's process.
    pub cpu_seconds: f64,
}

impl Flood {
    /// Events acknowledged a second.
    pub fn per_second(&self) -> f64 {
        self.sent.events as f64 / self.seconds
    }
}

/// At a steady rate.
#[derive(Serialize)]
pub struct Pace {
    /// What was sent.
    pub sent: Sent,
    /// The rate that was reached.
    pub events_per_second: f64,
    /// Half of the requests were acknowledged at most this long after they were due.
    pub p50_seconds: f64,
    /// 99 of 100 were acknowledged at most this long after they were due.
    pub p99_seconds: f64,
}

/// Sends the requests, so many under way at once.
pub async fn flood(ingest: &Role, requests: Vec<Request>, connections: usize) -> Outcome<Flood> {
    let cpu_before = ingest.cpu_seconds()?;
    let started = Instant::now();
    let sending = stream::iter(requests).map(|request| send(ingest, request)).buffer_unordered(connections);
    let sent = sending.try_fold(Sent::default(), |sum, one| ready(Ok(sum.plus(one)))).await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Flood { sent, seconds, cpu_seconds: ingest.cpu_seconds()? - cpu_before })
}

/// Sends the requests at a steady rate.
pub async fn pace(ingest: &Role, requests: Vec<Request>, events_per_second: f64) -> Outcome<Pace> {
    let started = Instant::now();
    let acknowledged = on_time(ingest, requests, events_per_second, None).await?;
    let seconds = started.elapsed().as_secs_f64();
    let sent = total(&acknowledged);
    let mut delays: Vec<f64> = acknowledged.into_iter().map(|(_, delay)| delay).collect();
    if delays.is_empty() {
        return Err("no request was to be sent".into());
    }
    let (p50_seconds, p99_seconds) = p50_and_p99(&mut delays);
    Ok(Pace { sent, events_per_second: sent.events as f64 / seconds, p50_seconds, p99_seconds })
}

/// Sends the requests at a steady rate, but none that is due at `until` or later.
pub async fn pace_until(ingest: &Role, requests: Vec<Request>, events_per_second: f64, until: Instant) -> Outcome<Sent> {
    Ok(total(&on_time(ingest, requests, events_per_second, Some(until)).await?))
}

/// Sends each request when its time has come. Gives how long after that each was acknowledged.
async fn on_time(ingest: &Role, requests: Vec<Request>, rate: f64, until: Option<Instant>) -> Outcome<Vec<(Sent, f64)>> {
    let due = requests.into_iter().scan(Instant::now(), |next, request| {
        let at = *next;
        *next += Duration::from_secs_f64(request.events as f64 / rate);
        Some((at, request))
    });
    let due = due.take_while(|(at, _)| until.is_none_or(|until| *at < until));
    let sending = stream::iter(due).map(|(at, request)| send_at(ingest, at, request)).buffer_unordered(PACED_MAX);
    sending.try_collect().await
}

fn total(acknowledged: &[(Sent, f64)]) -> Sent {
    acknowledged.iter().fold(Sent::default(), |sum, (one, _)| sum.plus(*one))
}

/// Sends a request when it is due. Gives how long after that it was acknowledged, so that a wait for room counts.
async fn send_at(ingest: &Role, due: Instant, request: Request) -> Outcome<(Sent, f64)> {
    tokio::time::sleep_until(due).await;
    let sent = send(ingest, request).await?;
    Ok((sent, due.elapsed().as_secs_f64()))
}

async fn send(ingest: &Role, request: Request) -> Outcome<Sent> {
    let Request { body, events, distinct } = request;
    let bytes = body.len() as u64;
    let taken = ingest.post(body).await?;
    if taken.accepted != events {
        return Err(format!("the door accepted {} of {events} events", taken.accepted).into());
    }
    Ok(Sent { requests: 1, events, distinct, bytes, repeated: taken.repeated.into() })
}
