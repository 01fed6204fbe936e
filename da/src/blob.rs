//! The payload of a blob: a prelude, the headers of its batches, then their bodies.
//!
//! Prelude (31 bytes, one field element) and headers (248 = 8 · 31 bytes each) stand first, so that the place of every header
//! follows from the number of batches, which a proof of one header needs.

use bytes::{Bytes, BytesMut};
use tributary_journal::batch::SealedBatch;
use tributary_journal::header::Header;

/// The length of the prelude in bytes.
pub const PRELUDE_BYTES: usize = 31;
const HEADER_BYTES: usize = Header::BYTES;
pub(crate) const MAGIC: [u8; 4] = *b"TRDA";
const VERSION: u8 = 1;

/// Why bytes are no payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BlobError(String);

/// How many payload bytes a batch of this encoded length takes.
pub fn payload_bytes(encoded: impl IntoIterator<Item = usize>) -> usize {
    encoded.into_iter().fold(PRELUDE_BYTES, usize::saturating_add)
}

/// The payload of consecutive batches of one partition. At least one batch, at most 2^32 − 1.
pub fn encode(batches: &[SealedBatch]) -> Bytes {
    let first = batches.first().expect("a blob holds at least one batch: the publisher never plans an empty run");
    let length = payload_bytes(batches.iter().map(|b| b.encoded.len()));
    let count = u32::try_from(batches.len()).expect("a payload of bounded size holds fewer than 2^32 batches of 248 bytes");
    let mut out = BytesMut::with_capacity(length);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0]);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&first.header.partition.get().to_be_bytes());
    out.extend_from_slice(&first.header.seq.get().to_be_bytes());
    out.extend_from_slice(&(length as u64).to_be_bytes());
    debug_assert_eq!(out.len(), PRELUDE_BYTES);
    for batch in batches {
        out.extend_from_slice(&batch.encoded[..HEADER_BYTES]);
    }
    for batch in batches {
        out.extend_from_slice(&batch.encoded[HEADER_BYTES..]);
    }
    debug_assert_eq!(out.len(), length);
    out.freeze()
}

/// The batches of a payload: decoded strictly, consecutive, of one partition and deployment, each naming the hash of the
/// header before it. Every byte of the payload belongs to one of them or to the prelude.
pub fn decode(payload: &[u8]) -> Result<Vec<SealedBatch>, BlobError> {
    let prelude = Prelude::read(payload)?;
    let count = prelude.count as usize;
    let mut rest = &payload[PRELUDE_BYTES + count * HEADER_BYTES..];
    let (headers, _) = payload[PRELUDE_BYTES..].as_chunks::<HEADER_BYTES>();
    let mut batches: Vec<SealedBatch> = Vec::with_capacity(count);
    for (i, header) in headers.iter().take(count).enumerate() {
        let named = |what: String| BlobError(format!("batch {i} of the payload: {what}"));
        let length = Header::decode(header).map_err(|e| named(e.to_string()))?.body_bytes as usize;
        let (body, after) = rest.split_at_checked(length).ok_or_else(|| named("its body is cut short".to_owned()))?;
        rest = after;
        let encoded = Bytes::from([header.as_slice(), body].concat());
        let batch = SealedBatch::decode(encoded).map_err(|e| named(e.to_string()))?;
        match batches.last() {
            None => prelude.check_first(&batch).map_err(named)?,
            Some(before) => check_follows(&before.header, &batch.header).map_err(named)?,
        }
        batches.push(batch);
    }
    if !rest.is_empty() {
        return Err(BlobError(format!("{} bytes follow the last batch", rest.len())));
    }
    Ok(batches)
}

/// Whether batch `b` is the next of the chain after `a`.
pub(crate) fn check_follows(a: &Header, b: &Header) -> Result<(), String> {
    if b.partition != a.partition || b.seq != a.seq.next() {
        return Err(format!("partition {} batch {} follows partition {} batch {}", b.partition, b.seq, a.partition, a.seq));
    }
    if b.deployment != a.deployment {
        return Err("it belongs to another deployment than the batch before it".to_owned());
    }
    if b.previous_hash != a.hash() {
        return Err(format!("it names {} as the header before it, which is {}", b.previous_hash, a.hash()));
    }
    Ok(())
}

/// What the first 31 bytes of a payload say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prelude {
    /// How many batches, at least 1; the length has room for their headers.
    pub(crate) count: u32,
    /// The partition of all batches.
    pub(crate) partition: u32,
    /// The first batch.
    pub(crate) first_seq: u64,
    /// Bytes of the whole payload.
    pub(crate) length: u64,
}

impl Prelude {
    fn read(payload: &[u8]) -> Result<Self, BlobError> {
        let (prelude, _) =
            payload.split_first_chunk::<PRELUDE_BYTES>().ok_or_else(|| BlobError("it is shorter than its prelude".to_owned()))?;
        let prelude = Self::parse(prelude)?;
        if u64::try_from(payload.len()).ok() != Some(prelude.length) {
            return Err(BlobError(format!("it has {} bytes, its prelude says {}", payload.len(), prelude.length)));
        }
        Ok(prelude)
    }

    /// Reads the prelude alone, as a proof brings it.
    pub(crate) fn parse(prelude: &[u8; PRELUDE_BYTES]) -> Result<Self, BlobError> {
        if prelude[..4] != MAGIC {
            return Err(BlobError("it does not begin with TRDA".to_owned()));
        }
        if prelude[4] != VERSION {
            return Err(BlobError(format!("its format version is {}, this binary knows {VERSION}", prelude[4])));
        }
        if prelude[5..7] != [0, 0] {
            return Err(BlobError("its reserved bytes are not zero".to_owned()));
        }
        let (count, length) = (be_u32(&prelude[7..11]), be_u64(&prelude[23..31]));
        let room = length.saturating_sub(PRELUDE_BYTES as u64) / HEADER_BYTES as u64;
        if count == 0 || u64::from(count) > room {
            return Err(BlobError(format!("its prelude counts {count} batches, for which it has no room")));
        }
        Ok(Self { count, partition: be_u32(&prelude[11..15]), first_seq: be_u64(&prelude[15..23]), length })
    }

    fn check_first(&self, batch: &SealedBatch) -> Result<(), String> {
        let (partition, seq) = (batch.header.partition.get(), batch.header.seq.get());
        match (partition, seq) == (self.partition, self.first_seq) {
            true => Ok(()),
            false => Err(format!(
                "it is partition {partition} batch {seq}, the prelude says {} and {}",
                self.partition, self.first_seq
            )),
        }
    }
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}
