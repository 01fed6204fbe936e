//! The sealed batch: a header and the verbatim bytes of consecutive events.

use bytes::{BufMut, Bytes, BytesMut};
use tributary_schemas::ids::{Offset, Partition, Seq, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use crate::error::Damage;
use crate::genesis::DeploymentId;
use crate::header::{Codec, Header};
use crate::merkle::{Tree, event_leaves};

/// The most bytes of a body, before and after compression. With the header a batch so has at most 900,248 bytes, which
/// fits one blob.
pub const BODY_BYTES_MAX: u32 = 900_000;

/// Bytes of the length before each event in the body.
pub const EVENT_PREFIX_BYTES: usize = 4;

/// Bodies of the recorded flywheel: level 3 makes them 2.5 % smaller in one and a half times the time, level 1 makes them 8 % larger in
/// six sevenths of it.
const ZSTD_LEVEL: i32 = 2;

/// What goes into a batch.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The partition.
    pub partition: Partition,
    /// The header of the batch before it, `None` for the first of the partition.
    pub previous: Option<Header>,
    /// The offset after the last record covered.
    pub next_offset: Offset,
    /// The hash of that last record.
    pub last_record_hash: Hash,
    /// The least and the greatest event time; not looked at without events.
    pub times: (Timestamp, Timestamp),
    /// Now; moved up to the previous batch's if that is later.
    pub sealed_at: Timestamp,
    /// The verbatim bytes of the events, in order.
    pub events: Vec<Bytes>,
}

/// A batch as it lies in the store: immutable, and checked when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// What is known without the body.
    pub header: Header,
    /// The whole object: header ‖ body.
    pub encoded: Bytes,
}

impl SealedBatch {
    /// Seals: frames, hashes and compresses.
    ///
    /// # Errors
    /// [`Damage::TooLarge`] if the framed events exceed [`BODY_BYTES_MAX`], [`Damage::Field`] if the contents break a rule
    /// of the header.
    pub fn seal(contents: Contents) -> Result<Self, Damage> {
        let raw = frame(&contents.events)?;
        Self::of(&contents, &raw, false)
    }

    /// Seals the record of a gap: no events, and this text as its body.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub(crate) fn seal_gap(contents: Contents, decision: &str) -> Result<Self, Damage> {
        Self::of(&Contents { events: Vec::new(), ..contents }, &Bytes::copy_from_slice(decision.as_bytes()), true)
    }

    fn of(contents: &Contents, raw: &Bytes, gap: bool) -> Result<Self, Damage> {
        let (codec, body) = compress(raw);
        let epoch = Timestamp::from_micros(0).expect("the Unix epoch lies between the years 0 and 9999");
        let (time_min, time_max) = if contents.events.is_empty() { (epoch, epoch) } else { contents.times };
        let previous = contents.previous.as_ref();
        let header = Header {
            codec,
            gap,
            partition: contents.partition,
            deployment: contents.deployment,
            seq: previous.map_or(Seq::FIRST, |header| header.seq.next()),
            first_offset: previous.map_or(Offset::FIRST, |header| header.next_offset),
            next_offset: contents.next_offset,
            events: length(contents.events.len())?,
            raw_bytes: length(raw.len())?,
            body_bytes: length(body.len())?,
            time_min,
            time_max,
            sealed_at: previous.map_or(contents.sealed_at, |header| header.sealed_at.max(contents.sealed_at)),
            last_record_hash: contents.last_record_hash,
            root: tree_of(&contents.events).root(),
            body_hash: keccak256(&body),
            previous_hash: previous.map_or(Hash::ZERO, Header::hash),
        };
        header.check()?;
        let mut encoded = BytesMut::with_capacity(Header::BYTES + body.len());
        encoded.put_slice(&header.encode());
        encoded.put_slice(&body);
        Ok(Self { header, encoded: encoded.freeze() })
    }

    /// Checks header hash, lengths and body hash. The Merkle root is checked by [`Self::verify_root`] alone, which costs
    /// three hashes per event: the header's hash already covers it.
    ///
    /// # Errors
    /// [`Damage`] that names what is wrong.
    pub fn decode(encoded: Bytes) -> Result<Self, Damage> {
        let header = Header::decode(&encoded)?;
        let body = &encoded[Header::BYTES..];
        if body.len() != header.body_bytes as usize {
            return Err(Damage::BodyLength { expected: header.body_bytes, found: body.len() });
        }
        if keccak256(body) != header.body_hash {
            return Err(Damage::BodyHash);
        }
        Ok(Self { header, encoded })
    }

    /// The body as stored.
    pub fn body(&self) -> Bytes {
        self.encoded.slice(Header::BYTES..)
    }

    /// The verbatim bytes of every event, in order, as parts of one buffer.
    ///
    /// # Errors
    /// [`Damage`] if the body is not what the header says, which only a faulty sealer can bring about.
    pub fn events(&self) -> Result<Vec<Bytes>, Damage> {
        if self.header.gap {
            return Ok(Vec::new());
        }
        unframe(self.raw()?, self.header.events)
    }

    /// The body before compression.
    pub(crate) fn raw(&self) -> Result<Bytes, Damage> {
        match self.header.codec {
            Codec::Verbatim => Ok(self.body()),
            Codec::Zstd => decompress(&self.body(), self.header.raw_bytes),
        }
    }

    /// Checks that the events have the root that the header says.
    ///
    /// # Errors
    /// [`Damage::Root`] if not, or what [`Self::events`] gives.
    pub fn verify_root(&self) -> Result<(), Damage> {
        if tree_of(&self.events()?).root() == self.header.root { Ok(()) } else { Err(Damage::Root) }
    }

    /// The tree over the events, to make many proofs.
    ///
    /// # Errors
    /// What [`Self::events`] gives.
    pub fn tree(&self) -> Result<Tree, Damage> {
        Ok(tree_of(&self.events()?))
    }

    /// The proof that the event at this place is in the batch, against the header's root.
    ///
    /// # Errors
    /// [`Damage::Field`] without such an event, or what [`Self::events`] gives.
    pub fn proof(&self, ordinal: u32) -> Result<Vec<Hash>, Damage> {
        if ordinal >= self.header.events {
            return Err(Damage::Field("events"));
        }
        Ok(self.tree()?.proof(ordinal as usize))
    }
}

fn tree_of(events: &[Bytes]) -> Tree {
    Tree::new(event_leaves(events))
}

fn length(bytes: usize) -> Result<u32, Damage> {
    u32::try_from(bytes).map_err(|_| Damage::TooLarge(bytes))
}

/// length ‖ event for each, the length as 4 bytes big-endian.
fn frame(events: &[Bytes]) -> Result<Bytes, Damage> {
    let bytes: usize = events.iter().map(|event| EVENT_PREFIX_BYTES + event.len()).sum();
    if bytes > BODY_BYTES_MAX as usize {
        return Err(Damage::TooLarge(bytes));
    }
    let mut raw = BytesMut::with_capacity(bytes);
    for event in events {
        raw.put_u32(length(event.len())?);
        raw.put_slice(event);
    }
    Ok(raw.freeze())
}

fn unframe(raw: Bytes, count: u32) -> Result<Vec<Bytes>, Damage> {
    let damage = Damage::Framing(count);
    let mut events = Vec::with_capacity((count as usize).min(raw.len() / EVENT_PREFIX_BYTES));
    let mut at = 0;
    while let Some(prefix) = raw[at..].first_chunk::<EVENT_PREFIX_BYTES>() {
        let start = at + EVENT_PREFIX_BYTES;
        let end = start + u32::from_be_bytes(*prefix) as usize;
        if end > raw.len() {
            return Err(damage);
        }
        events.push(raw.slice(start..end));
        at = end;
    }
    if at != raw.len() || events.len() != count as usize {
        return Err(damage);
    }
    Ok(events)
}

/// The smaller of both; verbatim when they are equal, so that a body has one form.
fn compress(raw: &Bytes) -> (Codec, Bytes) {
    let compressed = zstd::bulk::Compressor::new(ZSTD_LEVEL).and_then(|mut compressor| {
        compressor.include_checksum(true)?;
        compressor.compress(raw)
    });
    match compressed {
        Ok(body) if body.len() < raw.len() => (Codec::Zstd, body.into()),
        // A compressor that fails for want of memory is no reason to stop sealing.
        _ => (Codec::Verbatim, raw.clone()),
    }
}

/// Never allocates more than the header, whose limit is checked, allows.
fn decompress(body: &[u8], raw_bytes: u32) -> Result<Bytes, Damage> {
    let raw = zstd::bulk::decompress(body, raw_bytes as usize).map_err(|_| Damage::Compression)?;
    if raw.len() == raw_bytes as usize { Ok(raw.into()) } else { Err(Damage::Compression) }
}

#[cfg(test)]
mod tests;
