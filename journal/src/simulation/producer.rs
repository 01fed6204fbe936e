//! A producer: it appends events as the doors do, again after an error, and repeats itself.

use std::sync::Arc;

use parking_lot::Mutex;
use tributary_eventlog::{EventLog, Record};

use super::event;
use super::ledger::Ledger;
use super::log_line::LogLine;
use super::script::Script;

/// How often an append is tried.
const ATTEMPTS_MAX: u32 = 6;
/// Events that several producers may send.
const COMMON_EVENTS: u32 = 8;
/// Contents that one event may come with.
const CONTENTS: i32 = 3;

/// One producer.
pub(super) struct Producer {
    /// Its part in the ids of events that only it sends.
    pub(super) name: String,
    pub(super) log: Arc<LogLine>,
    pub(super) script: Arc<Script>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// How many keys there are.
    pub(super) keys: u32,
}

/// An event as a producer remembers it.
#[derive(Clone)]
struct Said {
    key: String,
    id: String,
    content: i32,
}

impl Producer {
    /// Sends this many requests.
    pub(super) async fn run(self, requests: u32) {
        let mut said: Vec<Said> = Vec::new();
        for _ in 0..requests {
            tokio::time::sleep(self.script.millis(0..=60)).await;
            let events: Vec<Said> = (0..self.script.draw(1..=6_u32)).map(|_| self.choose(&mut said)).collect();
            self.send(events.iter().map(|said| event(&said.key, &said.id, said.content)).collect()).await;
        }
    }

    /// Most events are new; some were said before, with the same content or another, by itself or by others.
    fn choose(&self, said: &mut Vec<Said>) -> Said {
        let kind: u32 = self.script.draw(0..10);
        let chosen = match kind {
            0..3 if !said.is_empty() => {
                let mut again = said[self.script.draw(0..said.len())].clone();
                if kind == 0 {
                    again.content = self.script.draw(0..CONTENTS);
                }
                again
            }
            3 => Said { id: format!("common-{}", self.script.draw(0..COMMON_EVENTS)), ..self.new_event(said.len()) },
            _ => self.new_event(said.len()),
        };
        said.push(chosen.clone());
        chosen
    }

    fn new_event(&self, number: usize) -> Said {
        let key = format!("k{}", self.script.draw(0..self.keys));
        Said { key, id: format!("{}-{number}", self.name), content: self.script.draw(0..CONTENTS) }
    }

    /// Appends until it is acknowledged, or the producer has had enough.
    async fn send(&self, records: Vec<Record>) {
        for _ in 0..ATTEMPTS_MAX {
            let offered = self.ledger.lock().offer(&records);
            if self.log.append(offered.clone()).await.is_ok() {
                self.ledger.lock().acknowledge(&offered);
                return;
            }
            if self.script.one_in(8) {
                return;
            }
            tokio::time::sleep(self.script.millis(1..=30)).await;
        }
    }
}
