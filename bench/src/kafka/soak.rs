//! A steady load through door and sealer for a long time, and their memory meanwhile.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Bench;
use super::role::Role;
use super::sealing;
use super::sender::{self, Sent};
use super::supply::Supply;
use crate::Outcome;

/// How often memory is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks until memory has its level; in a short soak it is a quarter of them.
const WARM_UP_LOOKS: usize = 60;
/// Looks of which a level is the mean.
const LEVEL_LOOKS: usize = 5;
/// A shorter soak is no evidence of anything but that it works.
const VERDICT_SECONDS: u64 = 180;
/// How much memory may grow besides a tenth.
const SLACK_BYTES: u64 = 32 << 20;

/// The figures of one soak.
#[derive(Serialize)]
pub struct Soak {
    /// How long it was.
    pub seconds: u64,
    /// What was sent in this time.
    pub sent: Sent,
    /// The door's memory.
    pub ingest: Memory,
    /// The sealer's memory.
    pub seal: Memory,
}

/// Memory of a process in bytes.
#[derive(Serialize)]
pub struct Memory {
    /// The level after the first minute.
    pub start: u64,
    /// The level at the end.
    pub end: u64,
    /// The most.
    pub max: u64,
}

/// Finds out what rate door and sealer reach together, and loads them with a third of it.
pub(super) async fn measure(mut bench: Bench<'_>, partitions: u16, events: usize, seconds: u64) -> Outcome<Soak> {
    let deployment = bench.deploy(partitions).await?;
    let (ingest, seal) = (deployment.ingest().await?, deployment.seal().await?);
    let flood = sender::flood(&ingest, bench.supply.take(events), bench.connections).await?;
    sealing::finish(&seal, &deployment.topic, &flood.sent).await?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let load = steady(&ingest, bench.supply, flood.per_second() / 3.0, until);
    let (sent, [of_ingest, of_seal]) = tokio::try_join!(load, watch([&ingest, &seal], until))?;
    let all = flood.sent.plus(sent);
    deployment.topic.check_holds(&all)?;
    sealing::finish(&seal, &deployment.topic, &all).await?;
    ingest.stop().await?;
    seal.stop().await?;
    Ok(Soak { seconds, sent, ingest: Memory::of(&of_ingest)?, seal: Memory::of(&of_seal)? })
}

async fn steady(ingest: &Role, supply: Supply, events_per_second: f64, until: Instant) -> Outcome<Sent> {
    let mut ahead = supply.ahead();
    let mut sent = Sent::default();
    while Instant::now() < until {
        let requests = ahead.recv().await.ok_or("nothing is left to send")?;
        sent = sent.plus(sender::pace_until(ingest, requests, events_per_second, until).await?);
    }
    Ok(sent)
}

/// The memory of the roles, look by look.
async fn watch(roles: [&Role; 2], until: Instant) -> Outcome<[Vec<u64>; 2]> {
    let mut looks = [Vec::new(), Vec::new()];
    let mut clock = tokio::time::interval(LOOK_EVERY);
    while Instant::now() < until {
        clock.tick().await;
        for (looks, role) in looks.iter_mut().zip(roles) {
            looks.push(role.memory()?);
        }
    }
    Ok(looks)
}

impl Soak {
    /// Fails if memory grew.
    pub fn check(&self) -> Outcome<()> {
        if self.seconds < VERDICT_SECONDS {
            return Ok(());
        }
        for (role, memory) in [("ingest", &self.ingest), ("seal", &self.seal)] {
            if memory.end > memory.start + memory.start / 10 + SLACK_BYTES {
                let Memory { start, end, .. } = memory;
                return Err(format!("the memory of {role} grew from {start} to {end} bytes").into());
            }
        }
        Ok(())
    }
}

impl Memory {
    fn of(looks: &[u64]) -> Outcome<Self> {
        let warm = &looks[WARM_UP_LOOKS.min(looks.len() / 4)..];
        let start = mean(&warm[..LEVEL_LOOKS.min(warm.len())])?;
        let end = mean(&looks[looks.len().saturating_sub(LEVEL_LOOKS)..])?;
        Ok(Self { start, end, max: looks.iter().copied().max().unwrap_or_default() })
    }
}

fn mean(looks: &[u64]) -> Outcome<u64> {
    let count = looks.len() as u64;
    Ok(looks.iter().sum::<u64>().checked_div(count).ok_or("the soak is too short for a look at memory")?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MIB: u64 = 1 << 20;

    fn soak(seconds: u64, end: u64) -> Soak {
        let memory = |end| Memory { start: 100 * MIB, end, max: end };
        Soak { seconds, sent: Sent::default(), ingest: memory(100 * MIB), seal: memory(end) }
    }

    #[test]
    fn levels_are_those_after_the_first_minute_and_at_the_end() {
        let looks: Vec<u64> = (0..60).map(|_| 1).chain((0..300).map(|_| 10)).chain([500]).chain((0..5).map(|_| 20)).collect();
        let Memory { start, end, max } = Memory::of(&looks).unwrap();
        assert_eq!((start, end, max), (10, 20, 500));
        assert!(Memory::of(&[]).is_err());
    }

    #[test]
    fn memory_that_grows_by_more_than_a_tenth_and_the_slack_fails_a_long_soak() {
        assert!(soak(600, 142 * MIB).check().is_ok());
        assert!(soak(600, 143 * MIB).check().is_err());
        assert!(soak(8, 900 * MIB).check().is_ok());
    }
}
