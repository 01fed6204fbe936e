//! What was sent, and what of it was acknowledged: written down by the senders, for the auditor.

use std::collections::HashMap;

use super::event::{Content, Identity};

/// What is known of an event that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What it says; `None` if only its being there is checked.
    pub content: Option<Content>,
    /// Who sent it.
    pub sender: u32,
    /// In which of its sender's requests. A sender begins a request after the one before was acknowledged.
    pub turn: u32,
    /// Whether an answer said that it is durable.
    pub is_acknowledged: bool,
}

/// Everything that was sent.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<Identity, Sent>);

impl Ledger {
    /// Notes an event before it is sent. What was noted first stays.
    pub fn sends(&mut self, identity: Identity, sent: Sent) {
        self.0.entry(identity).or_insert(sent);
    }

    /// Notes that an event is durable.
    pub fn acknowledge(&mut self, identity: &Identity) {
        if let Some(sent) = self.0.get_mut(identity) {
            sent.is_acknowledged = true;
        }
    }

    /// What is known of an event.
    pub fn get(&self, identity: &Identity) -> Option<&Sent> {
        self.0.get(identity)
    }

    /// How many events were sent.
    pub fn sent(&self) -> usize {
        self.0.len()
    }

    /// The events that were acknowledged, in no order.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter().filter(|(_, sent)| sent.is_acknowledged).map(|(identity, _)| identity)
    }
}
