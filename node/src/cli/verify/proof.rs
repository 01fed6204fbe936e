//! `verify --proof`: one proof from a file, up to the blob that is trusted and down to the event that was asked for.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use tributary_da::EventProof;
use tributary_da::proof::{Expected, Proved, TEXT_BYTES_MAX, printable};
use tributary_schemas::units::Hash;

use crate::exit::{Failure, Outcome};

/// Whose proof it is does not matter, nor what it is part of: every step is checked up to the blob that is trusted. Which event it
/// proves does matter: if one is expected, any other is refused.
pub(super) fn check(file: &Path, blob_id: &Hash, expected: Option<&Expected>, json: bool) -> Outcome {
    let text = read(file).map_err(|error| Failure::failed(&file.display().to_string(), error))?;
    let proved = EventProof::parse(&text).and_then(|proof| {
        let proved = proof.verify(blob_id)?;
        expected.map_or(Ok(()), |expected| proved.expect(expected))?;
        Ok(proved)
    });
    let proved = proved.map_err(|broken| Failure::Difference(broken.to_string()).with_code(broken.code()))?;
    print!("{}", if json { render_json(&proved)? } else { render(&proved) });
    Ok(())
}

/// A file or standard input, no more than a proof has.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = if file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    let mut text = Vec::new();
    source.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// What a proof proved. Hashes are 0x text; what the event calls itself is null if its bytes do not say it.
#[derive(Serialize)]
struct ProvedReport<'p> {
    blob_id: String,
    backend: &'static str,
    batch_in_blob: u32,
    deployment: String,
    partition: u32,
    seq: u64,
    ordinal: u32,
    #[serde(rename = "type")]
    event_type: Option<&'static str>,
    source: Option<&'p str>,
    id: Option<&'p str>,
    key: Option<&'p str>,
    leaf: String,
    root: String,
    header_hash: String,
}

impl<'p> ProvedReport<'p> {
    fn of(proved: &'p Proved) -> Self {
        let (header, label) = (&proved.header, proved.label.as_ref());
        Self {
            blob_id: format!("{:#x}", proved.blob_id),
            backend: proved.backend,
            batch_in_blob: proved.batch_in_blob,
            deployment: header.deployment.to_string(),
            partition: header.partition.get(),
            seq: header.seq.get(),
            ordinal: proved.ordinal,
            event_type: label.map(|label| label.event_type.as_str()),
            source: label.map(|label| label.source.as_str()),
            id: label.map(|label| label.id.as_str()),
            key: label.map(|label| label.key.as_str()),
            leaf: format!("{:#x}", proved.leaf),
            root: format!("{:#x}", header.root),
            header_hash: format!("{:#x}", header.hash()),
        }
    }
}

fn render(proved: &Proved) -> String {
    let report = ProvedReport::of(proved);
    let mut text = format!(
        "proved: event {} of batch {} of partition {}, deployment {}\n",
        report.ordinal, report.seq, report.partition, report.deployment
    );
    text += &match &proved.label {
        Some(label) => format!(
            "  type        {}\n  source      {}\n  id          {}\n  key         {}\n",
            label.event_type.as_str(),
            printable(&label.source),
            printable(&label.id),
            printable(&label.key)
        ),
        None => "  the bytes name no source, id and type as an event does\n".to_owned(),
    };
    text += &format!(
        "  leaf        {}\n  root        {}, as the sealer says; `verify` and `rebuild` recompute it\n  header hash {}\n  \
         blob        {}, header {}, certified by {}\n",
        report.leaf, report.root, report.header_hash, report.blob_id, report.batch_in_blob, report.backend
    );
    if report.backend == tributary_da::local::BACKEND {
        text += "  the local backend stands in for a network: nobody else holds this blob\n";
    }
    text
}

/// One JSON object in visible ASCII: other characters are in texts only, where JSON has an escape for each.
fn render_json(proved: &Proved) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(&ProvedReport::of(proved));
    let json = json.map_err(|error| Failure::failed("the answer cannot be written as JSON", error))?;
    let mut text = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        if matches!(character, ' '..='~' | '\n') {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(text, "\\u{unit:04x}").expect("writing into a text does not fail");
        }
    }
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tributary_schemas::units::parse_hash;

    /// Made by another program; their ids stand beside them. The one is of an event, the other of bytes that are none.
    const EVENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../da/testdata/event-proof.json");
    const BYTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../da/testdata/event-proof-eigenda.json");

    fn blob_id(file: &str) -> Hash {
        let text = std::fs::read_to_string(file).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        parse_hash(whole["blobId"].as_str().unwrap()).unwrap()
    }

    fn proved(file: &str) -> Proved {
        EventProof::parse(&std::fs::read(file).unwrap()).unwrap().verify(&blob_id(file)).unwrap()
    }

    fn expected(source: &str, id: &str) -> Expected {
        Expected { source: source.to_owned(), id: id.to_owned(), event_type: None, key: None }
    }

    #[test]
    fn a_proof_is_checked_from_its_file_alone_and_a_refusal_is_a_difference_with_its_code() {
        let blob_id = blob_id(EVENT);
        check(Path::new(EVENT), &blob_id, None, false).unwrap();
        check(Path::new(EVENT), &blob_id, None, true).unwrap();
        let refused = check(Path::new(EVENT), &Hash::ZERO, None, false).unwrap_err();
        assert!(refused.to_string().ends_with("[proof_certificate]"), "{refused}");
        assert_eq!(refused.code(), crate::exit::DIFFERENCE);
        let none = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let refused = check(none, &blob_id, None, false).unwrap_err();
        assert!(refused.to_string().ends_with("[proof_form]"), "{refused}");
        let missing = check(Path::new("/no/such/file"), &blob_id, None, false).unwrap_err();
        assert_eq!(missing.code(), crate::exit::FAILED);
    }

    #[test]
    fn a_proof_of_another_event_than_the_expected_one_is_a_difference() {
        check(Path::new(EVENT), &blob_id(EVENT), Some(&expected("urn:example:third", "2-1")), false).unwrap();
        for (file, source, id) in
            [(EVENT, "urn:example:third", "2-2"), (EVENT, "urn:example", "2-1"), (BYTES, "urn:example:third", "2-0")]
        {
            let refused = check(Path::new(file), &blob_id(file), Some(&expected(source, id)), true).unwrap_err();
            assert!(refused.to_string().ends_with("[proof_other_event]"), "{refused}");
            assert_eq!(refused.code(), crate::exit::DIFFERENCE);
        }
    }

    #[test]
    fn what_was_proved_says_which_event_it_is_and_where_and_that_a_local_blob_is_held_by_nobody_else() {
        let proved = proved(EVENT);
        let text = render(&proved);
        assert!(text.starts_with("proved: event 1 of batch 43 of partition 3, deployment 00010203-"), "{text}");
        for line in [
            "  type        tributary.datanet.registered.v1\n",
            "  source      urn:example:third\n",
            "  id          2-1\n",
            "  key         net\n",
            &format!("  leaf        {:#x}\n", proved.leaf),
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(text.contains("nobody else holds this blob"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&render_json(&proved).unwrap()).unwrap();
        let members = ["type", "source", "id", "key"].map(|member| json[member].as_str().unwrap());
        assert_eq!(members, ["tributary.datanet.registered.v1", "urn:example:third", "2-1", "net"]);
        assert_eq!(json["leaf"], format!("{:#x}", proved.leaf));
    }

    #[test]
    fn bytes_that_are_no_event_are_proved_and_it_is_said_that_they_are_none() {
        let proved = proved(BYTES);
        assert!(render(&proved).contains("the bytes name no source, id and type"), "{}", render(&proved));
        let json: serde_json::Value = serde_json::from_str(&render_json(&proved).unwrap()).unwrap();
        for member in ["type", "source", "id", "key"] {
            assert_eq!(json.get(member), Some(&serde_json::Value::Null), "{member}");
        }
    }

    #[test]
    fn nothing_that_an_event_says_reaches_the_terminal_but_visible_characters() {
        let mut proved = proved(EVENT);
        let key = "a\u{1b}[2Jb\u{202e}\\\r\u{7f}é\u{10ffff}";
        proved.label.as_mut().unwrap().key = key.to_owned();
        let (text, json) = (render(&proved), render_json(&proved).unwrap());
        assert!(text.contains("  key         a\\u{1b}[2Jb\\u{202e}\\u{5c}\\u{d}\\u{7f}\\u{e9}\\u{10ffff}\n"), "{text}");
        for shown in [&text, &json] {
            assert!(shown.chars().all(|character| matches!(character, ' '..='~' | '\n')), "{shown}");
        }
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["key"], key);
    }
}
