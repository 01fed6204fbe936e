//! The recorded flywheel, repeated with other ids, so that deduplication is not what is measured.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use crate::Outcome;

/// All lines to send, in order.
pub struct Input {
    /// NDJSON, each line with its line feed.
    pub lines: Vec<Vec<u8>>,
    /// Their bytes in sum.
    pub bytes: u64,
    /// How many different events they are: some lines of the recording repeat others.
    pub distinct: u64,
}

/// What makes an event the same as another.
#[derive(serde::Deserialize, PartialEq, Eq, Hash)]
struct Identity<'a> {
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
}

/// The three epochs as they were recorded.
pub struct Recording {
    /// NDJSON.
    text: Vec<u8>,
    /// Whether a line is the first of its event, line by line.
    is_first: Vec<bool>,
}

impl Recording {
    /// Reads them.
    pub fn read(flywheel: &Path) -> Outcome<Self> {
        let mut text = Vec::new();
        for epoch in 1..=3 {
            let path = flywheel.join(format!("epoch-{epoch}.ndjson.zst"));
            let file = std::fs::File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            text.extend(zstd::decode_all(file)?);
        }
        Self::of(text)
    }

    /// A recording of these lines.
    pub fn of(text: Vec<u8>) -> Outcome<Self> {
        let is_first = are_first(&text)?;
        if is_first.is_empty() {
            return Err("the recording is empty".into());
        }
        Ok(Self { text, is_first })
    }

    /// The lines with ids that follow from the number of the round; of each, whether it is the first of its event.
    pub fn round(&self, round: u32) -> impl Iterator<Item = (Vec<u8>, bool)> {
        let lines = self.text.split_inclusive(|b| *b == b'\n').zip(self.is_first.iter().copied());
        lines.map(move |(line, is_first)| {
            let mut line = line.to_vec();
            rewrite_ids(&mut line, round);
            (line, is_first)
        })
    }
}

fn are_first(text: &[u8]) -> Outcome<Vec<bool>> {
    let mut seen = HashSet::new();
    let lines = text.split_inclusive(|b| *b == b'\n');
    lines.map(|line| Outcome::Ok(seen.insert(serde_json::from_slice::<Identity<'_>>(line)?))).collect()
}

impl Input {
    /// Reads the three epochs and repeats them once for each number of `rounds`, with ids that follow from the number.
    pub fn load(flywheel: &Path, rounds: Range<u32>) -> Outcome<Self> {
        let recording = Recording::read(flywheel)?;
        let (lines, is_first): (Vec<Vec<u8>>, Vec<bool>) = rounds.flat_map(|round| recording.round(round)).unzip();
        let bytes = lines.iter().map(|l| l.len() as u64).sum();
        let distinct = is_first.into_iter().filter(|first| *first).count() as u64;
        Ok(Self { lines, bytes, distinct })
    }

    /// The lines as requests of at most `events` lines.
    pub fn requests(&self, events: usize) -> Vec<bytes::Bytes> {
        self.lines.chunks(events).map(|chunk| bytes::Bytes::from(chunk.concat())).collect()
    }
}

/// Gives every UUID of the line another first group: one-to-one within a round, and different between rounds. References
/// between events of a round stay whole.
fn rewrite_ids(line: &mut [u8], round: u32) {
    let mut at = 0;
    while at + 36 <= line.len() {
        if !is_uuid(&line[at..at + 36]) {
            at += 1;
            continue;
        }
        let text = std::str::from_utf8(&line[at..at + 8]).expect("checked to be hexadecimal");
        let number = u32::from_str_radix(text, 16).expect("checked to be hexadecimal");
        line[at..at + 8].copy_from_slice(format!("{:08x}", number ^ round).as_bytes());
        at += 36;
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_digit() || (b'a'..=b'f').contains(b),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_between_rounds_and_stay_equal_within_one() {
        let text = br#"{"id":"887fa302-d288-4faf-97a8-1252f3a276c4","subject":"887fa302-d288-4faf-97a8-1252f3a276c4"}"#;
        let (mut first, mut second) = (text.to_vec(), text.to_vec());
        rewrite_ids(&mut first, 0);
        rewrite_ids(&mut second, 5);
        assert_eq!(first, text);
        assert_eq!(second, br#"{"id":"887fa307-d288-4faf-97a8-1252f3a276c4","subject":"887fa307-d288-4faf-97a8-1252f3a276c4"}"#);
    }
}
