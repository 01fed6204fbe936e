//! Sealed batches, opened: the verbatim events and the tree over them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tributary_journal::merkle::{Tree, event_leaves};
use tributary_journal::{Header, Journal};
use tributary_schemas::event::Event;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;

use tributary_query::cache::Cache;
use tributary_query::error::{Code, QueryError};

/// A batch whose hashes were checked when it was read.
pub(crate) struct OpenBatch {
    pub(crate) header: Header,
    pub(crate) events: Vec<Bytes>,
    tree: OnceLock<Tree>,
}

impl OpenBatch {
    /// The bytes of the event at a place.
    ///
    /// # Errors
    /// `corrupt` if the batch has no such event.
    pub(crate) fn event_bytes(&self, ordinal: u32) -> Result<&Bytes, QueryError> {
        let found = usize::try_from(ordinal).ok().and_then(|ordinal| self.events.get(ordinal));
        found.ok_or_else(|| self.corrupt(&format!("has no event {ordinal}")))
    }

    /// The event at a place.
    ///
    /// # Errors
    /// `corrupt` if there is none.
    pub(crate) fn event(&self, ordinal: u32) -> Result<Event, QueryError> {
        protobuf::decode(self.event_bytes(ordinal)?).map_err(|error| self.corrupt(&format!("event {ordinal}: {error}")))
    }

    /// The siblings from an event's leaf to the batch's root.
    pub(crate) fn path(&self, ordinal: u32) -> Vec<tributary_schemas::units::Hash> {
        self.tree.get_or_init(|| Tree::new(event_leaves(&self.events))).proof(ordinal as usize)
    }

    fn corrupt(&self, problem: &str) -> QueryError {
        QueryError::new(Code::Corrupt, format!("batch {} of partition {} {problem}", self.header.seq, self.header.partition))
    }

    fn bytes(&self) -> usize {
        // The tree has two hashes an event.
        self.header.raw_bytes as usize + self.events.len() * (size_of::<Bytes>() + 64)
    }
}

/// Opens batches and keeps those used last.
pub(crate) struct Batches {
    journal: Arc<Journal>,
    kept: Cache<(Partition, Seq), Arc<OpenBatch>>,
}

impl Batches {
    pub(crate) fn new(journal: Arc<Journal>, bytes_max: usize) -> Self {
        Self { journal, kept: Cache::new(bytes_max) }
    }

    /// The batch, read from the journal and checked, or kept from before.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub(crate) async fn open(&self, partition: Partition, seq: Seq) -> Result<Arc<OpenBatch>, QueryError> {
        if let Some(kept) = self.kept.get(&(partition, seq)) {
            return Ok(kept);
        }
        let batch = self.journal.read(partition, seq).await?;
        let opened = tokio::task::spawn_blocking(move || batch.events().map(|events| (batch.header, events))).await;
        let (header, events) = opened
            .map_err(|error| QueryError::new(Code::Internal, error.to_string()))?
            .map_err(|damage| QueryError::new(Code::Corrupt, format!("batch {seq} of partition {partition}: {damage}")))?;
        let open = Arc::new(OpenBatch { header, events, tree: OnceLock::new() });
        self.kept.put((partition, seq), Arc::clone(&open), open.bytes());
        Ok(open)
    }
}
