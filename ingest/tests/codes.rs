//! The codes of the door are listed with cause and cure.
#![allow(clippy::unwrap_used)]

use tributary_ingest::error::CODES;

#[test]
fn every_code_of_the_door_is_documented_with_its_status() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let section = docs.split("\n## ").find(|section| section.starts_with("The door (HTTP)")).unwrap();
    for (code, status) in CODES {
        assert!(section.contains(&format!("| `{code}` | {status} |")), "docs/errors.md lacks {code} with status {status}");
    }
    let rows = section.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, CODES.len(), "docs/errors.md lists a code that does not exist");
}
