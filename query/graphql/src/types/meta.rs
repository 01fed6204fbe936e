//! What the record is now.

use std::sync::Arc;

use async_graphql::{Object, SimpleObject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;

use super::super::reader::Reader;
use super::super::scalars::{DateTime, Long};
use tributary_query::error::QueryError;

/// The state of the record, and what is needed to read it.
/// protobufSchema is the FileDescriptorSet, base64.
pub struct Meta {
    pub(crate) reader: Arc<Reader>,
}

/// How far a partition is.
#[derive(Clone, Debug, SimpleObject)]
pub struct PartitionHead {
    partition: i32,
    /// The first offset that is not sealed
    next_offset: Long,
    /// The last batch sealed
    sealed_seq: Option<Long>,
    /// The last batch of the prefix whose blobs are certified
    available_seq: Option<Long>,
    /// The last batch in the tables of the lake
    indexed_seq: Option<Long>,
    /// The last batch that a closed epoch covers
    settled_seq: Option<Long>,
    sealed_at: Option<DateTime>,
}

#[Object]
impl Meta {
    /// The point that this request reads: given as `asOf.cut` it names it again
    async fn cut(&self) -> String {
        self.reader.point().to_string()
    }

    /// The certified part of the cut
    async fn available_cut(&self) -> Result<String, QueryError> {
        self.reader.note_moving();
        Ok(self.reader.point().cut.meet(&self.reader.engine().certified().await?).to_string())
    }

    async fn partitions(&self) -> Result<Vec<PartitionHead>, QueryError> {
        self.reader.note_moving();
        let engine = self.reader.engine();
        let (available, indexed) = (engine.certified().await?, engine.indexed().await?);
        let settled = self.reader.session().settled_cut().await?;
        let journal = engine.journal();
        let of = |cut: &Cut, partition: Partition| cut.get(partition).map(|seq: Seq| Long(seq.as_i64()));
        let head = |partition: Partition| {
            let header = journal.head(partition);
            PartitionHead {
                partition: partition.as_i32(),
                next_offset: Long(header.as_ref().map_or(0, |header| header.next_offset.as_i64())),
                sealed_seq: header.as_ref().map(|header| Long(header.seq.as_i64())),
                available_seq: of(&available, partition),
                indexed_seq: of(&indexed, partition),
                settled_seq: of(&settled, partition),
                sealed_at: header.map(|header| DateTime(header.sealed_at)),
            }
        };
        Ok(journal.partitions().map(head).collect())
    }

    async fn latest_epoch(&self) -> Option<Long> {
        Some(Long(self.reader.epoch())).filter(|epoch| epoch.0 > 0)
    }

    async fn version(&self) -> &str {
        self.reader.version()
    }

    async fn protobuf_schema(&self) -> String {
        STANDARD.encode(protobuf::file_descriptor_set())
    }
}
