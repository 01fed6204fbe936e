//! The header of a sealed batch: 248 bytes that say what the body is, and chain it to the batch before.

use tributary_schemas::ids::{Offset, Partition, Seq, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use crate::batch::BODY_BYTES_MAX;
use crate::error::Damage;
use crate::genesis::DeploymentId;

/// How the body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// The framed events as they are.
    Verbatim,
    /// One zstd frame with a checksum.
    Zstd,
}

/// What is known of a batch without its body. A value of this type keeps every rule of `docs/journal.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the body is stored.
    pub codec: Codec,
    /// Whether it records a gap of the log instead of events: [`crate::gap::Decision`] is its body.
    pub gap: bool,
    /// The partition it belongs to.
    pub partition: Partition,
    /// The deployment it belongs to.
    pub deployment: DeploymentId,
    /// Its place in the partition, from 0 without a gap.
    pub seq: Seq,
    /// The first offset of the log that it covers: `next_offset` of the batch before, 0 for the first.
    pub first_offset: Offset,
    /// The offset after the last that it covers; greater than `first_offset`. After a gap: where the log goes on, anywhere.
    pub next_offset: Offset,
    /// How many events it holds; 0 when every record was a duplicate.
    pub events: u32,
    /// Bytes of the body before compression.
    pub raw_bytes: u32,
    /// Bytes of the body as stored.
    pub body_bytes: u32,
    /// The least event time; the Unix epoch for an empty batch.
    pub time_min: Timestamp,
    /// The greatest event time; the Unix epoch for an empty batch.
    pub time_max: Timestamp,
    /// When it was sealed; never before the batch before it.
    pub sealed_at: Timestamp,
    /// `LoggedRecord::hash` of the record at `next_offset − 1`; zero after a gap if the log does not hold that record.
    pub last_record_hash: Hash,
    /// The Merkle root of its events; zero for an empty batch.
    pub root: Hash,
    /// keccak-256 of the body as stored.
    pub body_hash: Hash,
    /// [`Header::hash`] of the batch before; zero for the first.
    pub previous_hash: Hash,
}

const MAGIC: &[u8; 4] = b"TRIB";
const VERSION: u8 = 1;
/// Bytes of the fields, which the header's own hash covers.
const FIELDS_BYTES: usize = 216;

impl Header {
    /// Bytes of an encoded header.
    pub const BYTES: usize = FIELDS_BYTES + 32;

    /// keccak-256 of the encoded fields: the name of the batch in its chain.
    pub fn hash(&self) -> Hash {
        keccak256(self.fields())
    }

    /// The 248 bytes: the fields and their hash.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let fields = self.fields();
        let mut bytes = [0; Self::BYTES];
        bytes[..FIELDS_BYTES].copy_from_slice(&fields);
        bytes[FIELDS_BYTES..].copy_from_slice(keccak256(fields).as_slice());
        bytes
    }

    /// Reads the first 248 bytes of `bytes`, which may go on with a body.
    ///
    /// # Errors
    /// [`Damage`] that names the first thing wrong; no flipped bit passes, since the hash covers every field.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let Some(header) = bytes.first_chunk::<{ Self::BYTES }>() else {
            return Err(Damage::HeaderTruncated(bytes.len()));
        };
        if !header.starts_with(MAGIC) {
            return Err(Damage::Magic);
        }
        if header[4] != VERSION {
            return Err(Damage::Version(header[4]));
        }
        let (fields, own_hash) = header.split_at(FIELDS_BYTES);
        if keccak256(fields).as_slice() != own_hash {
            return Err(Damage::HeaderHash);
        }
        let header = Self::from_fields(fields)?;
        header.check().map(|()| header)
    }

    /// The rules between fields.
    ///
    /// # Errors
    /// [`Damage::Field`] with the field that breaks one.
    pub fn check(&self) -> Result<(), Damage> {
        let zero_epoch = self.time_min.micros() == 0 && self.time_max.micros() == 0;
        let covered = self.next_offset.get().saturating_sub(self.first_offset.get());
        let rules = [
            (self.gap || self.next_offset > self.first_offset, "next_offset"),
            (self.events == 0 || (!self.gap && u64::from(self.events) <= covered), "events"),
            (self.raw_bytes <= BODY_BYTES_MAX, "raw_bytes"),
            (u64::from(self.raw_bytes) >= 4 * u64::from(self.events), "raw_bytes"),
            ((self.events == 0 && !self.gap) == (self.raw_bytes == 0), "raw_bytes"),
            (self.codec != Codec::Verbatim || self.body_bytes == self.raw_bytes, "body_bytes"),
            (self.codec != Codec::Zstd || self.body_bytes < self.raw_bytes, "body_bytes"),
            (self.time_min <= self.time_max, "time_min"),
            (self.events > 0 || zero_epoch, "time_max"),
            ((self.events == 0) == self.root.is_zero(), "root"),
            ((self.seq == Seq::FIRST) == self.previous_hash.is_zero(), "previous_hash"),
            (self.seq > Seq::FIRST || self.first_offset == Offset::FIRST, "first_offset"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, field)| Err(Damage::Field(field)))
    }

    fn fields(&self) -> [u8; FIELDS_BYTES] {
        let mut to = Writer { bytes: [0; FIELDS_BYTES], at: 0 };
        to.put(MAGIC);
        to.put(&[VERSION, u8::from(self.codec == Codec::Zstd), u8::from(self.gap), 0]);
        to.put(&self.partition.get().to_be_bytes());
        to.put(&self.deployment.0);
        to.put(&self.seq.get().to_be_bytes());
        to.put(&self.first_offset.get().to_be_bytes());
        to.put(&self.next_offset.get().to_be_bytes());
        to.put(&self.events.to_be_bytes());
        to.put(&self.raw_bytes.to_be_bytes());
        to.put(&self.body_bytes.to_be_bytes());
        to.put(&self.time_min.micros().to_be_bytes());
        to.put(&self.time_max.micros().to_be_bytes());
        to.put(&self.sealed_at.micros().to_be_bytes());
        for hash in [&self.last_record_hash, &self.root, &self.body_hash, &self.previous_hash] {
            to.put(hash.as_slice());
        }
        assert_eq!(to.at, FIELDS_BYTES, "the fields fill their 216 bytes");
        to.bytes
    }

    fn from_fields(fields: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(&fields[5..]);
        let codec = match from.take::<1>() {
            [0] => Codec::Verbatim,
            [1] => Codec::Zstd,
            _ => return Err(Damage::Field("codec")),
        };
        let gap = match from.take::<1>() {
            [0] => false,
            [1] => true,
            _ => return Err(Damage::Field("gap")),
        };
        if from.take::<1>() != [0] {
            return Err(Damage::Field("reserved"));
        }
        Ok(Self {
            codec,
            gap,
            partition: Partition::new(from.u32()).ok_or(Damage::Field("partition"))?,
            deployment: DeploymentId(from.take()),
            seq: Seq::new(from.u64()).ok_or(Damage::Field("seq"))?,
            first_offset: Offset::new(from.u64()).ok_or(Damage::Field("first_offset"))?,
            next_offset: Offset::new(from.u64()).ok_or(Damage::Field("next_offset"))?,
            events: from.u32(),
            raw_bytes: from.u32(),
            body_bytes: from.u32(),
            time_min: from.timestamp().ok_or(Damage::Field("time_min"))?,
            time_max: from.timestamp().ok_or(Damage::Field("time_max"))?,
            sealed_at: from.timestamp().ok_or(Damage::Field("sealed_at"))?,
            last_record_hash: from.take().into(),
            root: from.take().into(),
            body_hash: from.take().into(),
            previous_hash: from.take().into(),
        })
    }
}

/// Appends fields one after the other.
struct Writer {
    bytes: [u8; FIELDS_BYTES],
    at: usize,
}

impl Writer {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

/// Takes fields off the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the fields add up to the 216 bytes that the caller cut off");
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    fn timestamp(&mut self) -> Option<Timestamp> {
        Timestamp::from_micros(i64::from_be_bytes(self.take()))
    }
}
