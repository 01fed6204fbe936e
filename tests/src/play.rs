//! A world, played from sending to settled.

use std::time::Duration;

use serde_json::Value;

use crate::chance::Chance;
use crate::compare;
use crate::server::Server;
use crate::worlds::{EpochInput, World};
use crate::{Outcome, ensure};

/// How long anything accepted may take to be sealed, available or indexed.
pub const WAIT_AT_MOST: Duration = Duration::from_secs(120);

/// How the events of an epoch are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Once, as recorded.
    AsRecorded,
    /// Twice, each time in another order across keys.
    ReorderedTwice,
}

/// Sends and settles every epoch, and compares its figures with the oracle's.
pub async fn play(server: &Server, world: &World, sending: Sending, chance: &mut Chance) -> Outcome {
    for epoch in &world.epochs {
        send(server, epoch, sending, chance).await?;
        wait(server, "sealed", WAIT_AT_MOST).await?;
        let settled = settle(server).await?;
        ensure(settled["closed"] == Value::Bool(true), || format!("{}: nothing was closed: {settled}", world.name))?;
        compare::figures(world, epoch, &settled)?;
    }
    Ok(())
}

/// Sends one epoch; every event must be taken.
pub async fn send(server: &Server, epoch: &EpochInput, sending: Sending, chance: &mut Chance) -> Outcome {
    match sending {
        Sending::AsRecorded => accepted(server, &epoch.lines).await,
        Sending::ReorderedTwice => {
            accepted(server, &epoch.reordered(chance)?).await?;
            accepted(server, &epoch.reordered(chance)?).await
        }
    }
}

async fn accepted(server: &Server, lines: &[String]) -> Outcome {
    let answer = server.send(lines).await?.expect_code(0)?.json()?;
    ensure(answer["accepted"].as_u64() == Some(lines.len() as u64), || {
        format!("of {} events not all were taken: {answer}", lines.len())
    })
}

/// `tributary settle --json`, which must succeed.
pub async fn settle(server: &Server) -> Outcome<Value> {
    server.job(&["settle", "--json"]).await?.expect_code(0)?.json()
}

/// `tributary status --wait STAGE` until everything accepted is that far.
pub async fn wait(server: &Server, stage: &str, at_most: Duration) -> Outcome {
    let timeout = format!("{}s", at_most.as_secs());
    server.remote(&["status", "--wait", stage, "--timeout", &timeout, "--json"]).await?.expect_code(0).map(drop)
}
