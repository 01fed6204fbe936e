//! What the tables hold against what must be in them.

use std::collections::{BTreeMap, BTreeSet};

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

/// Tables as multisets: table → row → how often.
type Multisets = BTreeMap<&'static str, BTreeMap<String, u64>>;

/// All tables, without the columns that a rebuild may change.
pub async fn dump(server: &Server) -> Outcome<Multisets> {
    multisets(server, TABLES).await
}

async fn multisets(server: &Server, tables: &[(&'static str, &[&str])]) -> Outcome<Multisets> {
    let mut all = BTreeMap::new();
    for (table, excepted) in tables {
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for mut row in server.sql(&format!("SELECT * FROM {table}")).await? {
            excepted.iter().for_each(|column| drop(row.remove(*column)));
            *rows.entry(Value::Object(row).to_string()).or_default() += 1;
        }
        all.insert(*table, rows);
    }
    Ok(all)
}

/// Fails with the first rows that differ unless both servers hold the same multisets.
pub async fn same_tables(one: &Server, other: &Server) -> Outcome {
    same_multisets(&dump(one).await?, &dump(other).await?)
}

/// The same of every column, and of the blobs with their certificates too: what a rebuild from them gives.
pub async fn same_tables_and_blobs(one: &Server, other: &Server) -> Outcome {
    let names = TABLES.iter().map(|(table, _)| *table).chain(["blobs"]);
    let whole: Vec<(&str, &[&str])> = names.map(|table| (table, [].as_slice())).collect();
    same_multisets(&multisets(one, &whole).await?, &multisets(other, &whole).await?)
}

fn same_multisets(a: &Multisets, b: &Multisets) -> Outcome {
    for (table, rows) in a {
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
