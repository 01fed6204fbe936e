//! A single flipped byte anywhere is found, and its object named.

use std::path::{Path, PathBuf};

use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, play};
use tributary_tests::server::{Options, Server};
use tributary_tests::{Outcome, ensure, long, worlds};

/// Kinds of objects: where they lie under `store/` and how their names end.
const KINDS: [(&str, &str, &str); 8] = [
    ("batch", "journal/p-", ".batch"),
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
    let name = object.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ensure(ran.says(&name), || format!("{place} is not named: {}", ran.describe()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_object_is_found_too() -> Outcome {
    let mut chance = Chance::of(SEED);
    let mut server = Server::fresh(Options::quick(1)).await?;
    play(&server, &worlds::edge(3)?, Sending::AsRecorded, &mut chance).await?;
    server.stop().await?;
    let store = server.data().join("store");
    for (kind, beginning, end) in KINDS {
        let objects = objects(&store, beginning, end)?;
        // The first of them: something later always depends on it.
        let object = objects.first().ok_or_else(|| format!("there is no {kind}"))?;
        let whole = std::fs::read(object)?;
        std::fs::remove_file(object)?;
        let ran = server.job(&["verify", "--json"]).await?;
        std::fs::write(object, whole)?;
        ensure(matches!(ran.code, Some(1 | 3)), || format!("{kind} {} is missing: {}", object.display(), ran.describe()))?;
    }
    server.job(&["verify", "--json"]).await?.expect_code(0).map(drop)
}
