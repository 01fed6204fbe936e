//! What makes two events the same event, and what tells whether they say the same.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::event::{Draft, EventType};
use crate::ids::Timestamp;
use crate::keccak::keccak256_each;
use crate::protobuf::{self, DecodeError, Glance};
use crate::units::{Hash, keccak256};

/// The identity of an event: (`source`, `type`, `id`, key). A second event with the same identity has no effect.
///
/// Sixteen bytes of keccak-256: two of 2^50 events collide with a chance of about 2^−29.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    /// The identity of this event.
    pub fn of(draft: &Draft) -> Self {
        Self::of_parts(&draft.source, draft.event_type(), &draft.id, draft.key())
    }

    /// The identity of the event with these attributes: the first 16 bytes of keccak-256 over the four texts, each after its
    /// length as four bytes, big-endian.
    pub fn of_parts(source: &str, event_type: EventType, id: &str, key: &str) -> Self {
        let mut text = Vec::with_capacity(16 + source.len() + id.len() + key.len() + 40);
        put_text(&mut text, [source, event_type.as_str(), id, key]);
        Self::of_hash(&keccak256(&text))
    }

    fn of_hash(hash: &Hash) -> Self {
        Self(hash.first_chunk().copied().expect("a hash has 32 bytes"))
    }
}

/// The identities of many events: hashed together, they take a fraction of the time.
#[derive(Default)]
pub struct Identities {
    texts: Vec<u8>,
    /// Where the text of each event ends.
    ends: Vec<usize>,
}

impl Identities {
    /// Takes in one more event.
    pub fn push(&mut self, draft: &Draft) {
        self.push_parts([draft.source.as_str(), draft.event_type().as_str(), draft.id.as_str(), draft.key()]);
    }

    /// Takes in the event of these bytes, as they were recorded, and gives what else deduplication asks of it.
    ///
    /// # Errors
    /// [`DecodeError`] if they are no event; nothing was taken in then.
    pub fn push_recorded(&mut self, bytes: &[u8]) -> Result<(ContentDigest, Timestamp), DecodeError> {
        if let Some(Glance { source, event_type, id, key, time, data }) = protobuf::glance(bytes) {
            self.push_parts([source, event_type.as_str(), id, key]);
            return Ok((ContentDigest::of_parts(time, data), time));
        }
        let draft = protobuf::decode(bytes)?.draft;
        self.push(&draft);
        Ok((ContentDigest::of(&draft), draft.time))
    }

    fn push_parts(&mut self, parts: [&str; 4]) {
        put_text(&mut self.texts, parts);
        self.ends.push(self.texts.len());
    }

    /// The identities in the order in which the events were taken in.
    pub fn hash(&self) -> Vec<Identity> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let texts: Vec<[&[u8]; 1]> = begins.zip(&self.ends).map(|(begin, end)| [&self.texts[begin..*end]]).collect();
        keccak256_each(&texts).iter().map(Identity::of_hash).collect()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:032x})", u128::from_be_bytes(self.0))
    }
}

/// What an event says: (`data`, `time`). Two events of one identity with different digests are a conflict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest(pub [u8; 8]);

impl ContentDigest {
    /// The digest of this event: the first 8 bytes of SHA-256 (which processors compute themselves) over its time in microseconds (eight bytes, big-endian) and
    /// its data in protobuf, including the tag that says of which type it is.
    pub fn of(draft: &Draft) -> Self {
        let mut data = Vec::with_capacity(512);
        protobuf::encode_data(&draft.data, &mut data);
        Self::of_parts(draft.time, &data)
    }

    fn of_parts(time: Timestamp, data: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(time.micros().to_be_bytes()).chain_update(data).finalize();
        Self(hash.first_chunk().copied().expect("a hash has 32 bytes"))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentDigest({:016x})", u64::from_be_bytes(self.0))
    }
}

fn put_text(text: &mut Vec<u8>, parts: [&str; 4]) {
    for part in parts {
        let length = u32::try_from(part.len()).expect("attributes and keys have at most 256 bytes");
        text.extend_from_slice(&length.to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_and_moving_a_character_between_parts_changes_the_identity() {
        let of = |source, kind, id, key| Identity::of_parts(source, kind, id, key);
        let base = of("urn:a", EventType::ModelRegistered, "1", "m");
        assert_eq!(base, of("urn:a", EventType::ModelRegistered, "1", "m"));
        for other in [
            of("urn:b", EventType::ModelRegistered, "1", "m"),
            of("urn:a", EventType::ModelUpdated, "1", "m"),
            of("urn:a", EventType::ModelRegistered, "2", "m"),
            of("urn:a", EventType::ModelRegistered, "1", "n"),
            of("urn:a", EventType::ModelRegistered, "1m", ""),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_identity_is_the_documented_hash() {
        let mut text = Vec::new();
        for part in ["urn:a", "tributary.policy.set.v1", "e1", "global"] {
            text.extend_from_slice(&u32::try_from(part.len()).expect("short").to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let expected = keccak256(&text);
        assert_eq!(Identity::of_parts("urn:a", EventType::PolicySet, "e1", "global").0, expected[..16]);
    }
}
