//! The digests of a table's objects: how they are recorded, and the search for one that differs.
//!
//! A data file carries its keccak-256 in its name. A commit and a checkpoint have theirs in a small object under
//! `_digests/`, which also carries a digest of itself, so that a flipped byte is blamed on the object it lies in. Each is
//! written before the object that it vouches for.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::Deserialize;
use tributary_schemas::units::{Hash, keccak256, parse_hash};

use crate::data_file::digest_in_name;
use crate::error::{Error, Result};
use crate::log::{LogName, TableLog};
use crate::settings::LakeSettings;

/// An object of the lake that does not hold what was recorded of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The object, relative to the root of the store.
    pub object: Path,
    /// What differs.
    pub problem: String,
}

/// Objects with their digests, as one object under `_digests/`. There is exactly one text for given digests.
pub(crate) fn render(digests: &[(String, Hash)]) -> Bytes {
    let entries: BTreeMap<&str, String> = digests.iter().map(|(object, hash)| (object.as_str(), format!("{hash:#x}"))).collect();
    let inner = serde_json::to_string(&entries).expect("a map of texts always serialises");
    let own = keccak256(inner.as_bytes());
    Bytes::from(format!("{{\"digests\":{inner},\"self\":\"{own:#x}\"}}\n"))
}

/// Reads what [`render`] wrote; `None` for any other text.
pub(crate) fn parse(bytes: &[u8]) -> Option<BTreeMap<String, Hash>> {
    #[derive(Deserialize)]
    struct Sidecar {
        digests: BTreeMap<String, String>,
    }
    let sidecar: Sidecar = serde_json::from_slice(bytes).ok()?;
    let digests: Vec<(String, Hash)> =
        sidecar.digests.into_iter().map(|(object, hash)| Some((object, parse_hash(&hash).ok()?))).collect::<Option<_>>()?;
    (render(&digests) == bytes).then(|| digests.into_iter().collect())
}

/// The version in the name of the record of a commit's digest; `None` for any other name.
pub(crate) fn version_in_name(name: &str) -> Option<i64> {
    let (version, digest) = name.strip_suffix(".json")?.split_once('.')?;
    let hex = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && version.len() == 20).then(|| version.parse().ok()).flatten()
}

/// Compares every object of the table with what was recorded of it, the log with the files it names, and the digests with the
/// commits they are of. Data files that are not wanted need only be there.
pub(crate) async fn check(
    log: &TableLog,
    settings: &LakeSettings,
    wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Vec<Difference>> {
    let names = list_names(log).await?;
    let is_wanted = |name: &&String| name.contains('/') || wanted(log.data_path(name).as_ref());
    let checks = names.iter().filter(is_wanted).map(|name| check_object(log, name));
    let found: Vec<Option<Difference>> =
        futures::stream::iter(checks).buffered(settings.reads_in_flight_max).try_collect().await?;
    let mut differences: Vec<Difference> = found.into_iter().flatten().collect();
    differences.extend(missing_commits(log, &names).await?);
    match log.load(settings).await {
        Ok(state) => {
            let there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            for live in state.live() {
                if !there.contains(live.name.as_str()) && log.get(&live.file.path).await?.is_none() {
                    let problem = "the log names this file, but it is missing".to_owned();
                    differences.push(Difference { object: live.file.path.clone(), problem });
                }
            }
        }
        Err(Error::Corrupt { object, problem }) => {
            if differences.iter().all(|d| d.object != object) {
                differences.push(Difference { object, problem });
            }
        }
        Err(error) => return Err(error),
    }
    Ok(differences)
}

/// Commits that are gone although their digests are recorded and later commits are there. A digest after the last commit says
/// nothing: its writer may have ended before it committed. What lies behind a checkpoint is swept.
async fn missing_commits(log: &TableLog, names: &[String]) -> Result<Vec<Difference>> {
    let commit = |name: &String| match LogName::parse(name.strip_prefix("_delta_log/")?)? {
        LogName::Commit(version) => Some(version),
        LogName::Checkpoint(_) => None,
    };
    let commits: BTreeSet<i64> = names.iter().filter_map(commit).collect();
    let digests = names.iter().filter_map(|name| version_in_name(name.strip_prefix("_digests/")?)).collect::<BTreeSet<i64>>();
    let mut missing = Vec::new();
    for version in digests.difference(&commits).filter(|version| commits.last() > Some(*version)) {
        // It may have been written while the objects were listed.
        if log.read_commit(*version).await?.is_none() {
            missing.push(*version);
        }
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let checkpoint = log.list().await?.checkpoints.keys().next_back().copied();
    let difference = |version| {
        let problem = "the commit is missing, though its digest is recorded".to_owned();
        Difference { object: log.commit_path(version), problem }
    };
    Ok(missing.into_iter().filter(|version| checkpoint.is_none_or(|kept| *version >= kept)).map(difference).collect())
}

/// Every object below the table's folder, relative to it, in the order of their names.
async fn list_names(log: &TableLog) -> Result<Vec<String>> {
    let prefix = format!("{}/", log.root);
    let mut names = Vec::new();
    let mut objects = log.store.list(Some(&log.root));
    while let Some(object) = objects.next().await {
        match object {
            Ok(object) => names.extend(object.location.as_ref().strip_prefix(&prefix).map(str::to_owned)),
            Err(object_store::Error::NotFound { .. }) => break,
            Err(error) => return Err(Error::store("listing", &log.root)(error)),
        }
    }
    names.sort_unstable();
    Ok(names)
}

async fn check_object(log: &TableLog, name: &str) -> Result<Option<Difference>> {
    let object = name.split('/').fold(log.root.clone(), |path, part| path.join(part));
    // It may have been swept since the listing; whether a live file is missing is looked at afterwards.
    let Some(bytes) = log.get(&object).await? else { return Ok(None) };
    let problem = match name.split_once('/') {
        None => check_data_file(name, &bytes),
        Some(("_digests", _)) => {
            parse(&bytes).is_none().then(|| "it is no record of digests, or its own digest differs".to_owned())
        }
        Some(("_delta_log", "_last_checkpoint")) => check_last_checkpoint(log, &bytes).await?,
        Some(("_delta_log", file)) => match LogName::parse(file) {
            Some(LogName::Commit(version)) => check_commit(log, version, &bytes).await?,
            Some(LogName::Checkpoint(version)) => {
                against(log, &log.checkpoint_digest_path(version), &format!("_delta_log/{file}"), &bytes).await?
            }
            None => Some("it is no object that Tributary writes".to_owned()),
        },
        Some(_) => Some("it is no object that Tributary writes".to_owned()),
    };
    Ok(problem.map(|problem| Difference { object, problem }))
}

fn check_data_file(name: &str, bytes: &Bytes) -> Option<String> {
    match digest_in_name(name) {
        None => Some("it is no object that Tributary writes".to_owned()),
        Some(expected) => differs(expected, bytes),
    }
}

fn differs(expected: Hash, bytes: &Bytes) -> Option<String> {
    let found = keccak256(bytes);
    (found != expected).then(|| format!("its keccak-256 is {found:#x}, but {expected:#x} was recorded"))
}

/// Whether somebody recorded, before writing it, that this version would have these bytes.
async fn check_commit(log: &TableLog, version: i64, bytes: &Bytes) -> Result<Option<String>> {
    let digest = keccak256(bytes);
    let sidecar = log.digest_path(version, digest);
    if log.get(&sidecar).await?.is_some() {
        return against(log, &sidecar, &format!("_delta_log/{version:020}.json"), bytes).await;
    }
    // A sweep deletes a commit before its digest.
    let swept = log.read_commit(version).await?.is_none();
    Ok((!swept).then(|| format!("its keccak-256 is {digest:#x}, which was not recorded of it: `{sidecar}` is missing")))
}

async fn check_last_checkpoint(log: &TableLog, bytes: &Bytes) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Hint {
        version: i64,
    }
    let Ok(hint) = serde_json::from_slice::<Hint>(bytes) else {
        return Ok(Some("it does not parse".to_owned()));
    };
    against(log, &log.checkpoint_digest_path(hint.version), "_delta_log/_last_checkpoint", bytes).await
}

/// Compares bytes with the digest that the sidecar has of the object. A damaged sidecar is reported for itself.
async fn against(log: &TableLog, sidecar: &Path, object: &str, bytes: &Bytes) -> Result<Option<String>> {
    let Some(record) = log.get(sidecar).await? else {
        return Ok(Some(format!("no digest of it is recorded: `{sidecar}` is missing")));
    };
    Ok(match parse(&record) {
        None => None,
        Some(digests) => match digests.get(object) {
            None => Some(format!("no digest of it is recorded in `{sidecar}`")),
            Some(expected) => differs(*expected, bytes),
        },
    })
}
