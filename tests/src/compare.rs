//! What the tables hold against what must be in them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::server::Server;
use crate::sql::{Row, number, text};
use crate::worlds::{EpochInput, World};
use crate::{Outcome, ensure};

/// Every table and view with what a rebuild may change in it.
pub const TABLES: &[(&str, &[&str])] = &[
    ("events", &[]),
    ("datanets", &[]),
    ("contributions", &[]),
    ("reviews", &[]),
    ("models", &[]),
    ("model_updates", &[]),
    ("policies", &[]),
    ("inferences", &[]),
    ("attributions", &[]),
    ("feedback", &[]),
    ("agent_actions", &[]),
    ("grants", &[]),
    ("reward_lines", &[]),
    ("rewards", &[]),
    ("cumulative", &[]),
    ("settled", &[]),
    ("batches", &["blob_id"]),
    ("epochs", &["status", "transaction"]),
    ("current_models", &[]),
    ("current_contributions", &[]),
    ("current_reviews", &[]),
    ("current_policies", &[]),
    ("effective_inferences", &[]),
    ("effective_attributions", &[]),
];

/// How many differing rows an error shows.
const SHOWN_MAX: usize = 5;

/// The figures of an epoch, as `settle --json` or the table `epochs` gives them, against the oracle's.
pub fn figures(world: &World, epoch: &EpochInput, found: &Value) -> Outcome {
    let expected = &epoch.expected;
    let counts = [
        ("epoch", epoch.number),
        ("inferences", expected.inferences),
        ("unattributed", expected.unattributed),
        ("accounts", expected.accounts),
    ];
    for (name, wanted) in counts {
        ensure(number(&found[name]) == Some(wanted), || differs(world, epoch, name, &wanted.to_string(), found))?;
    }
    let texts = [("fees", &expected.fees), ("cumulative_total", &expected.cumulative_total), ("root", &expected.root)];
    for (name, wanted) in texts {
        ensure(text(&found[name]) == **wanted, || differs(world, epoch, name, wanted, found))?;
    }
    Ok(())
}

fn differs(world: &World, epoch: &EpochInput, name: &str, wanted: &str, found: &Value) -> String {
    format!("{} epoch {}: `{name}` must be {wanted}, found {found}", world.name, epoch.number)
}

/// The tables `epochs`, `rewards` and `cumulative` against the oracle's files, row by row.
pub async fn tables(server: &Server, world: &World) -> Outcome {
    let epochs = server.sql("SELECT * FROM epochs ORDER BY epoch").await?;
    ensure(epochs.len() == world.epochs.len(), || format!("{}: {} epochs are closed", world.name, epochs.len()))?;
    for (epoch, row) in world.epochs.iter().zip(epochs) {
        figures(world, epoch, &Value::Object(row))?;
        let of = |table: &str, columns: &str| format!("SELECT {columns} FROM {table} WHERE epoch = {}", epoch.number);
        let rewards = server.sql(&of("rewards", "account, role, amount")).await?;
        rows(world, epoch, "rewards", &epoch.expected.rewards, rewards, &["account", "role", "amount"])?;
        let cumulative = server.sql(&of("cumulative", "account, cumulative")).await?;
        rows(world, epoch, "cumulative", &epoch.expected.cumulative, cumulative, &["account", "cumulative"])?;
    }
    Ok(())
}

fn rows(
    world: &World,
    epoch: &EpochInput,
    table: &str,
    expected: &BTreeSet<Vec<String>>,
    found: Vec<Row>,
    columns: &[&str],
) -> Outcome {
    let count = found.len();
    let row = |row: Row| columns.iter().map(|column| row.get(*column).map(text).unwrap_or_default()).collect();
    let found: BTreeSet<Vec<String>> = found.into_iter().map(row).collect();
    let shown =
        |a: &BTreeSet<Vec<String>>, b: &BTreeSet<Vec<String>>| a.difference(b).take(SHOWN_MAX).cloned().collect::<Vec<_>>();
    ensure(found == *expected && count == found.len(), || {
        let (missing, extra) = (shown(expected, &found), shown(&found, expected));
        format!("{} epoch {}: `{table}` has {count} rows; missing {missing:?}, not expected {extra:?}", world.name, epoch.number)
    })
}

/// All tables as multisets: table → row → how often.
pub async fn dump(server: &Server) -> Outcome<BTreeMap<&'static str, BTreeMap<String, u64>>> {
    let mut tables = BTreeMap::new();
    for (table, excepted) in TABLES {
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for mut row in server.sql(&format!("SELECT * FROM {table}")).await? {
            excepted.iter().for_each(|column| drop(row.remove(*column)));
            *rows.entry(Value::Object(row).to_string()).or_default() += 1;
        }
        tables.insert(*table, rows);
    }
    Ok(tables)
}

/// Fails with the first rows that differ unless both servers hold the same multisets.
pub async fn same_tables(one: &Server, other: &Server) -> Outcome {
    let (a, b) = (dump(one).await?, dump(other).await?);
    for (table, rows) in &a {
        let others = b.get(table).ok_or_else(|| format!("no table {table}"))?;
        let only = |x: &BTreeMap<String, u64>, y: &BTreeMap<String, u64>| {
            x.iter()
                .filter(|(row, times)| y.get(*row) != Some(times))
                .map(|(row, _)| row.clone())
                .take(SHOWN_MAX)
                .collect::<Vec<_>>()
        };
        ensure(rows == others, || {
            format!("`{table}` differs: only one has {:#?}, only the other {:#?}", only(rows, others), only(others, rows))
        })?;
    }
    Ok(())
}

/// All rows of a table, of every column, in whatever order: how many there are, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    rows: u64,
    sum: u64,
}

/// The digest of every table and view, that of the blobs too.
pub async fn digests(server: &Server) -> Outcome<BTreeMap<&'static str, Digest>> {
    let mut digests = BTreeMap::new();
    for table in TABLES.iter().map(|(table, _)| *table).chain(["blobs"]) {
        let mut digest = Digest::default();
        for row in server.csv(&format!("SELECT * FROM {table}")).await?.lines() {
            let mut hasher = DefaultHasher::new();
            row.hash(&mut hasher);
            digest.rows += 1;
            digest.sum = digest.sum.wrapping_add(hasher.finish());
        }
        digests.insert(table, digest);
    }
    Ok(digests)
}
