//! A sealed batch, read byte by byte as docs/journal.md describes it.

use alloy_primitives::{B256, keccak256};
use serde_json::Value;

const HEADER_BYTES: usize = 248;
/// The fields, which the header's own hash covers.
const FIELDS_BYTES: usize = 216;
const BODY_BYTES_MAX: u32 = 900_000;

/// What a header says.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub codec: u8,
    pub is_gap: bool,
    pub partition: u32,
    pub deployment: [u8; 16],
    pub seq: u64,
    pub first_offset: u64,
    pub next_offset: u64,
    pub events: u32,
    pub raw_bytes: u32,
    pub body_bytes: u32,
    pub time_min: i64,
    pub time_max: i64,
    pub sealed_at: i64,
    pub root: B256,
    pub body_hash: B256,
    pub previous_hash: B256,
    /// The name of the batch in its chain.
    pub hash: B256,
}

/// A header with its body, which is what its header says.
pub(super) struct Batch {
    pub header: Header,
    /// The body before compression.
    raw: Vec<u8>,
}

impl Batch {
    /// Reads an object.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let header = Header::read(bytes)?;
        let stored = &bytes[HEADER_BYTES..];
        let (raw_bytes, body_bytes) = (header.raw_bytes as usize, header.body_bytes as usize);
        holds(stored.len() == body_bytes, || format!("the body has {} bytes, not {body_bytes}", stored.len()))?;
        holds(keccak256(stored) == header.body_hash, || "the body differs from its hash".to_owned())?;
        let raw = match header.codec {
            0 => stored.to_vec(),
            _ => zstd::bulk::decompress(stored, raw_bytes).map_err(|e| format!("the body cannot be decompressed: {e}"))?,
        };
        holds(raw.len() == raw_bytes, || format!("the body has {} bytes before compression, not {raw_bytes}", raw.len()))?;
        let batch = Self { header, raw };
        let root = root(&batch.events()?);
        holds(root == batch.header.root, || format!("the root is {}, the events give {root}", batch.header.root))?;
        Ok(batch)
    }

    /// The bytes of each event.
    pub fn events(&self) -> Result<Vec<&[u8]>, String> {
        if self.header.is_gap {
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        let mut rest = self.raw.as_slice();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk().ok_or("the length of an event is cut short")?;
            let length = u32::from_be_bytes(*length) as usize;
            let (event, after) = after.split_at_checked(length).ok_or("an event is cut short")?;
            events.push(event);
            rest = after;
        }
        let said = self.header.events as usize;
        holds(events.len() == said, || format!("the body holds {} events, not {said}", events.len()))?;
        Ok(events)
    }

    /// Why an operator went on behind a gap: the body of a batch that records one.
    pub fn reason(&self) -> Result<String, String> {
        let decision: Value = serde_json::from_slice(&self.raw).map_err(|e| format!("a gap without its decision: {e}"))?;
        let reason = decision["reason"].as_str().filter(|reason| !reason.is_empty());
        Ok(reason.ok_or_else(|| format!("a gap without a reason: {decision}"))?.to_owned())
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or("the header is cut short")?;
        let (fields, own_hash) = header.split_at(FIELDS_BYTES);
        let hash = keccak256(fields);
        let mut fields = Fields(fields);
        let magic: [u8; 4] = fields.take()?;
        holds(magic == *b"TRIB", || format!("the magic is {magic:?}"))?;
        let [version] = fields.take()?;
        holds(version == 1, || format!("the version is {version}"))?;
        holds(hash.as_slice() == own_hash, || "the header differs from its hash".to_owned())?;
        let [codec, gap, reserved] = fields.take()?;
        holds(gap <= 1, || format!("the flag of a gap is {gap}"))?;
        holds(reserved == 0, || format!("the reserved byte is {reserved}"))?;
        let partition = fields.u32()?;
        let deployment = fields.take()?;
        let (seq, first_offset, next_offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (events, raw_bytes, body_bytes) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (time_min, time_max, sealed_at) = (fields.i64()?, fields.i64()?, fields.i64()?);
        // Of the record before next_offset only the log knows more than its hash.
        let _last_record_hash = fields.hash()?;
        let (root, body_hash, previous_hash) = (fields.hash()?, fields.hash()?, fields.hash()?);
        let header = Self {
            codec,
            is_gap: gap == 1,
            partition,
            deployment,
            seq,
            first_offset,
            next_offset,
            events,
            raw_bytes,
            body_bytes,
            time_min,
            time_max,
            sealed_at,
            root,
            body_hash,
            previous_hash,
            hash,
        };
        header.check()?;
        Ok(header)
    }

    /// The rules of the table in docs/journal.md.
    fn check(&self) -> Result<(), String> {
        const PARTITION_LIMIT: u32 = 1 << 31;
        const HALF: u64 = 1 << 63;
        let covered = self.next_offset.saturating_sub(self.first_offset);
        let is_empty = self.events == 0;
        let rules = [
            ("codec", self.codec <= 1),
            ("partition", self.partition < PARTITION_LIMIT),
            ("seq", self.seq < HALF),
            ("first_offset", self.first_offset < HALF),
            ("next_offset", self.next_offset < HALF && (self.is_gap || self.next_offset > self.first_offset)),
            ("events", if self.is_gap { is_empty } else { u64::from(self.events) <= covered }),
            ("raw_bytes", self.raw_bytes <= BODY_BYTES_MAX && (self.is_gap || is_empty == (self.raw_bytes == 0))),
            ("body_bytes", if self.codec == 0 { self.body_bytes == self.raw_bytes } else { self.body_bytes < self.raw_bytes }),
            ("time_min", self.time_min <= self.time_max),
            ("time_max", !is_empty || (self.time_min, self.time_max) == (0, 0)),
            ("root", is_empty == self.root.is_zero()),
            ("previous_hash", (self.seq == 0) == self.previous_hash.is_zero()),
            ("first_offset of batch 0", self.seq > 0 || self.first_offset == 0),
        ];
        let broken = rules.iter().find(|(_, holds)| !holds);
        broken.map_or(Ok(()), |(field, _)| Err(format!("the field {field} breaks its rule: {self:?}")))
    }

    /// What must hold between a batch and the one before.
    pub fn check_follows(&self, before: &Self) -> Result<(), String> {
        let rules = [
            ("previous_hash", self.previous_hash == before.hash),
            ("first_offset", self.first_offset == before.next_offset),
            ("sealed_at", self.sealed_at >= before.sealed_at),
        ];
        let broken = rules.iter().find(|(_, holds)| !holds);
        broken.map_or(Ok(()), |(field, _)| Err(format!("{field} does not continue batch {}: {self:?}", before.seq)))
    }
}

/// Takes fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (field, rest) = self.0.split_first_chunk().ok_or("the header is cut short")?;
        self.0 = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.take().map(i64::from_be_bytes)
    }

    fn hash(&mut self) -> Result<B256, String> {
        self.take().map(B256::new)
    }
}

fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}

/// The root of the tree that docs/journal.md describes; zero without events.
pub(super) fn root(events: &[&[u8]]) -> B256 {
    let leaf = |(event, ordinal): (&&[u8], u32)| {
        let mut bytes = ordinal.to_be_bytes().to_vec();
        bytes.extend_from_slice(event);
        keccak256(keccak256(bytes))
    };
    let mut leaves: Vec<B256> = events.iter().zip(0..).map(leaf).collect();
    leaves.sort_unstable();
    let Some(last) = (2 * leaves.len()).checked_sub(2) else { return B256::ZERO };
    let mut nodes = vec![B256::ZERO; last + 1];
    for (n, leaf) in leaves.iter().enumerate() {
        nodes[last - n] = *leaf;
    }
    for node in (0..leaves.len() - 1).rev() {
        let mut children = [nodes[2 * node + 1], nodes[2 * node + 2]];
        children.sort_unstable();
        nodes[node] = keccak256(children.map(|child| child.0).concat());
    }
    nodes[0]
}
