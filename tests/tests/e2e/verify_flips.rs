//! A single flipped byte anywhere is found, and its object named.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, play};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, ensure, long, worlds};

/// Kinds of objects: where they lie under `store/` and how their names end.
const KINDS: [(&str, &str, &str); 9] = [
    ("batch", "journal/p-", ".batch"),
    ("list of identities", "journal/ids/", ".ids"),
    ("genesis record", "journal/genesis", ".json"),
    ("Delta data file", "lake/", ".parquet"),
    ("Delta commit", "lake/", ".json"),
    ("epoch record", "settlement/epochs/", ".json"),
    ("blob plan", "da/plans/", ".json"),
    ("blob payload", "da/blobs/", ""),
    ("recorded certificate", "da/certs/", ".json"),
];

/// The seed of the positions.
const SEED: u64 = 11;

fn files_under(directory: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { files_under(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// The objects of a kind, in a stable order, none of them empty.
fn objects(store: &Path, beginning: &str, end: &str) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    files_under(store, &mut files)?;
    let is_one = |path: &PathBuf| {
        let name = path.strip_prefix(store).unwrap_or(path).to_string_lossy().into_owned();
        name.starts_with(beginning) && name.ends_with(end) && !name.contains("/_digests/")
    };
    files.retain(is_one);
    files.sort();
    Ok(files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_flipped_byte_in_any_kind_of_object_is_named_with_exit_code_3() -> Outcome {
    let mut chance = Chance::of(SEED);
    let mut server = Server::fresh(Options::quick(4)).await?;
    play(&server, &worlds::edge(2)?, Sending::AsRecorded, &mut chance).await?;
    server.stop().await?;
    let report = server.job(&["verify", "--json"]).await?.expect_code(0)?.json()?;
    ensure(report["epochs"].as_array().is_some_and(|epochs| epochs.len() == 3), || {
        format!("verify lists no three epochs: {report}")
    })?;
    let store = server.data().join("store");
    for (kind, beginning, end) in KINDS {
        let objects = objects(&store, beginning, end)?;
        ensure(!objects.is_empty(), || format!("there is no {kind}"))?;
        for _ in 0..if long() { 40 } else { 2 } {
            flip_and_verify(&server, kind, chance.one_of(&objects).clone(), &mut chance).await?;
        }
    }
    server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}

async fn flip_and_verify(server: &Server, kind: &str, object: PathBuf, chance: &mut Chance) -> Outcome {
    let whole = std::fs::read(&object)?;
    let at = usize::try_from(chance.below(whole.len() as u64))?;
    let mut flipped = whole.clone();
    flipped[at] ^= 1 << chance.below(8);
    std::fs::write(&object, flipped)?;
    let ran = server.job(&["verify", "--json"]).await?;
    std::fs::write(&object, whole)?;
    let place = format!("{kind} {}, byte {at}", object.display());
    ensure(ran.code == Some(3), || format!("{place}: {}", ran.describe()))?;
    ensure(ran.says(&file_name(&object)), || format!("{place} is not named: {}", ran.describe()))
}

/// The data files that the logs of the tables name now: one that compaction replaced may be missing.
fn live_data_files(store: &Path) -> Outcome<BTreeSet<String>> {
    let mut live = BTreeSet::new();
    let mut removed = BTreeSet::new();
    for commit in objects(store, "lake/", ".json")? {
        for line in std::fs::read_to_string(&commit)?.lines() {
            let action: Value = serde_json::from_str(line)?;
            live.extend(action["add"]["path"].as_str().map(str::to_owned));
            removed.extend(action["remove"]["path"].as_str().map(str::to_owned));
        }
    }
    Ok(live.difference(&removed).cloned().collect())
}

/// The table in the name of an object of the lake.
fn table_of(name: &str) -> &str {
    name.split('/').nth(1).unwrap_or_default()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_object_is_named_with_exit_code_3_wherever_it_lay_in_its_chain() -> Outcome {
    let mut chance = Chance::of(SEED);
    let mut server = Server::fresh(Options::quick(1)).await?;
    play(&server, &worlds::edge(3)?, Sending::AsRecorded, &mut chance).await?;
    server.stop().await?;
    let store = server.data().join("store");
    // A list of identities follows from its batch: one that is missing is made again.
    for (kind, beginning, end) in KINDS.into_iter().filter(|(kind, ..)| *kind != "list of identities") {
        let mut objects = objects(&store, beginning, end)?;
        if kind == "Delta data file" {
            let live = live_data_files(&store)?;
            objects.retain(|object| live.contains(&file_name(object)));
        }
        ensure(!objects.is_empty(), || format!("there is no {kind}"))?;
        let places = BTreeSet::from([0, objects.len() / 2, objects.len() - 1]);
        for object in places.into_iter().map(|at| &objects[at]) {
            let aside = server.data().join("aside");
            std::fs::rename(object, &aside)?;
            let ran = server.job(&["verify", "--json"]).await?;
            std::fs::rename(&aside, object)?;
            let name = object.strip_prefix(&store)?.display().to_string();
            ensure(ran.code == Some(3), || format!("{kind} {name} is missing: {}", ran.describe()))?;
            // Of a commit lost from the end of its log, the table is known that lacks what the batches give.
            let by_table = kind == "Delta commit" && ran.says(&format!("table {}", table_of(&name)));
            ensure(by_table || ran.says(&name), || format!("{kind} {name} is missing, but not named: {}", ran.describe()))?;
        }
    }
    server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}
