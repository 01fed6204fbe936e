//! The map is true: ARCHITECTURE.md's tables against the workspace, and the bounds on files against the sources.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The most lines of code of one source file; tests in `tests.rs` and in a final `mod tests` do not count.
const FILE_LINES_MAX: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What `cargo metadata` says of each crate of the workspace: its name and the names of its product dependencies. Those of
/// tests alone are free.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let name = |v: &Value| v["name"].as_str().unwrap().to_owned();
    let product = |p: &Value| {
        let dependencies = p["dependencies"].as_array().unwrap().iter();
        dependencies.filter(|d| d["kind"].as_str() != Some("dev")).map(name).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|p| (name(p), product(p))).collect()
}

fn metadata() -> Value {
    let arguments = ["metadata", "--no-deps", "--locked", "--format-version", "1"];
    let output = std::process::Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The two columns of every row of the table under the line that starts with `header`.
fn table(header: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().skip_while(|l| !l.starts_with(header)).skip(2).take_while(|l| l.starts_with('|'));
    let rows: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let list = cells[1].split(',').map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect();
            (cells[0].to_owned(), list)
        })
        .collect();
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no table that starts with {header}");
    rows
}

#[test]
fn every_crate_uses_exactly_the_stages_that_the_map_allows() {
    let allowed = table("| crate | may use |");
    let crates = crates();
    let names: BTreeSet<String> = crates.keys().cloned().collect();
    assert_eq!(allowed.keys().cloned().collect::<BTreeSet<_>>(), names, "the map and the workspace name other crates");
    for (name, dependencies) in crates {
        let used: BTreeSet<String> = dependencies.intersection(&names).cloned().collect();
        assert_eq!(allowed[&name], used, "{name}: the map (left) differs from Cargo.toml (right)");
    }
}

#[test]
fn every_heavy_dependency_stays_in_its_home() {
    let crates = crates();
    for (dependency, home) in table("| dependency | home |") {
        let users: BTreeSet<String> =
            crates.iter().filter(|(_, used)| used.contains(&dependency)).map(|(name, _)| name.clone()).collect();
        assert_eq!(home, users, "{dependency}: the map (left) differs from the Cargo.tomls (right)");
    }
}

#[test]
fn no_source_file_outgrows_its_bound() {
    let mut too_long = Vec::new();
    let manifests = metadata()["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| PathBuf::from(p["manifest_path"].as_str().unwrap()))
        .collect::<Vec<_>>();
    assert!(manifests.len() > 10, "{manifests:?}");
    for manifest in manifests {
        visit(&manifest.with_file_name("src"), &mut too_long);
    }
    assert!(too_long.is_empty(), "split by meaning: {too_long:#?}");
}

fn visit(directory: &Path, too_long: &mut Vec<String>) {
    for path in std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()) {
        if path.is_dir() {
            if !path.ends_with("tests") {
                visit(&path, too_long);
            }
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
            let lines = code.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//")).count();
            if lines > FILE_LINES_MAX {
                too_long.push(format!("{}: {lines} lines of code", path.display()));
            }
        }
    }
}

#[test]
fn the_project_stands_alone() {
    let mut offending = Vec::new();
    let tracked = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    for name in String::from_utf8(tracked.stdout).unwrap().split('\0').filter(|n| !n.is_empty()) {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue }; // binary data
        let outside = ["..", "/shared/"].concat();
        if text.contains(&outside) {
            offending.push(name.to_owned());
        }
    }
    assert!(offending.is_empty(), "refers to files outside the project: {offending:?}");
}
