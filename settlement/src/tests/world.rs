//! Input with its expected outcome: the recorded flywheel and the edge worlds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tributary_schemas::cloudevents;
use tributary_schemas::event::Event;
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::{Address, Name};

pub const EDGE_WORLDS: std::ops::RangeInclusive<u32> = 1..=10;

/// The treasury of all expected outcomes.
pub fn treasury() -> Address {
    Address::parse(crate::Settings::DEV_TREASURY).unwrap()
}

/// A clock that starts at a noon and ticks whenever somebody looks, so that no two jobs see the same instant.
#[derive(Clone, Copy)]
pub struct Ticking;

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        static TICKS: AtomicI64 = AtomicI64::new(0);
        let noon = Timestamp::parse_rfc3339("2026-10-05T12:00:00Z").unwrap();
        Timestamp::from_micros(noon.micros() + TICKS.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
}

pub fn noon() -> Ticking {
    Ticking
}

/// Some epochs of events, and what must come of them.
pub struct World {
    pub name: String,
    pub epochs: Vec<Vec<Event>>,
    folder: PathBuf,
}

/// What the expected files say of one epoch.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub inferences: u64,
    pub unattributed: u64,
    pub fees: String,
    pub accounts: u64,
    pub cumulative_total: String,
    pub root: String,
    /// (account, role) → amount
    pub rewards: BTreeMap<(String, String), String>,
    pub cumulative: BTreeMap<String, String>,
}

pub fn flywheel() -> World {
    load("flywheel".to_owned(), project().join("examples/flywheel"))
}

pub fn edge(number: u32) -> World {
    load(format!("edge {number:02}"), project().join(format!("tests/data/edge/{number:02}")))
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn load(name: String, folder: PathBuf) -> World {
    let epochs = (1..=3).map(|n| read_events(&folder.join(format!("epoch-{n}.ndjson.zst")))).collect();
    World { name, epochs, folder }
}

fn read_events(path: &PathBuf) -> Vec<Event> {
    let compressed = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let text = zstd::decode_all(&compressed[..]).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let event = |line: &[u8]| Event {
        draft: cloudevents::parse(line).unwrap(),
        producer: Name::parse("dev").unwrap(),
        accepted_at: noon().now(),
    };
    lines.map(event).collect()
}

impl World {
    /// What must come of epoch `number`, from 1.
    pub fn expected(&self, number: usize) -> Expected {
        let folder = self.folder.join("expected");
        let epochs = std::fs::read(folder.join("epochs.json")).unwrap();
        let epochs: Vec<serde_json::Value> = serde_json::from_slice(&epochs).unwrap();
        let epoch = &epochs[number - 1];
        let text = |field: &str| epoch[field].as_str().unwrap().to_owned();
        let rows = |kind: &str| {
            let text = std::fs::read_to_string(folder.join(format!("{kind}-{number}.csv"))).unwrap();
            let rows = text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
            rows.collect::<Vec<_>>()
        };
        Expected {
            inferences: epoch["inferences_settled"].as_u64().unwrap(),
            unattributed: epoch["unattributed"].as_u64().unwrap(),
            fees: text("fees"),
            accounts: epoch["accounts"].as_u64().unwrap(),
            cumulative_total: text("cumulative_total"),
            root: text("root"),
            rewards: rows("rewards").into_iter().map(|r| ((r[0].clone(), r[1].clone()), r[2].clone())).collect(),
            cumulative: rows("cumulative").into_iter().map(|r| (r[0].clone(), r[1].clone())).collect(),
        }
    }
}

/// The same events in another order, the order within a key kept, and then some of them again.
pub fn shuffled_and_repeated(events: &[Event], seed: u64) -> Vec<Event> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.shuffle(&mut chance);
    // Each key's events take the places that fell to the key, in their own order.
    let mut of_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, event) in events.iter().enumerate().rev() {
        of_key.entry(event.draft.key()).or_default().push(i);
    }
    let mut all: Vec<Event> =
        order.iter().map(|i| events[of_key.get_mut(events[*i].draft.key()).unwrap().pop().unwrap()].clone()).collect();
    let again: Vec<Event> = all.iter().filter(|_| chance.random_bool(0.5)).cloned().collect();
    all.extend(again);
    all
}
