//! The operator of a world: called for partitions that stand still, it looks after a while, and decides that sealing goes on.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use tributary_schemas::ids::Partition;

use super::clock::SkewedClock;
use super::ledger::{Ledger, Look};
use super::line::Line;
use super::log_line::LogLine;
use super::process::{CLOCK_ERROR_MAX, Ground, open_journal};
use crate::error::JournalError;
use crate::gap::{self, Accepted};
use crate::store::Journal;

/// How long it takes to come, in milliseconds.
const PATIENCE: RangeInclusive<u64> = 5..=800;
/// How often it tries before it goes; it is called again then.
const ATTEMPTS_MAX: u32 = 30;

/// Somebody with a command line of its own.
pub(super) struct Operator {
    ground: Arc<Ground>,
    ledger: Arc<Mutex<Ledger>>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    looks: u32,
    /// Partitions that it was called for.
    called: BTreeSet<Partition>,
    /// Partitions that it looks at right now, to decide.
    deciding: BTreeSet<Partition>,
    /// Partitions in which it found no gap.
    sound: BTreeSet<Partition>,
}

impl Operator {
    pub(super) fn new(ground: Arc<Ground>, ledger: Arc<Mutex<Ledger>>) -> Arc<Self> {
        Arc::new(Self { ground, ledger, desk: Mutex::default() })
    }

    /// Is told that somebody stands still on the partition.
    pub(super) fn call(self: &Arc<Self>, partition: Partition) {
        if !self.desk.lock().called.insert(partition) {
            return;
        }
        let (operator, under_way) = (self.clone(), self.ground.script.begin());
        tokio::spawn(async move {
            operator.look_after(partition).await;
            operator.desk.lock().called.remove(&partition);
            drop(under_way);
        });
    }

    /// Whether it looks at the partition right now. What it decides is about the log that it looks at: that one must lie
    /// there until the decision is offered.
    pub(super) fn is_deciding(&self, partition: Partition) -> bool {
        self.desk.lock().deciding.contains(&partition)
    }

    /// The partitions in which it found no gap since it was asked last. Whoever stands still on one is to be started again.
    pub(super) fn found_sound(&self) -> BTreeSet<Partition> {
        std::mem::take(&mut self.desk.lock().sound)
    }

    async fn look_after(&self, partition: Partition) {
        let script = &self.ground.script;
        tokio::time::sleep(script.millis(PATIENCE)).await;
        let line = Line::new("operator".to_owned(), script.clone());
        let clock = SkewedClock::new(script.born(), script.draw(-CLOCK_ERROR_MAX..=CLOCK_ERROR_MAX));
        let log = LogLine::new(line.clone(), self.ground.log.clone());
        let Some(journal) = open_journal(&self.ground, &line).await else { return };
        for _ in 0..ATTEMPTS_MAX {
            match self.decide(&journal, &log, &clock, partition).await {
                Ok(Accepted { seq, next_offset, .. }) => {
                    line.note(format_args!("goes on at {next_offset} in partition {partition}: batch {seq}"));
                    return;
                }
                Err(JournalError::Refused(reason)) if reason.contains("no gap") => {
                    line.note(format_args!("finds no gap in partition {partition}"));
                    self.desk.lock().sound.insert(partition);
                    return;
                }
                Err(error @ (JournalError::Retry { .. } | JournalError::Fenced { .. })) => {
                    line.note(format_args!("has not decided on partition {partition}: {error}"));
                    tokio::time::sleep(script.millis(1..=40)).await;
                }
                Err(error) => {
                    script.object(format!("the operator cannot decide on partition {partition}: {error}"));
                    return;
                }
            }
        }
    }

    async fn decide(
        &self,
        journal: &Journal,
        log: &LogLine,
        clock: &SkewedClock,
        partition: Partition,
    ) -> Result<Accepted, JournalError> {
        let reason = {
            let mut desk = self.desk.lock();
            desk.looks += 1;
            desk.deciding.insert(partition);
            format!("look {}", desk.looks)
        };
        let look = Look { partition, log: self.ground.log.number(partition) };
        self.ledger.lock().looks.insert(reason.clone(), look);
        let decided = gap::accept(journal, log, clock, (partition, None), &reason).await;
        self.desk.lock().deciding.remove(&partition);
        decided
    }
}
