//! A glance agrees with the decoder wherever it is given, and is given for what makes up most of the record.

use proptest::prelude::*;

use super::super::{Glance, decode, encode, encode_data, glance};
use crate::event::EventData;
use crate::samples;

/// What the decoder says of bytes that a glance was given for.
fn agrees(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Some(Glance { source, event_type, id, key, time, data }) = glance(bytes) else { return Ok(false) };
    let event = decode(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&encode(&event)[..], bytes, "the bytes are not those of the event");
    let draft = event.draft;
    prop_assert_eq!((source, event_type, id), (draft.source.as_str(), draft.event_type(), draft.id.as_str()));
    prop_assert_eq!((key, time), (draft.key(), draft.time));
    let mut expected = Vec::new();
    encode_data(&draft.data, &mut expected);
    prop_assert_eq!(data, expected);
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_glance_tells_what_the_decoder_tells(event in samples::event()) {
        let is_given = agrees(&encode(&event))?;
        let in_order = match &event.draft.data {
            EventData::InferenceCompleted(_) => true,
            EventData::AttributionTraced(data) => data.entries.is_sorted_by_key(|entry| &entry.contribution_id),
            _ => false,
        };
        prop_assert_eq!(is_given, in_order && event.draft.extensions.is_empty());
    }

    #[test]
    fn of_damaged_bytes_a_glance_is_given_only_if_they_are_an_event(
        event in samples::event(),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = encode(&event).to_vec();
        for (place, byte, kind) in damages {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => bytes[place] ^= 1 << (byte % 8),
                2 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        agrees(&bytes)?;
    }
}
