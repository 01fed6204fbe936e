//! The proof of an event: its way to the certificate of a blob.

use std::sync::Arc;

use async_graphql::Object;
use tributary_da::proof;
use tributary_journal::merkle::event_leaf;

use super::super::batches::OpenBatch;
use super::super::reader::Reader;
use super::super::scalars::Hash;
use super::blob::Blob;
use tributary_query::error::QueryError;
use tributary_query::hex;

/// leaf and path prove the event in the batch; the opening proves the header in the blob's commitment (null until AVAILABLE).
pub struct EventProof {
    reader: Arc<Reader>,
    batch: Arc<OpenBatch>,
    ordinal: u32,
}

impl EventProof {
    /// Of the event at a place of an opened batch.
    pub(crate) fn of(reader: Arc<Reader>, batch: Arc<OpenBatch>, ordinal: u32) -> Self {
        Self { reader, batch, ordinal }
    }
}

#[Object]
impl EventProof {
    /// keccak256(keccak256(ordinal as 4 bytes big-endian ‖ event bytes))
    async fn leaf(&self) -> Result<Hash, QueryError> {
        Ok(Hash(event_leaf(self.ordinal, self.batch.event_bytes(self.ordinal)?)))
    }

    /// The siblings from the leaf to the root; a node is keccak256 of its two children in sorted order
    async fn path(&self) -> Vec<Hash> {
        self.batch.path(self.ordinal).into_iter().map(Hash).collect()
    }

    async fn batch_root(&self) -> Hash {
        Hash(self.batch.header.root)
    }

    /// The 248 bytes of the batch's header
    async fn batch_header(&self) -> String {
        hex(&self.batch.header.encode())
    }

    async fn blob(&self) -> Result<Option<Blob>, QueryError> {
        Blob::of_batch(&self.reader, &self.batch.header).await
    }

    /// Null until AVAILABLE
    async fn opening(&self) -> Result<Option<HeaderOpening>, QueryError> {
        let header = &self.batch.header;
        let Some(blob) = Blob::of_batch(&self.reader, header).await? else { return Ok(None) };
        Ok(Some(HeaderOpening(self.reader.openings().of(&blob, header.seq).await?)))
    }
}

/// KZG proofs that a blob holds a batch's header, and the prelude from which the header's place follows.
pub struct HeaderOpening(Arc<proof::HeaderOpening>);

#[Object]
impl HeaderOpening {
    /// The places of the header's eight symbols in the blob
    async fn symbol_indexes(&self) -> Vec<i32> {
        self.0.symbol_indexes.into_iter().map(integer).collect()
    }

    /// The symbols there, 32 bytes each: a zero byte and 31 of the header
    async fn symbols(&self) -> Vec<String> {
        self.0.symbols.iter().map(ToString::to_string).collect()
    }

    /// The KZG proof of each symbol: a point of G1, x and y
    async fn proofs(&self) -> Vec<String> {
        self.0.proofs.iter().map(ToString::to_string).collect()
    }

    /// How many symbols the blob has
    async fn blob_symbols(&self) -> i32 {
        integer(self.0.blob_symbols)
    }

    /// The symbol that says which batches the blob holds
    async fn prelude(&self) -> SymbolOpening {
        SymbolOpening(Arc::clone(&self.0))
    }
}

/// The KZG proof of one symbol.
pub struct SymbolOpening(Arc<proof::HeaderOpening>);

#[Object]
impl SymbolOpening {
    async fn symbol_index(&self) -> i32 {
        integer(self.0.prelude.symbol_index)
    }

    async fn symbol(&self) -> String {
        self.0.prelude.symbol.to_string()
    }

    async fn proof(&self) -> String {
        self.0.prelude.proof.to_string()
    }
}

/// A blob has at most 2^19 symbols.
fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
