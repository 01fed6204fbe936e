//! The proof of an event: from its recorded bytes to the certificate of its blob, for anybody who knows the blob's id.
//!
//! event bytes → leaf → path → root of the batch → header → eight symbols of the blob, and the prelude's → commitment →
//! certificate → id of the blob. `docs/proofs.md` describes every member and every step.
//!
//! **The id of the blob is all that is trusted.** Everything else is computed or checked: the commitment and the size of the blob
//! come from the certificate; the place of the header comes from the prelude, which is opened too. That matters, because a
//! producer chooses the bytes of its events: it can put bytes there that are a flawless header. With the prelude known, no place
//! but those of the headers counts.
//!
//! **It proves an event, not that it is the one that was asked for**: that is an [`Expected`], for [`Proved::expect`].
//!
//! **What it does not prove**: that the root in the header is that of the events in the blob. It is the sealer's word until
//! somebody recomputes it from the whole blob, which `verify` and `rebuild` do.

mod expected;
mod hex;
mod openings;
mod places;
mod text;

use bytes::Bytes;
use eigenda_client::{Claim, KzgError, Opening, PointError, Symbol};
use serde::{Deserialize, Serialize};
use tributary_journal::{Damage, Header, merkle};
use tributary_schemas::protobuf::{Label, label};
use tributary_schemas::units::{Hash, keccak256};

use crate::blob::{BlobError, Prelude};
use crate::committed;
use crate::committer::BlobCommitment;

pub use expected::Expected;
pub use hex::{Hex, HexBytes};
pub use openings::open;
pub use text::{TEXT_BYTES_MAX, printable};

use places::{HEADER_SYMBOLS, PRELUDE_SYMBOL};

/// An event with everything needed to check it: what GraphQL gives as `event { raw ordinal proof { … } }`, by the same names.
///
/// Members that are not named here are passed over, so that an answer with more in it is a proof as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventProof {
    /// The bytes of the event as recorded.
    pub raw: HexBytes,
    /// Its place in its batch, from 0.
    pub ordinal: u32,
    /// The way from there to the certificate.
    pub proof: Chain,
}

/// The way from an event to the certificate of its blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// The event's leaf in the tree of its batch.
    pub leaf: Hex<32>,
    /// The siblings from the leaf to the root.
    pub path: Vec<Hex<32>>,
    /// The root.
    pub batch_root: Hex<32>,
    /// The header of the batch, which holds the root.
    pub batch_header: Hex<{ Header::BYTES }>,
    /// The blob that holds the header.
    pub blob: Certified,
    /// The proof that it does.
    pub opening: HeaderOpening,
}

/// What is needed of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// Its certificate, byte for byte as the backend gave it.
    pub certificate: HexBytes,
}

/// KZG proofs of the symbols that hold a batch's header, and of the one that holds the prelude.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderOpening {
    /// The places of the header's symbols, ascending.
    pub symbol_indexes: [u32; HEADER_SYMBOLS],
    /// The symbols there.
    pub symbols: [Hex<32>; HEADER_SYMBOLS],
    /// A proof for each.
    pub proofs: [Hex<64>; HEADER_SYMBOLS],
    /// Symbols of the blob.
    pub blob_symbols: u32,
    /// The symbol of the prelude, which says which places are those of headers.
    pub prelude: SymbolOpening,
}

/// The KZG proof of one symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymbolOpening {
    /// Its place.
    pub symbol_index: u32,
    /// The symbol there.
    pub symbol: Hex<32>,
    /// The proof.
    pub proof: Hex<64>,
}

/// What a proof proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The blob: what was trusted.
    pub blob_id: Hash,
    /// Who made its certificate. `local` stands in for a network and is none.
    pub backend: &'static str,
    /// The place of the batch in the blob, from 0.
    pub batch_in_blob: u32,
    /// The batch's header, with deployment, partition, sequence number and root.
    pub header: Header,
    /// The place of the event in the batch.
    pub ordinal: u32,
    /// The event's leaf.
    pub leaf: Hash,
    /// What the proved bytes call themselves; `None` if they do not say it as an event does.
    pub label: Option<Label>,
}

/// The first step at which a proof breaks. The same proof never becomes right: get another, or do not believe the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The text is not of the form.
    #[error("form: {0}")]
    Form(String),
    /// The certificate is another blob's.
    #[error("certificate: its keccak-256 is {found}, the blob that is trusted is {trusted}")]
    BlobId {
        /// What it hashes to.
        found: Hash,
        /// What was trusted.
        trusted: Hash,
    },
    /// The certificate cannot be read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The header breaks a rule of its format.
    #[error("header: {0}")]
    Header(#[from] Damage),
    /// The batch has no event at that place.
    #[error("event: the batch has {events} events, none at {ordinal}")]
    Ordinal {
        /// The place.
        ordinal: u32,
        /// How many there are.
        events: u32,
    },
    /// The event has another leaf.
    #[error("leaf: bytes and ordinal of the event give {computed}")]
    Leaf {
        /// What was computed.
        computed: Hash,
    },
    /// The path leads elsewhere, or to a root that is not the header's.
    #[error("path: {0}")]
    Path(&'static str),
    /// The prelude breaks a rule of its format, or the blob has no room for the payload that it speaks of.
    #[error("prelude: {0}")]
    Prelude(String),
    /// The header is not one of the batches that the prelude counts.
    #[error("place: partition {partition}, batch {seq} is none of the {count} of partition {of} from {first} on")]
    Batch {
        /// The header's partition.
        partition: u32,
        /// The header's batch.
        seq: u64,
        /// How many batches the blob has.
        count: u32,
        /// Of which partition.
        of: u32,
        /// The first of them.
        first: u64,
    },
    /// A symbol is said to be elsewhere than computed, or the blob to have another size than certified.
    #[error("place: {what} is {stated}, computed it is {computed}")]
    Place {
        /// Which member.
        what: &'static str,
        /// What the proof says.
        stated: u32,
        /// What was computed.
        computed: u32,
    },
    /// A symbol does not hold its part of the header, or cannot be one of a payload.
    #[error("symbol {index}: {what}")]
    Symbol {
        /// Its place.
        index: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// A proof is no point of the curve.
    #[error("opening of symbol {index}: {source}")]
    Point {
        /// The place of its symbol.
        index: u32,
        /// What is wrong.
        source: PointError,
    },
    /// The symbols are not those of the blob.
    #[error("opening: {0}")]
    Opening(#[from] KzgError),
    /// All is proved, of bytes that do not say which event they are.
    #[error("expectation: the proved bytes name no source, id and type as an event does")]
    Unnamed,
    /// All is proved, of another event than the expected one.
    #[error("expectation: the {what} of the proved event is `{proved}`, expected is `{expected}`")]
    OtherEvent {
        /// Which member.
        what: &'static str,
        /// What the proved bytes say, fit for a terminal.
        proved: String,
        /// What was expected, fit for a terminal.
        expected: String,
    },
}

impl ProofError {
    /// The stable code that docs/proofs.md lists.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "proof_form",
            Self::BlobId { .. } | Self::Certificate(_) => "proof_certificate",
            Self::Header(_) => "proof_header",
            Self::Ordinal { .. } | Self::Leaf { .. } => "proof_event",
            Self::Path(_) => "proof_path",
            Self::Prelude(_) => "proof_prelude",
            Self::Batch { .. } | Self::Place { .. } => "proof_place",
            Self::Symbol { .. } => "proof_symbol",
            Self::Point { .. } | Self::Opening(_) => "proof_opening",
            Self::Unnamed | Self::OtherEvent { .. } => "proof_other_event",
        }
    }
}

impl From<BlobError> for ProofError {
    fn from(error: BlobError) -> Self {
        Self::Prelude(error.to_string())
    }
}

impl EventProof {
    /// Puts together what was found: the event at its place, the path to the root in this header, and the header's blob.
    pub fn new(event: (u32, Bytes), path: &[Hash], header: &Header, (certificate, opening): (Bytes, HeaderOpening)) -> Self {
        let (ordinal, raw) = event;
        let proof = Chain {
            leaf: merkle::event_leaf(ordinal, &raw).into(),
            path: path.iter().map(|sibling| Hex::from(*sibling)).collect(),
            batch_root: header.root.into(),
            batch_header: Hex(header.encode()),
            blob: Certified { certificate: HexBytes(certificate) },
            opening,
        };
        Self { raw: HexBytes(raw), ordinal, proof }
    }

    /// Reads the text of a proof, or of an answer that has one in it: GraphQL's at `data.event`, or that of
    /// `tributary verify --event … --json` at `event.proof`. What another reader could understand differently is refused.
    ///
    /// # Errors
    /// [`ProofError::Form`] if it is none.
    pub fn parse(text: &[u8]) -> Result<Self, ProofError> {
        let value = text::read(text).map_err(ProofError::Form)?;
        serde_json::from_value(value).map_err(|error| ProofError::Form(text::message(&error)))
    }

    /// Its text: one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a proof has texts, numbers and lists only, all of which JSON can write")
    }

    /// Checks every step up to the blob that is trusted.
    ///
    /// # Errors
    /// [`ProofError`] with the first step that breaks.
    pub fn verify(&self, blob_id: &Hash) -> Result<Proved, ProofError> {
        let (backend, committed) = self.proof.check_certificate(blob_id)?;
        let header = Header::decode(&self.proof.batch_header.0)?;
        let leaf = self.check_event(&header)?;
        let batch_in_blob = self.proof.opening.check(&header, &committed)?;
        Ok(Proved { blob_id: *blob_id, backend, batch_in_blob, header, ordinal: self.ordinal, leaf, label: label(&self.raw.0) })
    }

    /// From the bytes of the event to the root in the header. Gives the leaf.
    fn check_event(&self, header: &Header) -> Result<Hash, ProofError> {
        if self.ordinal >= header.events {
            return Err(ProofError::Ordinal { ordinal: self.ordinal, events: header.events });
        }
        let computed = merkle::event_leaf(self.ordinal, &self.raw.0);
        if computed != self.proof.leaf.hash() {
            return Err(ProofError::Leaf { computed });
        }
        if self.proof.batch_root.hash() != header.root {
            return Err(ProofError::Path("batchRoot is not the root in the header"));
        }
        let path: Vec<Hash> = self.proof.path.iter().map(Hex::<32>::hash).collect();
        match merkle::verify(header.root, computed, &path) {
            true => Ok(computed),
            false => Err(ProofError::Path("it does not lead from the leaf to the root")),
        }
    }
}

impl Chain {
    /// What the blob's certificate commits to, and who made it.
    fn check_certificate(&self, blob_id: &Hash) -> Result<(&'static str, BlobCommitment), ProofError> {
        let certificate = &self.blob.certificate.0;
        let found = keccak256(certificate);
        if found != *blob_id {
            return Err(ProofError::BlobId { found, trusted: *blob_id });
        }
        committed::read(certificate).map_err(ProofError::Certificate)
    }
}

impl HeaderOpening {
    /// From the header to the commitment. Gives the place of the header among those of the blob.
    fn check(&self, header: &Header, committed: &BlobCommitment) -> Result<u32, ProofError> {
        let index = self.check_prelude(header, committed)?;
        let computed = places::of_header(index).ok_or_else(|| ProofError::Prelude("it counts too many batches".to_owned()))?;
        for (stated, computed) in self.symbol_indexes.into_iter().zip(computed) {
            same("symbolIndexes", stated, computed)?;
        }
        let encoded = header.encode();
        let (parts, _) = encoded.as_chunks::<{ Symbol::PAYLOAD_BYTES }>();
        let mut proven = vec![self.prelude.proven()?];
        for (at, part) in parts.iter().enumerate() {
            let one = SymbolOpening { symbol_index: computed[at], symbol: self.symbols[at], proof: self.proofs[at] };
            if one.payload()? != part {
                return Err(ProofError::Symbol { index: computed[at], what: "it is not this part of the header" });
            }
            proven.push(one.proven()?);
        }
        Opening::check_all(&proven, &committed.commitment, committed.domain)?;
        Ok(index)
    }

    /// What the prelude says of places; that the blob holds it, its opening shows.
    fn check_prelude(&self, header: &Header, committed: &BlobCommitment) -> Result<u32, ProofError> {
        same("blobSymbols", self.blob_symbols, committed.domain.symbols())?;
        same("prelude.symbolIndex", self.prelude.symbol_index, PRELUDE_SYMBOL)?;
        let prelude = Prelude::parse(self.prelude.payload()?)?;
        let room = committed.domain.payload_bytes_max();
        if prelude.length > room as u64 {
            return Err(ProofError::Prelude(format!("{} bytes of payload have no room in {room}", prelude.length)));
        }
        places::batch_in_blob(&prelude, header).ok_or(ProofError::Batch {
            partition: header.partition.get(),
            seq: header.seq.get(),
            count: prelude.count,
            of: prelude.partition,
            first: prelude.first_seq,
        })
    }
}

impl SymbolOpening {
    /// The 31 bytes of payload in it.
    fn payload(&self) -> Result<&[u8; Symbol::PAYLOAD_BYTES], ProofError> {
        match self.symbol.0.split_first_chunk::<1>() {
            Some(([0], payload)) => Ok(payload.first_chunk().expect("32 bytes less one are 31")),
            _ => Err(ProofError::Symbol { index: self.symbol_index, what: "its first byte is not zero" }),
        }
    }

    fn proven(&self) -> Result<(Claim, Opening), ProofError> {
        let index = self.symbol_index;
        let symbol = Symbol::new(self.symbol.0)
            .map_err(|_| ProofError::Symbol { index, what: "it is not below the modulus of the field" })?;
        let opening = Opening::read(&self.proof.0).map_err(|source| ProofError::Point { index, source })?;
        Ok((Claim { index, symbol }, opening))
    }
}

fn same(what: &'static str, stated: u32, computed: u32) -> Result<(), ProofError> {
    if stated == computed { Ok(()) } else { Err(ProofError::Place { what, stated, computed }) }
}

#[cfg(test)]
mod tests;
