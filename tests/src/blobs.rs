//! What lies under `da/` in a store, read by its documents alone: the blobs that are recorded and the attempts at publishing them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Outcome, ensure};

/// A recorded blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its partition.
    pub partition: u64,
    /// Its first batch.
    pub first_seq: u64,
    /// Its last batch, included.
    pub last_seq: u64,
    /// The backend that certified it.
    pub backend: String,
    /// The certificate, `0x…`.
    pub certificate: String,
}

/// Every recorded blob of a store, by partition and sequence.
pub fn recorded(store: &Path) -> Outcome<Vec<Blob>> {
    let mut blobs = Vec::new();
    for folder in sorted(&store.join("da/certs"))? {
        for file in sorted(&folder)? {
            let record: Value = serde_json::from_slice(&fs::read(&file)?)?;
            let blob = read(&record).ok_or_else(|| format!("{} is no record of a blob: {record}", file.display()))?;
            blobs.push(blob);
        }
    }
    Ok(blobs)
}

fn read(record: &Value) -> Option<Blob> {
    Some(Blob {
        partition: record["partition"].as_u64()?,
        first_seq: record["first_seq"].as_u64()?,
        last_seq: record["last_seq"].as_u64()?,
        backend: record["backend"].as_str()?.to_owned(),
        certificate: record["certificate"].as_str()?.to_owned(),
    })
}

/// How often the outbox says what, such as `sent` or `unknown`.
pub fn outbox(store: &Path) -> Outcome<BTreeMap<String, u64>> {
    let mut said = BTreeMap::new();
    for payload in sorted(&store.join("da/outbox"))? {
        for entry in sorted(&payload)? {
            // 00001.sent.json
            let state = entry.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').nth(1));
            let state = state.ok_or_else(|| format!("{} is no entry of an outbox", entry.display()))?;
            *said.entry(state.to_owned()).or_default() += 1;
        }
    }
    Ok(said)
}

/// How many pages of manifests are recorded.
pub fn manifest_pages(store: &Path) -> Outcome<u64> {
    let mut pages = 0;
    for epoch in sorted(&store.join("da/manifests"))? {
        pages += sorted(&epoch)?.len() as u64;
    }
    Ok(pages)
}

/// Fails unless every sealed batch of the store is under exactly one recorded certificate.
pub fn tile(store: &Path) -> Outcome<Vec<Blob>> {
    let blobs = recorded(store)?;
    for folder in sorted(&store.join("journal"))? {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(partition) = name.strip_prefix("p-").and_then(|digits| digits.parse::<u64>().ok()) else { continue };
        let sealed = sorted(&folder)?.len() as u64;
        let mut next = 0;
        for blob in blobs.iter().filter(|blob| blob.partition == partition) {
            ensure(blob.first_seq == next && blob.last_seq >= next, || format!("after batch {next} comes {blob:?}"))?;
            next = blob.last_seq + 1;
        }
        ensure(next == sealed, || format!("partition {partition}: {next} of {sealed} batches are under a certificate"))?;
    }
    Ok(blobs)
}

/// What lies in a folder, by name; nothing if there is none.
fn sorted(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut paths = Vec::new();
    match fs::read_dir(folder) {
        Err(none) if none.kind() == std::io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries? {
                paths.push(entry?.path());
            }
        }
    }
    paths.sort();
    Ok(paths)
}
