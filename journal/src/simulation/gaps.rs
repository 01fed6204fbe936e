//! What befalls the log of a world so that it does not go on any more where the journal ends: it loses its head, is cut
//! off, or is made again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tributary_eventlog::{EventLog, Record};
use tributary_schemas::ids::Partition;

use super::event;
use super::ledger::Ledger;
use super::operator::Operator;
use super::process::Ground;
use crate::header::Header;

/// The most that befalls the log of one world.
const STRIKES_MAX: u32 = 3;
/// Something befalls it once in so many moments.
const STRIKE_ONE_IN: u32 = 8;
/// Time takes records away once in so many moments.
const EXPIRY_ONE_IN: u32 = 6;
/// Keys among which the events of one partition are made up.
const KEYS: usize = 3;
/// How far a log that was made again may reach beyond the one before.
const BEYOND_MAX: u64 = 8;

/// How log and journal come not to fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Records were lost before they were sealed.
    HeadLost,
    /// Records were lost that had been sealed, and all behind them.
    CutOff,
    /// The log was made again, and is empty,
    MadeAgainEmpty,
    /// or ends before the journal does,
    MadeAgainShorter,
    /// or beyond that.
    MadeAgainLonger,
}

impl Gap {
    pub(crate) const ALL: [Self; 5] =
        [Self::HeadLost, Self::CutOff, Self::MadeAgainEmpty, Self::MadeAgainShorter, Self::MadeAgainLonger];
}

/// What the log of a world has to expect.
pub(super) struct Fate {
    ground: Arc<Ground>,
    ledger: Arc<Mutex<Ledger>>,
    /// Whether anything befalls it at all.
    is_cruel: bool,
    strikes_left: u32,
    made_up: u32,
}

impl Fate {
    pub(super) fn new(ground: Arc<Ground>, ledger: Arc<Mutex<Ledger>>, is_cruel: bool) -> Self {
        let strikes_left = if is_cruel { ground.script.draw(1..=STRIKES_MAX) } else { 0 };
        Self { ground, ledger, is_cruel, strikes_left, made_up: 0 }
    }

    /// A moment passes. What the operator looks at right now is left alone.
    pub(super) async fn pass(&mut self, operator: &Operator) {
        if !self.is_cruel {
            return;
        }
        let script = self.ground.script.clone();
        let partition = Partition::new(script.draw(0..self.ground.genesis.partitions.get())).unwrap();
        if operator.is_deciding(partition) {
            return;
        }
        if script.one_in(EXPIRY_ONE_IN) {
            self.expire(partition);
        }
        if self.strikes_left > 0 && script.one_in(STRIKE_ONE_IN) {
            self.strikes_left -= 1;
            self.strike(partition, script.draw(0..Gap::ALL.len())).await;
        }
    }

    /// Time takes away what is sealed, but for the last record of it.
    fn expire(&self, partition: Partition) {
        let Ground { log, script, .. } = &*self.ground;
        let Some(head) = self.ground.head(partition) else { return };
        let (first, sealed) = (log.extent(partition).0, head.next_offset.get());
        let last = sealed.checked_sub(1).and_then(|last| log.record_at(partition, last));
        if last.is_some_and(|last| last.hash() == head.last_record_hash) {
            let before = script.draw(first..sealed);
            script.note("world", format_args!("the log of partition {partition} is held from {before} on"));
            log.expire(partition, before);
        }
    }

    /// One of [`Gap::ALL`], which makes a gap if log and journal fitted together and do no more.
    async fn strike(&mut self, partition: Partition, which: usize) {
        let (ground, gap) = (self.ground.clone(), Gap::ALL[which]);
        let fitted = ground.fits(partition);
        self.damage(partition, gap).await;
        let ((first, end), fits) = (ground.log.extent(partition), ground.fits(partition));
        let now = format!("it holds {first} up to {end} and {}", if fits { "fits" } else { "does not fit" });
        ground.script.note("world", format_args!("{gap:?}: the log of partition {partition}: {now}"));
        if fitted && !fits {
            ground.tally.lock().gaps[which] += 1;
        }
    }

    async fn damage(&mut self, partition: Partition, gap: Gap) {
        let ground = self.ground.clone();
        let (script, log) = (&ground.script, &ground.log);
        let (first, end) = log.extent(partition);
        let sealed = ground.head(partition).map_or(0, |head| head.next_offset.get());
        match gap {
            Gap::HeadLost => {
                if end <= sealed {
                    self.fill(partition, script.draw(1..=4)).await;
                }
                let (_, end) = log.extent(partition);
                let least = if sealed < end { first.max(sealed + 1) } else { first };
                log.lose_head(partition, script.draw(least..=end));
            }
            Gap::CutOff => {
                // Now and then less is lost: only what is not sealed yet.
                let most = if script.one_in(4) { end } else { sealed.clamp(first, end) };
                log.cut_off(partition, script.draw(first..=most));
            }
            Gap::MadeAgainEmpty => log.replace(partition),
            Gap::MadeAgainShorter => {
                log.replace(partition);
                self.fill(partition, script.draw(0..sealed.max(1))).await;
            }
            Gap::MadeAgainLonger => {
                log.replace(partition);
                self.fill(partition, script.draw(sealed + 1..=sealed.max(end) + BEYOND_MAX)).await;
            }
        }
    }

    /// Before anybody looks, producers append this many events: new ones, and some that were sent before.
    async fn fill(&mut self, partition: Partition, count: u64) {
        let (ground, partitions) = (self.ground.clone(), self.ground.genesis.partitions);
        let is_here = |key: &[u8]| partitions.partition_of(key) == partition;
        let keys: Vec<String> = (0..).map(|n| format!("k{n}")).filter(|key| is_here(key.as_bytes())).take(KEYS).collect();
        let sent = self.ledger.lock().offered.clone();
        let sent: Vec<Record> = sent.into_iter().map(|(_, record)| record).filter(|record| is_here(&record.key)).collect();
        let mut records = Vec::new();
        for _ in 0..count {
            if !sent.is_empty() && ground.script.one_in(2) {
                records.push(sent[ground.script.draw(0..sent.len())].clone());
            } else {
                self.made_up += 1;
                let key = &keys[ground.script.draw(0..keys.len())];
                records.push(event(key, &format!("made-up-{}", self.made_up), 0));
            }
        }
        let offered = self.ledger.lock().offer(&records);
        ground.log.append(offered.clone()).await.unwrap();
        self.ledger.lock().acknowledge(&offered);
    }
}

impl Ground {
    /// The last batch of the partition.
    pub(super) fn head(&self, partition: Partition) -> Option<Header> {
        let last = self.store.last_under(&format!("journal/p-{:05}/", partition.get()))?;
        Header::decode(&last).ok()
    }

    /// Whether the log goes on where the journal ends, as far as can be seen.
    pub(super) fn fits(&self, partition: Partition) -> bool {
        let (head, (first, end)) = (self.head(partition), self.log.extent(partition));
        let next = head.as_ref().map_or(0, |head| head.next_offset.get());
        let last = next.checked_sub(1).and_then(|last| self.log.record_at(partition, last));
        let is_same = head.zip(last).is_none_or(|(head, last)| {
            let nobody_read_it = head.gap && head.last_record_hash.is_zero();
            nobody_read_it || last.hash() == head.last_record_hash
        });
        is_same && (first..=end).contains(&next)
    }

    /// Whether everything in the log is sealed.
    pub(super) fn is_sealed(&self, partition: Partition) -> bool {
        let next = self.head(partition).map_or(0, |head| head.next_offset.get());
        next == self.log.extent(partition).1 && self.fits(partition)
    }

    /// Whether any partition may have lost a record.
    pub(super) fn is_damaged(&self) -> bool {
        self.genesis.partitions.partitions().any(|partition| self.log.is_damaged(partition))
    }
}

/// How many gaps were accepted in these chains, and behind how many of them events were sealed.
pub(super) fn count_accepted(objects: &BTreeMap<String, Bytes>) -> (u64, u64) {
    let batches = objects.iter().filter(|(name, _)| name.ends_with(".batch"));
    let (mut accepted, mut passed, mut open) = (0, 0, BTreeMap::<Partition, u64>::new());
    for header in batches.filter_map(|(_, bytes)| Header::decode(bytes).ok()) {
        if header.gap {
            accepted += 1;
            *open.entry(header.partition).or_default() += 1;
        } else if header.events > 0 {
            passed += open.remove(&header.partition).unwrap_or(0);
        }
    }
    (accepted, passed)
}
