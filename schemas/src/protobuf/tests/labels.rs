//! A label says what the decoder says, and every event has one.

use proptest::prelude::*;

use super::super::{Label, decode, encode, label};
use crate::event::Event;
use crate::samples;

fn of(event: &Event) -> Label {
    let draft = &event.draft;
    let key = draft.key().to_owned();
    Label { event_type: draft.event_type(), source: draft.source.clone(), id: draft.id.clone(), key }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_label_of_every_event_says_what_the_event_says(event in samples::event()) {
        prop_assert_eq!(label(&encode(&event)), Some(of(&event)));
    }

    #[test]
    fn of_damaged_bytes_that_are_still_an_event_the_label_says_what_the_decoder_says(
        event in samples::event(),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = encode(&event).to_vec();
        for (place, byte, kind) in damages {
            let place = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                0 if !bytes.is_empty() => bytes[place] = byte,
                1 if !bytes.is_empty() => bytes[place] ^= 1 << (byte % 8),
                2 => bytes.insert(place, byte),
                _ if bytes.is_empty() => {}
                _ => drop(bytes.remove(place)),
            }
        }
        if let (Some(label), Ok(event)) = (label(&bytes), decode(&bytes)) {
            prop_assert_eq!(label, of(&event));
        }
    }
}

/// Fields of one byte of length each.
fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let field = |(number, value): &(u8, &[u8])| {
        let mut bytes = if *number < 16 { vec![number << 3 | 2] } else { vec![(number & 15) << 3 | 0x82, number >> 4] };
        bytes.push(u8::try_from(value.len()).unwrap());
        bytes.extend_from_slice(value);
        bytes
    };
    fields.iter().flat_map(field).collect()
}

#[test]
fn bytes_that_say_it_twice_or_in_another_form_have_no_label() {
    let data = message(&[(1, b"net")]);
    let (id, source, data) = ((1, &b"7"[..]), (2, &b"urn:x"[..]), (20, &data[..]));
    let right = message(&[id, source, data]);
    assert_eq!(label(&right).unwrap().key, "net");
    // What this version does not know is passed over.
    assert_eq!(label(&message(&[id, source, (13, b""), (13, b""), data, (31, b"later")])), label(&right));
    let (two_keys, no_key, no_text) = (message(&[(1, b"a"), (1, b"b")]), message(&[(2, b"net")]), message(&[(1, b"\xff")]));
    let (empty_key, long_id) = (message(&[(1, b"")]), [b'a'; 129]);
    for wrong in [
        message(&[id, id, source, data]),
        message(&[id, source, source, data]),
        message(&[source, id, data]),
        message(&[id, source, data, (21, data.1)]),
        message(&[id, source, data, data]),
        message(&[id, source]),
        message(&[id, data]),
        message(&[source, data]),
        message(&[id, source, (20, &two_keys)]),
        message(&[id, source, (20, &no_key)]),
        message(&[id, source, (20, &no_text)]),
        message(&[id, source, (20, &empty_key)]),
        message(&[(1, b"a b"), source, data]),
        message(&[(1, "\u{430}".as_bytes()), source, data]),
        message(&[(1, &long_id), source, data]),
        message(&[(1, b""), source, data]),
        message(&[(0, b""), id, source, data]),
        right[..right.len() - 1].to_vec(),
        [&right[..], &[0xa5, 0x02]].concat(),
        [&[0x8a, 0x00, 1, b'7'], &right[3..]].concat(),
        [&[0x0a, 0x81, 0x00, b'7'], &right[3..]].concat(),
        b"event 1 of batch 2".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(label(&wrong), None, "{wrong:?}");
    }
}
