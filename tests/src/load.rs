//! Load: senders that know what was acknowledged.
//!
//! Each sends small events of a few keys, in requests of 1 to 200, to one of several doors. What is not answered in time, or
//! refused for now, is sent again, perhaps to another door, until it is acknowledged; so is now and then what was acknowledged
//! long ago.

pub mod event;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

pub use sender::Sender;

use crate::Outcome;
use crate::auditor::ledger::Ledger;

/// Where to send, and what all senders write down.
#[derive(Clone)]
pub struct Doors {
    /// Their addresses.
    pub urls: Vec<String>,
    /// What was sent and acknowledged.
    pub ledger: Arc<Mutex<Ledger>>,
    /// What happened.
    pub tally: Arc<Tally>,
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Attempts that were not.
    pub failed: AtomicU64,
    /// Acknowledged requests that were sent once more on purpose.
    pub repeated: AtomicU64,
    /// Why the last attempt that failed did so.
    pub trouble: Mutex<String>,
}

impl Doors {
    /// The doors at these addresses, with an empty ledger.
    pub fn at(urls: Vec<String>) -> Self {
        Self { urls, ledger: Arc::default(), tally: Arc::default() }
    }
}

/// How much is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many send at the same time.
    pub senders: u32,
    /// The keys of the events.
    pub keys: Vec<String>,
    /// How long a sender rests between two requests at most.
    pub pause: Duration,
}

/// Senders at work.
pub struct Load {
    doors: Doors,
    is_over: Arc<AtomicBool>,
    senders: JoinSet<Outcome>,
}

impl Load {
    /// Begins to send.
    pub fn begin(plan: &Plan, doors: Doors) -> Outcome<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for number in 1..=plan.senders {
            let sender = Sender::new(number, plan, doors.clone())?;
            senders.spawn(go_on(sender, plan.pause, Arc::clone(&is_over)));
        }
        Ok(Self { doors, is_over, senders })
    }

    /// Begins no more requests, and waits until the last are acknowledged.
    pub async fn finish(self, within: Duration) -> Outcome {
        let Self { doors, is_over, mut senders } = self;
        is_over.store(true, Ordering::Release);
        let finished = tokio::time::timeout(within, async {
            while let Some(sender) = senders.join_next().await {
                sender??;
            }
            Outcome::Ok(())
        });
        let trouble = || format!("after {within:?} requests are not acknowledged: {}", doors.tally.trouble.lock());
        finished.await.map_err(|_| trouble())?
    }
}

/// One sender's work.
async fn go_on(mut sender: Sender, pause: Duration, is_over: Arc<AtomicBool>) -> Outcome {
    while !is_over.load(Ordering::Acquire) {
        sender.send_some().await?;
        sender.rest(pause).await;
    }
    Ok(())
}
