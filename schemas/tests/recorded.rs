//! The recorded flywheel and the edge worlds: every line of them is an event.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tributary_schemas::cloudevents::{parse, to_json};
use tributary_schemas::event::Event;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::protobuf::{decode, encode};
use tributary_schemas::units::Name;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn lines(folder: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    for epoch in 1..=3 {
        let file = File::open(folder.join(format!("epoch-{epoch}.ndjson.zst"))).unwrap();
        zstd::stream::copy_decode(file, &mut text).unwrap();
    }
    text
}

fn events(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn recorded(line: &[u8]) -> Event {
    let draft = parse(line).unwrap_or_else(|refusal| panic!("{refusal}: {}", String::from_utf8_lossy(line)));
    Event { draft, producer: Name::parse("dev").unwrap(), accepted_at: Timestamp::from_micros(1_790_000_000_000_000).unwrap() }
}

/// Parses each line, writes it in both forms and reads both back. Gives how many there were.
fn round_trip(text: &[u8]) -> usize {
    events(text)
        .map(|line| {
            let event = recorded(line);
            assert_eq!(parse(to_json(&event.draft).as_bytes()).as_ref(), Ok(&event.draft));
            assert_eq!(decode(&encode(&event)).as_ref(), Ok(&event));
        })
        .count()
}

#[test]
fn every_line_of_the_flywheel_is_an_event_and_survives_both_forms() {
    assert_eq!(round_trip(&lines(&root().join("examples/flywheel"))), 55_730);
}

#[test]
fn every_line_of_the_edge_worlds_is_an_event_and_survives_both_forms() {
    for world in 1..=10 {
        assert!(round_trip(&lines(&root().join(format!("tests/data/edge/{world:02}")))) > 100, "world {world}");
    }
}

#[test]
#[ignore = "a measurement: cargo test --release -p tributary-schemas --test recorded -- --ignored --nocapture"]
fn one_core_parses_and_encodes_the_flywheel() {
    let text = lines(&root().join("examples/flywheel"));
    let lines: Vec<&[u8]> = events(&text).collect();
    let (mut parsing, mut encoding, mut decoding) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..7 {
        let start = Instant::now();
        let drafts: Vec<Event> = lines.iter().map(|line| recorded(line)).collect();
        parsing = parsing.min(start.elapsed());
        let start = Instant::now();
        let encoded: Vec<_> = drafts.iter().map(encode).collect();
        encoding = encoding.min(start.elapsed());
        let start = Instant::now();
        assert!(encoded.iter().all(|bytes| decode(bytes).is_ok()));
        decoding = decoding.min(start.elapsed());
    }
    let rate = |time: Duration| lines.len() as f64 / time.as_secs_f64() / 1000.0;
    println!(
        "thousands of events a second: parse {:.0}, encode {:.0}, both {:.0}, decode {:.0}",
        rate(parsing),
        rate(encoding),
        rate(parsing + encoding),
        rate(decoding)
    );
}
