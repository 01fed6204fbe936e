//! The table of documents that every verifier is held to, and what of it stands in no table.

use serde::Deserialize;
use serde_json::Value;
use tributary_schemas::event::EventType;
use tributary_schemas::units::parse_hash;

use super::*;

/// Made by another program. The first is of an event, the second of bytes that are none.
pub(super) const LOCAL: &str = include_str!("../../../testdata/event-proof.json");
pub(super) const EIGENDA: &str = include_str!("../../../testdata/event-proof-eigenda.json");
/// The script reads the same file.
const CASES: &str = include_str!("../../../testdata/proof-cases.json");

/// A text, or one so many times.
#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Once(String),
    Times(String, usize),
}

/// A document: a base with changes of its text, or with a list of members in place of an object, or a text of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    base: String,
    #[serde(default)]
    change: Vec<(String, Vec<Piece>)>,
    list: Option<String>,
    of: Option<Vec<String>>,
    text: Option<Vec<Piece>>,
    /// Whether its own certificate is trusted, and not that of its base.
    #[serde(default)]
    own_id: bool,
    event: Option<(String, String)>,
    r#type: Option<String>,
    key: Option<String>,
    code: String,
}

fn joined(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Once(text) => text.clone(),
        Piece::Times(text, times) => text.repeat(*times),
    };
    pieces.iter().map(text).collect()
}

impl Case {
    fn base(&self) -> &'static str {
        if self.base == "local" { LOCAL } else { EIGENDA }
    }

    fn text(&self) -> String {
        if let Some(text) = &self.text {
            return joined(text);
        }
        let mut text = self.base().to_owned();
        for (before, after) in &self.change {
            assert!(text.contains(before), "{}: {before}", self.case);
            text = text.replacen(before, &joined(after), 1);
        }
        if let Some((at, of)) = self.list.as_ref().zip(self.of.as_ref()) {
            let mut document: Value = serde_json::from_str(&text).unwrap();
            let object = document.pointer_mut(at).unwrap();
            *object = of.iter().map(|name| object[name].clone()).collect::<Vec<_>>().into();
            text = document.to_string();
        }
        text
    }

    fn trusted(&self, text: &str) -> Hash {
        if self.own_id {
            return keccak256(&EventProof::parse(text.as_bytes()).unwrap().proof.blob.certificate.0);
        }
        let base: Value = serde_json::from_str(self.base()).unwrap();
        parse_hash(base["blobId"].as_str().unwrap()).unwrap()
    }

    fn expected(&self) -> Option<Expected> {
        self.event.clone().map(|(source, id)| {
            let event_type = self.r#type.as_deref().map(|text| EventType::parse(text).unwrap());
            Expected { source, id, event_type, key: self.key.clone() }
        })
    }
}

/// The code with which a text is refused, or `proved`.
fn verdict(text: &[u8], trusted: &Hash, expected: Option<&Expected>) -> Result<(), ProofError> {
    let proved = EventProof::parse(text)?.verify(trusted)?;
    expected.map_or(Ok(()), |expected| proved.expect(expected))
}

#[test]
fn every_document_of_the_table_gets_the_verdict_that_the_script_gives_it_too() {
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() > 200);
    for case in cases {
        let text = case.text();
        let verdict = verdict(text.as_bytes(), &case.trusted(&text), case.expected().as_ref());
        assert_eq!(verdict.as_ref().map_or_else(ProofError::code, |()| "proved"), case.code, "{}: {verdict:?}", case.case);
    }
}

#[test]
fn a_text_of_8_mib_is_read_and_none_that_is_longer_or_in_another_encoding() {
    let trusted = keccak256(&EventProof::parse(LOCAL.as_bytes()).unwrap().proof.blob.certificate.0);
    let mut text = LOCAL.as_bytes().to_vec();
    text.resize(TEXT_BYTES_MAX, b' ');
    assert_eq!(verdict(&text, &trusted, None), Ok(()));
    text.push(b' ');
    assert_eq!(verdict(&text, &trusted, None).unwrap_err().code(), "proof_form");
    for wrong in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"] {
        let within = [&b"{\"more\": \""[..], wrong, b"\",", LOCAL.trim_start_matches('{').as_bytes()].concat();
        assert_eq!(verdict(&within, &trusted, None).unwrap_err().code(), "proof_form");
    }
    let wide: Vec<u8> = LOCAL.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(verdict(&wide, &trusted, None).unwrap_err().code(), "proof_form");
}

#[test]
fn no_object_of_a_proof_can_be_written_as_a_list() {
    let right = serde_json::to_value(&*PROOF).unwrap();
    let mut objects = vec![(String::new(), &right)];
    let mut found = 0;
    while let Some((at, object)) = objects.pop() {
        found += 1;
        let inside = object.as_object().unwrap().iter().filter(|(_, value)| value.is_object());
        objects.extend(inside.map(|(name, value)| (format!("{at}/{name}"), value)));
        let mut wrong = right.clone();
        *wrong.pointer_mut(&at).unwrap() = object.as_object().unwrap().values().cloned().collect::<Vec<_>>().into();
        let error = EventProof::parse(wrong.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("a list lies where an object belongs"), "{at}: {error}");
    }
    assert_eq!(found, 5);
}

#[test]
fn no_message_repeats_what_a_terminal_would_obey_or_much_of_a_text() {
    for put in ["\"\\u001b[2J\\u202e\u{202e}\"", &format!("\"{}\"", "a".repeat(100_000))] {
        for member in ["\"ordinal\": 1", "\"blobSymbols\": 64", "\"raw\": "] {
            let name = member.split(": ").next().unwrap();
            let text =
                LOCAL.replacen(member, &format!("{name}: {put}, \"more\": "), 1).replacen("\"more\": ,", "\"more\": 0,", 1);
            let error = EventProof::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.len() < 300 && error.chars().all(|c| matches!(c, ' '..='~')), "{error}");
        }
    }
}

#[test]
fn the_rules_of_the_text_are_those_of_the_documents() {
    let page = include_str!("../../../../docs/proofs.md");
    for rule in
        ["at most 8 MiB (8,388,608 bytes)", "at most 64 deep", "at most 32 characters", "at most two digits", "32,000 bytes"]
    {
        assert!(page.contains(rule), "{rule}");
    }
    assert_eq!((TEXT_BYTES_MAX, eigenda_client::certificate::CERTIFICATE_BYTES_MAX), (8_388_608, 32_000));
}
