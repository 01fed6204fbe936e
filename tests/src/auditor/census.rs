//! Every event of the journal against every event that was sent.

use std::collections::{BTreeSet, HashMap};

use super::event::{Event, Identity};
use super::ledger::Ledger;
use super::murmur::partition_of;

/// What was found so far.
pub(super) struct Census<'a> {
    ledger: &'a Ledger,
    partitions: u32,
    /// Where each event lies.
    found: HashMap<Identity, (u32, u64)>,
    /// The last request of a sender of which a key has an event.
    turns: HashMap<(u32, String), u32>,
}

impl<'a> Census<'a> {
    pub fn new(ledger: &'a Ledger, partitions: u32) -> Self {
        Self { ledger, partitions, found: HashMap::new(), turns: HashMap::new() }
    }

    /// Takes the next event of a partition in. Gives what is wrong with it.
    pub fn take(&mut self, event: Event, (partition, seq): (u32, u64)) -> Vec<String> {
        let mut wrong = Vec::new();
        let Event { identity, content, .. } = event;
        let home = partition_of(identity.key().as_bytes(), self.partitions);
        if home != partition {
            wrong.push(format!("`{identity}` belongs to partition {home}"));
        }
        match self.ledger.get(&identity) {
            None => wrong.push(format!("`{identity}` was never sent")),
            Some(sent) => {
                if sent.content.is_some_and(|said| said != content) {
                    wrong.push(format!("`{identity}` says something else than what was sent"));
                }
                let last = self.turns.entry((sent.sender, identity.key().to_owned())).or_insert(sent.turn);
                if sent.turn < *last {
                    let (sender, turn) = (sent.sender, sent.turn);
                    wrong.push(format!("`{identity}` of request {turn} of sender {sender} comes after its request {last}"));
                }
                *last = sent.turn.max(*last);
            }
        }
        if let Some((partition, seq)) = self.found.get(&identity) {
            wrong.push(format!("`{identity}` is in batch {seq} of partition {partition} already"));
        } else {
            self.found.insert(identity, (partition, seq));
        }
        wrong
    }

    /// How many events there are that nobody was told to be durable.
    pub fn unacknowledged(&self) -> usize {
        let known = |identity: &Identity| self.ledger.get(identity).is_some_and(|sent| sent.is_acknowledged);
        self.found.keys().filter(|identity| !known(identity)).count()
    }

    /// The acknowledged events that are nowhere.
    pub fn missing(&self) -> BTreeSet<Identity> {
        self.ledger.acknowledged().filter(|identity| !self.found.contains_key(*identity)).cloned().collect()
    }

    /// The partition of an event.
    pub fn home(&self, identity: &Identity) -> u32 {
        partition_of(identity.key().as_bytes(), self.partitions)
    }
}
