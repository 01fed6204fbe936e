//! Blobs, which hold batches, and their certificates.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{ID, Object};
use tributary_da::{BlobRecord, ListedBlob};
use tributary_journal::Header;

use super::super::global_id::GlobalId;
use super::super::reader::Reader;
use super::super::scalars::{DateTime, Long};
use super::super::waves::Load;
use tributary_query::error::{Code, QueryError};
use tributary_query::hex;

/// The record of a blob, which the events in it share.
#[derive(Clone, PartialEq, Eq, Hash)]
struct RecordOf(ListedBlob);

impl Load for RecordOf {
    /// A record that cannot be read fails nobody but those who ask for it.
    type Value = Result<Arc<BlobRecord>, QueryError>;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Self::Value>, QueryError> {
        let blobs: Vec<ListedBlob> = keys.iter().map(|key| key.0).collect();
        let records = reader.records().of(reader.session(), &blobs).await;
        Ok(keys.into_iter().zip(records).collect())
    }
}

/// A run of batches as it was dispersed, with its certificate.
#[derive(Clone)]
pub struct Blob {
    pub(crate) reader: Arc<Reader>,
    pub(crate) listed: ListedBlob,
}

impl Blob {
    /// The blob that holds a batch, once it is certified.
    pub(crate) async fn of_batch(reader: &Arc<Reader>, header: &Header) -> Result<Option<Self>, QueryError> {
        reader.note_moving();
        let listed = reader.session().blob_of(header.partition, header.seq).await?;
        Ok(listed.map(|listed| Self { reader: Arc::clone(reader), listed }))
    }

    /// With its certificate.
    pub(crate) async fn record(&self) -> Result<Arc<BlobRecord>, QueryError> {
        let record = self.reader.get(RecordOf(self.listed)).await?;
        record.unwrap_or_else(|| Err(QueryError::new(Code::Internal, "every blob that is asked for has its record")))
    }
}

#[Object]
impl Blob {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Blob(self.listed.partition, self.listed.first_seq).encode()
    }

    async fn partition(&self) -> i32 {
        self.listed.partition.as_i32()
    }

    async fn first_seq(&self) -> Long {
        Long(self.listed.first_seq.as_i64())
    }

    async fn last_seq(&self) -> Long {
        Long(self.listed.last_seq.as_i64())
    }

    async fn bytes(&self) -> Long {
        Long(i64::try_from(self.listed.payload_bytes).unwrap_or(i64::MAX))
    }

    async fn commitment(&self) -> String {
        hex(&self.listed.commitment)
    }

    async fn certificate(&self) -> Result<String, QueryError> {
        let record = self.record().await?;
        self.reader.count_bytes(2 * record.certificate.bytes.len())?;
        Ok(hex(&record.certificate.bytes))
    }

    async fn backend(&self) -> &str {
        self.listed.backend
    }

    async fn certified_at(&self) -> DateTime {
        DateTime(self.listed.certified_at)
    }

    async fn expires_at(&self) -> Option<DateTime> {
        self.listed.expires_at.map(DateTime)
    }
}
