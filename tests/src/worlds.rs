//! The recorded input and what an independent program computed from it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Outcome;
use crate::chance::Chance;

/// A recorded world: its epochs, in order.
pub struct World {
    /// Its name, for messages.
    pub name: String,
    /// The epochs, 1 first.
    pub epochs: Vec<EpochInput>,
}

/// One epoch of a world.
pub struct EpochInput {
    /// Its number, from 1.
    pub number: u64,
    /// The events as recorded, one CloudEvent in JSON per line, without line feeds.
    pub lines: Vec<String>,
    /// What settlement must give.
    pub expected: Expected,
}

/// The figures of an epoch by the oracle.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The Merkle root, 0x text.
    pub root: String,
    /// Settled inferences.
    pub inferences: u64,
    /// Those without a counting attribution.
    pub unattributed: u64,
    /// Fees in wei.
    pub fees: String,
    /// Accounts above 0.
    pub accounts: u64,
    /// Everything earned so far in wei.
    pub cumulative_total: String,
    /// (account, role, amount)
    pub rewards: BTreeSet<Vec<String>>,
    /// (account, cumulative)
    pub cumulative: BTreeSet<Vec<String>>,
}

/// How many edge worlds there are.
pub const EDGE_WORLDS: u64 = 10;

/// The flywheel: 55,730 events recorded from real runs.
pub fn flywheel() -> Outcome<World> {
    load("flywheel".to_owned(), &root().join("examples/flywheel"))
}

/// Edge world `number`, 1 to [`EDGE_WORLDS`].
pub fn edge(number: u64) -> Outcome<World> {
    load(format!("edge world {number:02}"), &root().join(format!("tests/data/edge/{number:02}")))
}

impl EpochInput {
    /// The lines in any order across keys, with the order within a key kept.
    pub fn reordered(&self, chance: &mut Chance) -> Outcome<Vec<String>> {
        let mut queues: HashMap<String, VecDeque<&String>> = HashMap::new();
        let mut turns = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            let key = key_of(line)?;
            queues.entry(key.clone()).or_default().push_back(line);
            turns.push(key);
        }
        chance.shuffle(&mut turns);
        let next = |key: String| queues.get_mut(&key).and_then(VecDeque::pop_front).cloned();
        Ok(turns.into_iter().filter_map(next).collect())
    }
}

/// The record key of an event: the field of `data` that is the key of its type.
pub fn key_of(line: &str) -> Outcome<String> {
    let event: Value = serde_json::from_str(line)?;
    let field = match event["type"].as_str().and_then(|t| t.strip_prefix("tributary.")).and_then(|t| t.strip_suffix(".v1")) {
        Some("datanet.registered") => "datanet_id",
        Some("contribution.submitted" | "contribution.reviewed") => "contribution_id",
        Some("model.registered" | "model.updated") => "model_id",
        Some("policy.set") => "scope",
        Some("inference.completed" | "attribution.traced" | "feedback.recorded") => "inference_id",
        Some("agent.acted") => "agent_id",
        _ => return Err(format!("an event of a type without a known key: {line:.300}").into()),
    };
    Ok(event["data"][field].as_str().ok_or_else(|| format!("an event without its key `{field}`: {line:.300}"))?.to_owned())
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn load(name: String, directory: &Path) -> Outcome<World> {
    let figures: Value = serde_json::from_slice(&read(&directory.join("expected/epochs.json"))?)?;
    let figures = figures.as_array().ok_or("epochs.json is not an array")?;
    let mut epochs = Vec::new();
    for (figure, number) in figures.iter().zip(1..) {
        let recorded = zstd::decode_all(read(&directory.join(format!("epoch-{number}.ndjson.zst")))?.as_slice())?;
        let lines = String::from_utf8(recorded)?.lines().map(str::to_owned).collect();
        let csv = |table: &str| csv_rows(&directory.join(format!("expected/{table}-{number}.csv")));
        let expected = Expected {
            root: text(figure, "root")?,
            inferences: count(figure, "inferences_settled")?,
            unattributed: count(figure, "unattributed")?,
            fees: text(figure, "fees")?,
            accounts: count(figure, "accounts")?,
            cumulative_total: text(figure, "cumulative_total")?,
            rewards: csv("rewards")?,
            cumulative: csv("cumulative")?,
        };
        epochs.push(EpochInput { number, lines, expected });
    }
    Ok(World { name, epochs })
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn text(figure: &Value, name: &str) -> Outcome<String> {
    Ok(figure[name].as_str().ok_or_else(|| format!("epochs.json has no text `{name}`"))?.to_owned())
}

fn count(figure: &Value, name: &str) -> Outcome<u64> {
    figure[name].as_u64().ok_or_else(|| format!("epochs.json has no number `{name}`").into())
}

/// The rows below the heading. No field of these files is quoted.
fn csv_rows(path: &Path) -> Outcome<BTreeSet<Vec<String>>> {
    let text = String::from_utf8(read(path)?)?;
    Ok(text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reordered_epoch_has_the_same_lines_and_keeps_the_order_within_each_key() {
        let world = edge(1).unwrap();
        let epoch = &world.epochs[0];
        let reordered = epoch.reordered(&mut Chance::of(7)).unwrap();
        assert_ne!(reordered, epoch.lines);
        let by_key = |lines: &[String]| {
            let mut keys: HashMap<String, Vec<String>> = HashMap::new();
            lines.iter().for_each(|line| keys.entry(key_of(line).unwrap()).or_default().push(line.clone()));
            keys
        };
        assert_eq!(by_key(&reordered), by_key(&epoch.lines));
        assert_eq!(reordered, epoch.reordered(&mut Chance::of(7)).unwrap());
    }
}
