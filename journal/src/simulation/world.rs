//! A world: processes that seal, producers that append, and what befalls them. One seed makes one world.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tributary_eventlog::EventLog;
use tributary_schemas::ids::{Partition, PartitionCount, Timestamp};

use super::auditor::{Evidence, audit};
use super::clock::BEGINNING;
use super::gaps::{Fate, count_accepted};
use super::ledger::Ledger;
use super::line::Line;
use super::log::MemoryLog;
use super::log_line::LogLine;
use super::operator::Operator;
use super::process::{Ground, Process};
use super::producer::Producer;
use super::script::Script;
use super::store::FaultyStore;
use crate::background::in_order::InOrder;
use crate::genesis::{DeploymentId, Genesis};
use crate::seen::SeenIndex;
use crate::settings::{Jitter, Settings};

pub(crate) use super::tally::Tally;

/// The most partitions of a world.
pub(super) const PARTITIONS_MAX: u32 = 3;
/// The most processes of a world.
pub(super) const PROCESSES_MAX: usize = 4;
/// How long sealing what is left may take once nothing fails any more.
const SETTLING_MAX: Duration = Duration::from_secs(20);
/// Faults per thousand writes that a world may have.
const FAULTS: [u32; 4] = [0, 30, 100, 250];
/// In one of so many worlds the log is damaged.
const DAMAGED_ONE_IN: u64 = 4;

/// A world that has come to its end.
pub(crate) struct Outcome {
    /// Every call and every event, in order.
    pub(crate) trace: Vec<String>,
    /// What must not have happened.
    pub(crate) objections: Vec<String>,
    pub(crate) evidence: Evidence,
    pub(crate) tally: Tally,
}

/// Runs the world of a seed, with these indexes, which must be empty.
pub(crate) fn run(seed: u64, indexes: &[SeenIndex]) -> Outcome {
    let _in_order = InOrder::begin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { World::new(seed, indexes).run().await })
}

struct World {
    ground: Arc<Ground>,
    processes: Vec<Process>,
    ledger: Arc<Mutex<Ledger>>,
    producing: Vec<JoinHandle<()>>,
    operator: Arc<Operator>,
    fate: Fate,
}

impl World {
    fn new(seed: u64, indexes: &[SeenIndex]) -> Self {
        let (script, is_damaged) = (Script::timed(seed), seed.is_multiple_of(DAMAGED_ONE_IN));
        script.set_faults(FAULTS[script.draw(0..FAULTS.len())]);
        let partitions = script.draw(1..=PARTITIONS_MAX);
        let genesis = Genesis {
            deployment: DeploymentId([7; 16]),
            format: Genesis::FORMAT,
            partitions: PartitionCount::new(partitions).unwrap(),
            created_at: Timestamp::from_micros(BEGINNING).unwrap(),
        };
        let ground = Arc::new(Ground {
            store: FaultyStore::of(script.clone()),
            log: if is_damaged { MemoryLog::keeping(partitions) } else { MemoryLog::new(partitions) },
            genesis,
            settings: settings(&script),
            tally: Mutex::default(),
            script,
        });
        let count = ground.script.draw(2..=PROCESSES_MAX);
        let process = |(number, index): (usize, &SeenIndex)| Process::new(ground.clone(), number, index.clone());
        let processes = indexes.iter().take(count).enumerate().map(process).collect();
        let ledger: Arc<Mutex<Ledger>> = Arc::default();
        let operator = Operator::new(ground.clone(), ledger.clone());
        let fate = Fate::new(ground.clone(), ledger.clone(), is_damaged);
        Self { ground, processes, ledger, producing: Vec::new(), operator, fate }
    }

    async fn run(mut self) -> Outcome {
        self.processes.iter_mut().for_each(Process::start);
        self.begin_to_produce();
        while !self.producing.iter().all(JoinHandle::is_finished) {
            self.something_happens().await;
            self.fate.pass(&self.operator).await;
            self.call_the_operator();
        }
        self.settle().await;
        for process in &mut self.processes {
            process.end().await;
        }
        self.outcome().await
    }

    fn begin_to_produce(&mut self) {
        let script = &self.ground.script;
        let (count, keys) = (script.draw(1..=2_u32), script.draw(1..=5));
        for number in 0..count {
            let name = format!("c{number}");
            let line = Line::new(name.clone(), script.clone());
            let log = LogLine::new(line, self.ground.log.clone());
            let producer = Producer { name, log, script: script.clone(), ledger: self.ledger.clone(), keys };
            self.producing.push(tokio::spawn(producer.run(script.draw(6..=16))));
        }
    }

    /// Waits a little; then one process, or all of them, meets something.
    async fn something_happens(&mut self) {
        let script = self.ground.script.clone();
        tokio::time::sleep(script.millis(5..=80)).await;
        self.processes.iter().for_each(Process::look);
        let which = script.draw(0..self.processes.len());
        let process = &mut self.processes[which];
        if process.is_buried() {
            process.start();
            return;
        }
        if process.has_ended() {
            process.end().await;
            return;
        }
        let what: u32 = script.draw(0..16);
        match what {
            0 | 1 => process.die(),
            2 => process.ask_to_end(),
            3 => process.hold(),
            4 => process.jump(),
            5 | 6 => process.ask_to_seal(),
            7 | 8 => process.deal(),
            9 => process.deal_all(),
            10 | 11 => script.set_faults(FAULTS[script.draw(0..FAULTS.len())]),
            12 => self.show_again(),
            _ => {}
        }
    }

    /// The log is opened again, and shows records that it had forgotten.
    fn show_again(&self) {
        let (log, script) = (&self.ground.log, &self.ground.script);
        let partition = Partition::new(script.draw(0..log.partition_count().get())).unwrap();
        let from = script.draw(0..=log.extent(partition).0);
        script.note("world", format_args!("the log shows partition {partition} from {from} again"));
        log.show_again(partition, from);
    }

    /// Calls the operator for every partition on which somebody stands still. Where it found no gap, whoever stands still
    /// is stopped, to be started again at another moment: as the manual says of a log that was mended.
    fn call_the_operator(&mut self) {
        let sound = self.operator.found_sound();
        for process in &mut self.processes {
            let stopped = process.stopped();
            if stopped.is_disjoint(&sound) {
                stopped.into_iter().for_each(|partition| self.operator.call(partition));
            } else {
                process.die();
            }
        }
    }

    /// Nothing fails any more, and all that was held is let go: what the log holds must be sealed before long, once the
    /// operator has decided on every gap.
    async fn settle(&mut self) {
        let script = self.ground.script.clone();
        script.calm_down();
        script.note("world", format_args!("settles"));
        self.keep_one_working().await;
        self.processes.iter().for_each(Process::deal_all);
        // What a process does that wakes up late belongs to the world.
        if let Some(awake) = self.processes.iter().filter_map(Process::held_until).max() {
            tokio::time::sleep_until(awake).await;
        }
        let deadline = Instant::now() + SETTLING_MAX;
        while !(script.is_quiet() && self.is_at_rest()) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.call_the_operator();
            self.keep_one_working().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.processes.iter().for_each(Process::look);
        self.processes.iter().for_each(Process::look_at_the_end);
    }

    async fn keep_one_working(&mut self) {
        if !self.processes.iter().any(Process::is_working) {
            self.processes[0].end().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.processes[0].start();
        }
    }

    fn is_at_rest(&self) -> bool {
        let is_sealed = |partition| self.ground.is_sealed(partition);
        self.ground.genesis.partitions.partitions().all(is_sealed) && self.processes.iter().all(|one| one.stopped().is_empty())
    }

    async fn outcome(self) -> Outcome {
        let Self { ground, ledger, producing, .. } = self;
        let script = &ground.script;
        for producer in producing {
            if let Err(error) = producer.await {
                script.object(format!("a producer broke: {error}"));
            }
        }
        if script.is_over() {
            script.object("the processes turn in circles".to_owned());
        }
        let evidence = Evidence {
            genesis: ground.genesis.clone(),
            objects: ground.store.objects(),
            changes: ground.store.changes(),
            logs: ground.genesis.partitions.partitions().map(|partition| ground.log.logs(partition)).collect(),
            ledger: ledger.lock().clone(),
        };
        let mut objections = script.objections();
        objections.extend(audit(&evidence));
        let mut tally = *ground.tally.lock();
        tally.batches = evidence.objects.keys().filter(|name| name.ends_with(".batch")).count() as u64;
        tally.events = evidence.logs.iter().filter_map(|logs| logs.last()).map(|log| log.records.len() as u64).sum();
        (tally.accepted, tally.passed) = count_accepted(&evidence.objects);
        Outcome { trace: script.trace(), objections, evidence, tally }
    }
}

fn settings(script: &Arc<Script>) -> Settings {
    let chance = script.clone();
    Settings {
        batch_bytes_max: script.draw(60..2000),
        batch_age_max: script.millis(0..=60),
        batch_records_max: script.draw(1..=20),
        read_bytes_max: script.draw(1..1500),
        put_attempts_max: script.draw(1..=4),
        put_backoff: Duration::ZERO..=script.millis(0..=5),
        retry_pause: script.millis(2..=40),
        poll_interval: script.millis(10..=50),
        jitter: Jitter::new(move || chance.draw(0.0..=1.0)),
        ..Settings::default()
    }
}
