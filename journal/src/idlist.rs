//! The identities of a batch, in an object of their own beside it: a new owner of a partition fills its seen-index from them
//! without reading, decompressing and decoding the events. `docs/journal.md` describes every byte.
//!
//! A list follows from its batch. One that is missing is made again from it; the batch alone counts.

use bytes::{BufMut, Bytes, BytesMut};
use object_store::path::Path;
use tributary_schemas::identity::{ContentDigest, Identities, Identity};
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::units::keccak256;

use crate::batch::SealedBatch;
use crate::error::{Damage, JournalError};
use crate::header::Header;
use crate::placement::{self, Placed};
use crate::store::{Journal, batch_path};

/// Bytes of one identity and the digest of its event's content.
const ENTRY_BYTES: usize = 24;
/// Bytes of the hash at the end.
const HASH_BYTES: usize = 32;

/// Identities with the digests of their events, in the order of the events.
pub type Entries = Vec<(Identity, ContentDigest)>;

/// The object of a batch's list.
pub fn path(partition: Partition, seq: Seq) -> Path {
    Path::from(format!("journal/ids/p-{:05}/{:020}.ids", partition.get(), seq.get()))
}

/// The list of a batch, from its events.
///
/// # Errors
/// `Corrupt`, naming the batch, if an event cannot be decoded.
pub fn of_batch(batch: &SealedBatch) -> Result<Entries, JournalError> {
    let object = batch_path(batch.header.partition, batch.header.seq);
    let events = batch.events().map_err(|damage| JournalError::corrupt(object.to_string(), damage))?;
    let (mut identities, mut digests) = (Identities::default(), Vec::with_capacity(events.len()));
    for (ordinal, event) in events.iter().enumerate() {
        let (digest, _) = identities
            .push_recorded(event)
            .map_err(|error| JournalError::corrupt(format!("{object}, event {ordinal}"), error))?;
        digests.push(digest);
    }
    Ok(identities.hash().into_iter().zip(digests).collect())
}

/// The object: the batch's header, the entries, the hash of both.
pub fn encode(header: &Header, entries: &[(Identity, ContentDigest)]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(Header::BYTES + entries.len() * ENTRY_BYTES + HASH_BYTES);
    bytes.put_slice(&header.encode());
    for (identity, digest) in entries {
        bytes.put_slice(&identity.0);
        bytes.put_slice(&digest.0);
    }
    let hash = keccak256(&bytes);
    bytes.put_slice(hash.as_slice());
    bytes.freeze()
}

/// The header and the entries of a list.
///
/// # Errors
/// [`Damage`] that names what is wrong.
pub fn decode(bytes: &[u8]) -> Result<(Header, Entries), Damage> {
    let header = Header::decode(bytes)?;
    let expected = Header::BYTES + header.events as usize * ENTRY_BYTES + HASH_BYTES;
    if bytes.len() != expected {
        return Err(Damage::IdsLength { expected, found: bytes.len() });
    }
    let (covered, hash) = bytes.split_at(expected - HASH_BYTES);
    if keccak256(covered).as_slice() != hash {
        return Err(Damage::IdsHash);
    }
    let (entries, _) = covered[Header::BYTES..].as_chunks::<ENTRY_BYTES>();
    let entry = |bytes: &[u8; ENTRY_BYTES]| {
        let (identity, digest) = bytes.split_first_chunk::<16>().expect("24 bytes begin with 16");
        let digest = digest.first_chunk::<8>().expect("and end with 8");
        (Identity(*identity), ContentDigest(*digest))
    };
    Ok((header, entries.iter().map(entry).collect()))
}

impl Journal {
    /// Writes the list of a batch, unless it is there.
    ///
    /// # Errors
    /// `Retry` if the store does not answer, `Corrupt` if another list lies there.
    pub async fn put_ids(&self, header: &Header, entries: &[(Identity, ContentDigest)]) -> Result<(), JournalError> {
        let path = path(header.partition, header.seq);
        match placement::place(&**self.store(), &path, &encode(header, entries)).await {
            Ok(Placed::Ours) => Ok(()),
            Ok(Placed::Theirs(_)) => Err(JournalError::corrupt(path.to_string(), "it is not the list of its batch")),
            Err(error) => Err(JournalError::store(&path, &error)),
        }
    }

    /// The list of a batch with the batch's header, if it was written. The header is checked against its hash only: whoever uses
    /// it checks its place in the chain.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, `Retry` if the store does not answer.
    pub async fn ids(&self, partition: Partition, seq: Seq) -> Result<Option<(Header, Entries)>, JournalError> {
        let path = path(partition, seq);
        let found = placement::read(&**self.store(), &path).await.map_err(|error| JournalError::store(&path, &error))?;
        let Some(bytes) = found else { return Ok(None) };
        let corrupt = |reason: &dyn std::fmt::Display| JournalError::corrupt(path.to_string(), reason);
        let (header, entries) = decode(&bytes).map_err(|damage| corrupt(&damage))?;
        if (header.deployment, header.partition, header.seq) != (self.genesis().deployment, partition, seq) {
            return Err(corrupt(&"it is the list of another batch"));
        }
        Ok(Some((header, entries)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::batch::Contents;
    use crate::genesis::DeploymentId;
    use crate::simulation::event;
    use tributary_schemas::ids::{Offset, Timestamp};
    use tributary_schemas::units::Hash;

    fn batch() -> SealedBatch {
        let time = Timestamp::from_micros(5).unwrap();
        let contents = Contents {
            deployment: DeploymentId([1; 16]),
            partition: Partition::new(0).unwrap(),
            previous: None,
            next_offset: Offset::new(3).unwrap(),
            last_record_hash: Hash::ZERO,
            times: (time, time),
            sealed_at: time,
            events: ["a", "b", "c"].iter().map(|id| event("key", id, 1).value).collect(),
        };
        SealedBatch::seal(contents).unwrap()
    }

    #[test]
    fn a_list_comes_back_as_it_went_in_and_no_flipped_byte_passes() {
        let batch = batch();
        let entries = of_batch(&batch).unwrap();
        assert_eq!(entries.len(), 3);
        let encoded = encode(&batch.header, &entries);
        assert_eq!(decode(&encoded).unwrap(), (batch.header.clone(), entries.clone()));
        for at in 0..encoded.len() {
            let mut flipped = encoded.to_vec();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_err(), "byte {at}");
        }
        assert!(decode(&encoded[..encoded.len() - 1]).is_err());
        assert_eq!(path(batch.header.partition, batch.header.seq).to_string(), "journal/ids/p-00000/00000000000000000000.ids");
    }
}
