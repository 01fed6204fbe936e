//! A process of a world: it starts, is held, dies, and starts again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tributary_eventlog::Share;
use tributary_schemas::ids::Partition;

use super::clock::SkewedClock;
use super::indexes;
use super::line::Line;
use super::log::MemoryLog;
use super::log_line::LogLine;
use super::script::Script;
use super::share::DealtShare;
use super::store::FaultyStore;
use super::store_line::StoreLine;
use super::tally::Tally;
use crate::genesis::Genesis;
use crate::metrics::PartitionLabel;
use crate::sealer::Sealer;
use crate::seen::SeenIndex;
use crate::settings::Settings;
use crate::store::Journal;

/// How long the end of a process may take that was asked to end.
const ENDING_MAX: Duration = Duration::from_secs(10);
/// How wrong the clock of a process may be from its start, in microseconds.
pub(super) const CLOCK_ERROR_MAX: i64 = 3_600_000_000;
/// How far a clock may jump ahead, in microseconds.
const JUMP_AHEAD_MAX: i64 = 600_000_000;
/// How far a clock may jump back, in microseconds.
const JUMP_BACK_MAX: i64 = 200_000;

/// What all processes of a world share.
pub(super) struct Ground {
    pub(super) script: Arc<Script>,
    pub(super) store: Arc<FaultyStore>,
    pub(super) log: Arc<MemoryLog>,
    pub(super) genesis: Genesis,
    pub(super) settings: Settings,
    pub(super) tally: Mutex<Tally>,
}

/// One process, with a seen-index that outlives its deaths.
pub(super) struct Process {
    ground: Arc<Ground>,
    number: usize,
    seen: SeenIndex,
    starts: u32,
    life: Option<Life>,
}

/// From a start to an end.
struct Life {
    line: Arc<Line>,
    clock: Arc<SkewedClock>,
    shares: Vec<Arc<DealtShare>>,
    /// None before the journal is open.
    sealers: Arc<Mutex<Vec<Sealer>>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Process {
    pub(super) fn new(ground: Arc<Ground>, number: usize, seen: SeenIndex) -> Self {
        Self { ground, number, seen, starts: 0, life: None }
    }

    /// Starts with the index that it left, or with none; with one sealer of all partitions, or with two. Time must have passed
    /// since the life before: what that had computed by then is done, and nothing follows.
    pub(super) fn start(&mut self) {
        let script = &self.ground.script;
        if script.one_in(3) {
            indexes::clear(&self.seen);
        }
        self.starts += 1;
        let line = Line::new(format!("p{}.{}", self.number, self.starts), script.clone());
        let clock = SkewedClock::new(script.born(), script.draw(-CLOCK_ERROR_MAX..=CLOCK_ERROR_MAX));
        let count = if script.one_in(4) { 2 } else { 1 };
        let shares: Vec<_> = (0..count).map(|_| DealtShare::new()).collect();
        let (sealers, shutdown) = (Arc::default(), CancellationToken::new());
        let birth = Birth {
            ground: self.ground.clone(),
            line: line.clone(),
            clock: clock.clone(),
            seen: self.seen.reopened(),
            shares: shares.clone(),
            sealers: Arc::clone(&sealers),
            shutdown: shutdown.clone(),
        };
        line.note(format_args!("starts"));
        let task = tokio::spawn(birth.live());
        self.life = Some(Life { line, clock, shares, sealers, shutdown, task });
        self.deal_all();
    }

    /// Whether it runs, and was not asked to end.
    pub(super) fn is_working(&self) -> bool {
        self.life.as_ref().is_some_and(|life| !life.shutdown.is_cancelled())
    }

    /// The partitions on which it stands still, unless it was asked to end.
    pub(super) fn stopped(&self) -> BTreeSet<Partition> {
        let Some(life) = self.life.as_ref().filter(|life| !life.shutdown.is_cancelled()) else { return BTreeSet::new() };
        let sealers = life.sealers.lock().clone();
        sealers.iter().flat_map(Sealer::stopped).map(|(partition, _)| partition).collect()
    }

    /// Whether nothing is left of the life before. It may start again at the next moment.
    pub(super) fn is_buried(&self) -> bool {
        self.life.is_none()
    }

    /// Whether it has come to its end, and [`Self::end`] is due.
    pub(super) fn has_ended(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.task.is_finished())
    }

    /// Stops it right where it is.
    pub(super) fn die(&mut self) {
        let Some(life) = self.life.take() else { return };
        self.look_back(&life);
        life.line.note(format_args!("dies"));
        life.line.cut();
        life.task.abort();
        self.ground.tally.lock().deaths += 1;
    }

    /// Asks it to end in good order.
    pub(super) fn ask_to_end(&self) {
        let Some(life) = &self.life else { return };
        life.line.note(format_args!("is asked to end"));
        life.shutdown.cancel();
    }

    /// Asks it to end, and waits until it has, which it must before long.
    pub(super) async fn end(&mut self) {
        let Some(mut life) = self.life.take() else { return };
        if life.task.is_finished() && !life.shutdown.is_cancelled() {
            self.ground.script.object(format!("{} ended by itself", life.line.name()));
        }
        life.shutdown.cancel();
        match tokio::time::timeout(ENDING_MAX, &mut life.task).await {
            Ok(ended) => self.bury(&life, ended),
            Err(_) => self.ground.script.object(format!("{} does not end when it is asked to", life.line.name())),
        }
    }

    fn bury(&self, life: &Life, ended: Result<(), JoinError>) {
        self.look_back(life);
        // Tasks that it left behind end with it.
        life.line.cut();
        if let Err(error) = ended {
            self.ground.script.object(format!("{} broke: {error}", life.line.name()));
        }
        self.ground.tally.lock().ends += 1;
    }

    /// Lets none of its calls through for a while, then all.
    pub(super) fn hold(&self) {
        let (Some(life), script) = (&self.life, &self.ground.script) else { return };
        let length = script.millis(50..=2000);
        life.line.note(format_args!("is held for {} ms", length.as_millis()));
        life.line.hold(length);
        self.ground.tally.lock().holds += 1;
    }

    /// When it was, or will be, let go.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.life.as_ref().map(|life| life.line.held_until())
    }

    /// Its clock jumps, mostly ahead.
    pub(super) fn jump(&self) {
        let Some(life) = &self.life else { return };
        let script = &self.ground.script;
        let micros = if script.one_in(3) { script.draw(-JUMP_BACK_MAX..0) } else { script.draw(0..=JUMP_AHEAD_MAX) };
        life.line.note(format_args!("its clock jumps by {micros} µs"));
        life.clock.jump(micros);
    }

    /// Somebody asks one of its sealers to seal what there is, and may not wait for the end. Where a log was damaged, the
    /// answer may be that.
    pub(super) fn ask_to_seal(&self) {
        let (Some(life), ground) = (&self.life, self.ground.clone()) else { return };
        let sealers = life.sealers.lock().clone();
        if sealers.is_empty() {
            return;
        }
        let script = &ground.script;
        let (sealer, patience) = (sealers[script.draw(0..sealers.len())].clone(), script.millis(1..=200));
        let name = life.line.name().to_owned();
        tokio::spawn(async move {
            let asked = tokio::time::timeout(patience, sealer.seal_available()).await;
            if let Ok(Err(error)) = asked
                && !error.is_retry()
                && !(error.is_corrupt() && ground.is_damaged())
            {
                ground.script.object(format!("{name}, asked to seal: {error}"));
            }
        });
    }

    /// Gives its sealers other shares.
    pub(super) fn deal(&self) {
        let Some(life) = &self.life else { return };
        for share in &life.shares {
            share.deal(self.partitions().filter(|_| !self.ground.script.one_in(3)).collect());
        }
    }

    /// Gives all partitions to its sealers.
    pub(super) fn deal_all(&self) {
        let Some(life) = &self.life else { return };
        for share in &life.shares {
            share.deal(self.partitions().collect::<BTreeSet<_>>());
        }
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.ground.genesis.partitions.partitions()
    }

    /// Looks whether all is well with it.
    pub(super) fn look(&self) {
        if let Some(life) = &self.life {
            self.object_to_standstill(life);
        }
    }

    /// At the end, when every gap was decided on, nothing may stand still any more.
    pub(super) fn look_at_the_end(&self) {
        let Some(life) = &self.life else { return };
        for partition in self.stopped() {
            self.ground.script.object(format!("{} stands still on partition {partition} to the end", life.line.name()));
        }
    }

    /// Where only answers fail, nothing may stand still: no partition whose log was never damaged, and for no other reason than
    /// damage.
    fn object_to_standstill(&self, life: &Life) {
        for (partition, reason) in life.sealers.lock().iter().flat_map(Sealer::stopped) {
            if self.ground.log.is_damaged(partition) && reason.starts_with("corrupt: ") {
                continue;
            }
            let name = life.line.name();
            self.ground.script.object(format!("{name} stands still on partition {partition}: {reason}"));
        }
    }

    /// The last look at a life: what went wrong, and what it counted.
    fn look_back(&self, life: &Life) {
        self.object_to_standstill(life);
        let Some(journal) = life.sealers.lock().first().map(|sealer| sealer.journal().clone()) else { return };
        let (metrics, mut tally) = (journal.metrics(), self.ground.tally.lock());
        for partition in self.partitions() {
            let label = PartitionLabel(partition);
            tally.fenced += metrics.fenced.get_or_create(&label).get();
            tally.retries += metrics.retries.get_or_create(&label).get();
            tally.duplicates += metrics.duplicates.get_or_create(&label).get();
            tally.conflicts += metrics.conflicts.get_or_create(&label).get();
        }
    }
}

/// What a life begins with.
struct Birth {
    ground: Arc<Ground>,
    line: Arc<Line>,
    clock: Arc<SkewedClock>,
    seen: SeenIndex,
    shares: Vec<Arc<DealtShare>>,
    sealers: Arc<Mutex<Vec<Sealer>>>,
    shutdown: CancellationToken,
}

impl Birth {
    /// Opens the journal and seals until it is asked to end.
    async fn live(self) {
        let Some(journal) = open_journal(&self.ground, &self.line).await else { return };
        let sealer = |_: &Arc<DealtShare>| {
            // Each reads the log by a client of its own.
            let log = LogLine::new(self.line.clone(), self.ground.log.clone());
            let settings = self.ground.settings.clone();
            Sealer::new(journal.clone(), log, self.seen.clone(), self.clock.clone(), settings)
        };
        let sealers: Vec<Sealer> = self.shares.iter().map(sealer).collect();
        *self.sealers.lock() = sealers.clone();
        let run = |(sealer, share): (Sealer, Arc<DealtShare>)| {
            let shutdown = self.shutdown.clone();
            async move { sealer.run(share as Arc<dyn Share>, shutdown).await }
        };
        futures::future::join_all(sealers.into_iter().zip(self.shares).map(run)).await;
    }
}

/// Opens the journal over this line. `None` if that fails for good, which is objected to.
pub(super) async fn open_journal(ground: &Ground, line: &Arc<Line>) -> Option<Arc<Journal>> {
    let store = StoreLine::new(line.clone(), ground.store.clone());
    // Ends once the store answers, or with the world.
    loop {
        match Journal::adopt(store.clone(), ground.genesis.clone(), ground.settings.clone()).await {
            Ok(journal) => return Some(journal),
            Err(error) if error.is_retry() => tokio::time::sleep(ground.settings.retry_pause).await,
            Err(error) => {
                ground.script.object(format!("{} cannot open the journal: {error}", line.name()));
                return None;
            }
        }
    }
}
