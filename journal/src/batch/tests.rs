#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::merkle;
use crate::merkle::event_leaf;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn contents(events: Vec<Bytes>, previous: Option<Header>) -> Contents {
    let first = previous.as_ref().map_or(0, |header| header.next_offset.get());
    Contents {
        deployment: DeploymentId([0x11; 16]),
        partition: Partition::new(3).unwrap(),
        previous,
        next_offset: Offset::new(first + events.len() as u64 + 1).unwrap(),
        last_record_hash: keccak256(b"last record"),
        times: (at(1_790_000_000_000_000), at(1_790_000_000_500_000)),
        sealed_at: at(1_790_000_001_000_000),
        events,
    }
}

fn seal(events: &[&[u8]]) -> SealedBatch {
    SealedBatch::seal(contents(events.iter().map(|event| Bytes::copy_from_slice(event)).collect(), None)).unwrap()
}

fn long() -> Vec<u8> {
    b"the same words over and over, ".repeat(40)
}

#[test]
fn a_batch_is_read_back_with_every_event_and_links_to_the_one_before() {
    let first = seal(&[b"one", b"", b"three", &long()]);
    assert_eq!(first.header.codec, Codec::Zstd);
    let decoded = SealedBatch::decode(first.encoded.clone()).unwrap();
    assert_eq!(decoded, first);
    assert_eq!(decoded.events().unwrap(), [&b"one"[..], b"", b"three", &long()]);
    decoded.verify_root().unwrap();

    let second = SealedBatch::seal(contents(vec![Bytes::from_static(b"x")], Some(first.header.clone()))).unwrap();
    assert_eq!(second.header.codec, Codec::Verbatim);
    assert_eq!(second.header.previous_hash, first.header.hash());
    assert_eq!((second.header.seq.get(), second.header.first_offset), (1, first.header.next_offset));
}

#[test]
fn the_hash_of_a_header_stands_at_its_end() {
    let batch = seal(&[b"one"]);
    assert_eq!(&batch.encoded[216..248], batch.header.hash().as_slice());
    assert_eq!(batch.header.hash(), keccak256(&batch.encoded[..216]));
}

#[test]
fn a_run_of_duplicates_is_an_empty_batch_with_the_zero_root() {
    let batch = seal(&[]);
    let decoded = SealedBatch::decode(batch.encoded.clone()).unwrap();
    assert_eq!((decoded.header.events, decoded.header.root, decoded.encoded.len()), (0, Hash::ZERO, Header::BYTES));
    assert_eq!((decoded.header.time_min, decoded.header.time_max), (at(0), at(0)));
    assert_eq!(decoded.events().unwrap(), Vec::<Bytes>::new());
    decoded.verify_root().unwrap();
}

#[test]
fn a_batch_is_never_sealed_before_the_one_before_it() {
    let first = seal(&[b"one"]);
    let earlier = Contents { sealed_at: at(5), ..contents(vec![Bytes::from_static(b"x")], Some(first.header.clone())) };
    assert_eq!(SealedBatch::seal(earlier).unwrap().header.sealed_at, first.header.sealed_at);
}

#[test]
fn every_flipped_bit_is_found_and_named() {
    for batch in [seal(&[]), seal(&[b"one", b"two"]), seal(&[&long()])] {
        for bit in 0..batch.encoded.len() * 8 {
            let mut flipped = batch.encoded.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let damage = SealedBatch::decode(flipped.into()).expect_err("a flipped bit");
            let expected = match bit / 8 {
                0..4 => damage == Damage::Magic,
                4 => matches!(damage, Damage::Version(_)),
                5..248 => damage == Damage::HeaderHash,
                _ => damage == Damage::BodyHash,
            };
            assert!(expected, "bit {bit}: {damage}");
        }
    }
}

#[test]
fn every_truncation_and_every_byte_too_many_is_found_and_named() {
    let batch = seal(&[b"one", b"two"]);
    for length in 0..batch.encoded.len() {
        let damage = SealedBatch::decode(batch.encoded.slice(..length)).expect_err("a truncated batch");
        let expected = if length < 248 {
            Damage::HeaderTruncated(length)
        } else {
            Damage::BodyLength { expected: batch.header.body_bytes, found: length - 248 }
        };
        assert_eq!(damage, expected);
    }
    let longer = [&batch.encoded[..], b"x"].concat();
    let damage = Damage::BodyLength { expected: batch.header.body_bytes, found: batch.header.body_bytes as usize + 1 };
    assert_eq!(SealedBatch::decode(longer.into()), Err(damage));
}

/// A batch whose hashes hold but whose content does not: a faulty writer, not a faulty disk.
fn forged(batch: &SealedBatch, body: &[u8], change: impl FnOnce(&mut Header)) -> SealedBatch {
    let mut header = batch.header.clone();
    header.body_hash = keccak256(body);
    header.body_bytes = length(body.len()).unwrap();
    change(&mut header);
    SealedBatch { encoded: [&header.encode()[..], body].concat().into(), header }
}

#[test]
fn a_body_that_is_not_what_the_header_says_is_named() {
    let batch = seal(&[b"one", b"two"]);
    let body = batch.body();
    let cases = [
        (forged(&batch, &body, |header| header.root = Hash::repeat_byte(1)), Damage::Root),
        (forged(&batch, &body, |header| header.events = 1), Damage::Framing(1)),
        (forged(&batch, &body, |header| header.events = 3), Damage::Framing(3)),
        (forged(&batch, &[&body[..], b"\0\0\0"].concat(), |header| header.raw_bytes += 3), Damage::Framing(2)),
        (forged(&batch, &[&body[..], b"\0\0\0\x09x"].concat(), |header| header.raw_bytes += 5), Damage::Framing(2)),
    ];
    for (forged, damage) in cases {
        let decoded = SealedBatch::decode(forged.encoded).unwrap();
        assert_eq!(decoded.verify_root(), Err(damage));
    }
    let long = seal(&[&long()]);
    let cases = [
        forged(&long, &long.body(), |header| header.raw_bytes -= 1),
        forged(&long, &long.body(), |header| header.raw_bytes += 1),
        forged(&long, b"no zstd frame", |_| ()),
    ];
    for forged in cases {
        assert_eq!(SealedBatch::decode(forged.encoded).unwrap().events(), Err(Damage::Compression));
    }
}

#[test]
fn a_header_that_no_sealer_writes_is_refused_by_its_field() {
    let batch = seal(&[b"one", b"two"]);
    type Change = fn(&mut Header);
    let cases: [(&str, Change); 9] = [
        ("next_offset", |header| header.next_offset = header.first_offset),
        ("events", |header| header.events = 1000),
        ("raw_bytes", |header| (header.raw_bytes, header.body_bytes) = (BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 1)),
        ("body_bytes", |header| header.body_bytes += 1),
        ("time_min", |header| header.time_min = at(header.time_max.micros() + 1)),
        ("root", |header| header.root = Hash::ZERO),
        ("previous_hash", |header| header.previous_hash = Hash::repeat_byte(1)),
        ("previous_hash", |header| header.seq = Seq::new(1).unwrap()),
        ("first_offset", |header| header.first_offset = Offset::new(1).unwrap()),
    ];
    for (field, change) in cases {
        let mut header = batch.header.clone();
        change(&mut header);
        assert_eq!(Header::decode(&header.encode()), Err(Damage::Field(field)));
    }
}

#[test]
fn a_newer_format_is_refused_by_its_version() {
    let mut bytes = seal(&[b"one"]).encoded.to_vec();
    bytes[4] = 2;
    assert_eq!(SealedBatch::decode(bytes.into()), Err(Damage::Version(2)));
}

#[test]
fn the_largest_batch_fits_its_limit_and_one_byte_more_does_not() {
    let noise = |bytes: usize| -> Bytes { (0..bytes / 32 + 1).flat_map(|n| keccak256(n.to_be_bytes()).0).take(bytes).collect() };
    let largest = SealedBatch::seal(contents(vec![noise(BODY_BYTES_MAX as usize - 4)], None)).unwrap();
    assert_eq!((largest.header.codec, largest.encoded.len()), (Codec::Verbatim, 900_248));
    assert_eq!(SealedBatch::decode(largest.encoded.clone()).unwrap(), largest);
    let damage = SealedBatch::seal(contents(vec![noise(BODY_BYTES_MAX as usize - 3)], None));
    assert_eq!(damage, Err(Damage::TooLarge(900_001)));
}

#[test]
fn every_event_has_a_proof_against_the_header() {
    let batch = seal(&[b"one", b"two", &long()]);
    for (event, ordinal) in batch.events().unwrap().iter().zip(0..) {
        let proof = batch.proof(ordinal).unwrap();
        assert!(merkle::verify(batch.header.root, event_leaf(ordinal, event), &proof));
        assert!(!merkle::verify(batch.header.root, event_leaf(ordinal + 1, event), &proof));
    }
    assert!(batch.proof(3).is_err());
}

/// The worked example of docs/journal.md, byte by byte.
#[test]
fn the_documented_example_is_what_the_code_writes() {
    let batch = seal(&[b"one", b"two"]);
    let fields: [(&str, usize); 21] = [
        ("magic", 4),
        ("version", 1),
        ("codec", 1),
        ("gap", 1),
        ("reserved", 1),
        ("partition", 4),
        ("deployment", 16),
        ("seq", 8),
        ("first_offset", 8),
        ("next_offset", 8),
        ("events", 4),
        ("raw_bytes", 4),
        ("body_bytes", 4),
        ("time_min", 8),
        ("time_max", 8),
        ("sealed_at", 8),
        ("last_record_hash", 32),
        ("root", 32),
        ("body_hash", 32),
        ("previous_hash", 32),
        ("hash", 32),
    ];
    let mut example = String::new();
    let mut at = 0;
    for (name, bytes) in fields {
        let hex: String = batch.encoded[at..at + bytes].iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(example, "{at:>3}  {name:<16}  {hex}").unwrap();
        at += bytes;
    }
    let hex: String = batch.encoded[at..].iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(example, "{at:>3}  {:<16}  {hex}", "body").unwrap();
    assert_eq!(at, Header::BYTES);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/journal.md");
    let document = std::fs::read_to_string(file).expect(file);
    assert!(document.contains(&example), "docs/journal.md must hold this example:\n{example}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_events_make_a_batch_that_is_read_back(
        events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..60),
    ) {
        let events: Vec<Bytes> = events.into_iter().map(Bytes::from).collect();
        let batch = SealedBatch::seal(contents(events.clone(), None)).unwrap();
        let decoded = SealedBatch::decode(batch.encoded.clone()).unwrap();
        prop_assert_eq!(&decoded, &batch);
        prop_assert_eq!(decoded.events().unwrap(), events);
        prop_assert_eq!(decoded.verify_root(), Ok(()));
        prop_assert!(decoded.encoded.len() <= 900_248);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), genuine in any::<bool>()) {
        let mut bytes = bytes;
        if genuine {
            bytes.splice(0..0, seal(&[b"one"]).encoded[..250].to_vec());
        }
        if let Ok(batch) = SealedBatch::decode(bytes.into()) {
            batch.events().ok();
        }
    }
}
