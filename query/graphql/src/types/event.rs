//! Events as recorded, and their batches.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{ID, InputObject, Object, Value};
use tributary_journal::Header;
use tributary_schemas::cloudevents;
use tributary_schemas::event::{Draft, EventType};
use tributary_schemas::ids::Timestamp;

use super::super::batches::OpenBatch;
use super::super::connection::Listed;
use super::super::filters::{All, StringFilter, TimeFilter, Where, combine};
use super::super::global_id::{GlobalId, Place};
use super::super::listing::{KeyType, Listing, SortKey};
use super::super::reader::Reader;
use super::super::rows::{Row, rows};
use super::super::scalars::{DateTime, Hash, Json, Long};
use super::super::waves::Load;
use super::blob::Blob;
use super::finality::{Finality, finality_of_event};
use super::proof::EventProof;
use tributary_query::error::{Code, QueryError};
use tributary_query::hex;
use tributary_query::sql_text::{SqlText, text};

/// The order of rows in the record: by partition, batch and place.
pub(crate) const PLACE_ORDER: [SortKey; 3] = [
    SortKey::new("r._partition", KeyType::Long),
    SortKey::new("r._seq", KeyType::Long),
    SortKey::new("r._ordinal", KeyType::Long),
];

/// An event as recorded, with everything needed to check it without trusting this server.
#[derive(Clone)]
pub struct Event {
    pub(crate) reader: Arc<Reader>,
    pub(crate) event_type: EventType,
    pub(crate) key: String,
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) producer: String,
    pub(crate) time: Timestamp,
    pub(crate) accepted_at: Timestamp,
    pub(crate) place: Place,
}

impl Event {
    /// From a row with the columns that every table of events has, of an event of known type and key.
    pub(crate) fn of_row(reader: &Arc<Reader>, row: Row<'_>, (event_type, key): (EventType, String)) -> Result<Self, QueryError> {
        Ok(Self {
            reader: Arc::clone(reader),
            event_type,
            key,
            source: row.text("source")?,
            event_id: row.text("event_id")?,
            producer: row.text("producer")?,
            time: row.instant("event_time")?,
            accepted_at: row.instant("accepted_at")?,
            place: row.place()?,
        })
    }

    /// The event at a place of an opened batch.
    pub(crate) fn of_batch(reader: &Arc<Reader>, batch: &OpenBatch, ordinal: u32) -> Result<Self, QueryError> {
        let event = batch.event(ordinal)?;
        Ok(Self {
            reader: Arc::clone(reader),
            event_type: event.draft.event_type(),
            key: event.draft.key().to_owned(),
            source: event.draft.source.clone(),
            event_id: event.draft.id.clone(),
            producer: event.producer.as_str().to_owned(),
            time: event.draft.time,
            accepted_at: event.accepted_at,
            place: Place { partition: batch.header.partition, seq: batch.header.seq, ordinal },
        })
    }

    async fn open(&self) -> Result<Arc<OpenBatch>, QueryError> {
        self.reader.batch(self.place.partition, self.place.seq).await
    }

    async fn draft(&self) -> Result<Draft, QueryError> {
        Ok(self.open().await?.event(self.place.ordinal)?.draft)
    }
}

impl Listed for Event {
    const NAME: &'static str = "Event";

    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError> {
        let name = row.text("type")?;
        let event_type = EventType::parse(&name);
        let event_type = event_type.ok_or_else(|| QueryError::new(Code::Corrupt, format!("`{name}` is no type of event")))?;
        Self::of_row(reader, row, (event_type, row.text("key")?))
    }
}

/// The columns of `events` that an [`Event`] is read from.
pub(crate) fn columns() -> &'static str {
    "r.type, r.key, r.event_id, r.source, r.producer, r.event_time, r.accepted_at, r._partition, r._seq, r._ordinal"
}

/// All events in the order of the record.
pub(crate) fn listing(filter: Option<&EventWhere>) -> Result<Listing, QueryError> {
    Ok(Listing {
        name: "events",
        columns: columns().into(),
        from: SqlText::new("events r"),
        filters: filter.map(Where::conditions).transpose()?.unwrap_or_default(),
        owner: None,
        order: PLACE_ORDER.to_vec(),
        wide: None,
    })
}

/// Conditions on events; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct EventWhere {
    r#type: Option<StringFilter>,
    key: Option<StringFilter>,
    source: Option<StringFilter>,
    event_id: Option<StringFilter>,
    producer: Option<StringFilter>,
    time: Option<TimeFilter>,
    and: Option<Vec<EventWhere>>,
    or: Option<Vec<EventWhere>>,
    not: Option<Box<EventWhere>>,
}

impl Where for EventWhere {
    fn own(&self, all: &mut All) -> Result<(), QueryError> {
        all.on("r.type", self.r#type.as_ref())?
            .on("r.key", self.key.as_ref())?
            .on("r.source", self.source.as_ref())?
            .on("r.event_id", self.event_id.as_ref())?
            .on("r.producer", self.producer.as_ref())?
            .on("r.event_time", self.time.as_ref())?;
        Ok(())
    }
    combine!();
}

/// What names events: their source and id, and, if given, their type and key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) event_type: Option<String>,
    pub(crate) key: Option<String>,
}

impl Load for Named {
    type Value = Vec<Event>;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Vec<Event>>, QueryError> {
        let mut query = SqlText::new(format!("SELECT {} FROM events r WHERE r.event_id IN (", columns()));
        query.bind_all(keys.iter().map(|key| text(&key.event_id))).push(") AND r.source IN (");
        query.bind_all(keys.iter().map(|key| text(&key.source))).push(")");
        // With the key of every event known, other partitions need not be looked at.
        if keys.iter().all(|key| key.key.is_some()) {
            query.push(" AND r.key IN (").bind_all(keys.iter().filter_map(|key| key.key.as_ref()).map(text)).push(")");
        }
        query.push(" ORDER BY r._partition, r._seq, r._ordinal");
        let found = reader.ask(query).await?;
        let events = rows(&found).map(|row| Event::read(&reader, row)).collect::<Result<Vec<_>, _>>()?;
        let named = |key: &Self, event: &Event| {
            event.source == key.source
                && event.event_id == key.event_id
                && key.event_type.as_ref().is_none_or(|name| name == event.event_type.as_str())
                && key.key.as_ref().is_none_or(|key| *key == event.key)
        };
        let of = |key: &Self| events.iter().filter(|event| named(key, event)).cloned().collect::<Vec<_>>();
        Ok(keys.into_iter().map(|key| (key.clone(), of(&key))).collect())
    }
}

#[Object]
impl Event {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Event(self.place).encode()
    }

    async fn source(&self) -> &str {
        &self.source
    }

    async fn event_id(&self) -> &str {
        &self.event_id
    }

    async fn r#type(&self) -> &'static str {
        self.event_type.as_str()
    }

    async fn key(&self) -> &str {
        &self.key
    }

    async fn time(&self) -> DateTime {
        DateTime(self.time)
    }

    async fn accepted_at(&self) -> DateTime {
        DateTime(self.accepted_at)
    }

    async fn producer(&self) -> &str {
        &self.producer
    }

    /// What was sent besides the attributes that have a field of their own
    async fn attributes(&self) -> Result<Json, QueryError> {
        let draft = self.draft().await?;
        let named = [
            ("dataschema", &draft.dataschema),
            ("sig", &draft.sig),
            ("signer", &draft.signer),
            ("traceparent", &draft.traceparent),
            ("tracestate", &draft.tracestate),
        ];
        let mut all: Vec<(&str, &str)> = named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        all.extend(draft.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.sort_unstable();
        let object = all.into_iter().map(|(name, value)| (async_graphql::Name::new(name), Value::from(value)));
        Ok(Json(Value::Object(object.collect())))
    }

    /// The payload as its producer would send it
    async fn data(&self) -> Result<Json, QueryError> {
        let json = cloudevents::data_json(&self.draft().await?.data);
        self.reader.count_bytes(json.len())?;
        let data: serde_json::Value =
            serde_json::from_str(&json).map_err(|error| QueryError::new(Code::Internal, error.to_string()))?;
        Value::from_json(data).map(Json).map_err(|error| QueryError::new(Code::Internal, error.to_string()))
    }

    /// The recorded bytes: protobuf, tributary.v1.Event
    async fn raw(&self) -> Result<String, QueryError> {
        let batch = self.open().await?;
        let bytes = batch.event_bytes(self.place.ordinal)?;
        self.reader.count_bytes(2 * bytes.len())?;
        Ok(hex(bytes))
    }

    async fn finality(&self) -> Result<Finality, QueryError> {
        finality_of_event(self).await
    }

    async fn batch(&self) -> Result<Batch, QueryError> {
        Batch::at(&self.reader, self.place).await
    }

    /// Its place in the batch
    async fn ordinal(&self) -> i32 {
        i32::try_from(self.place.ordinal).unwrap_or(i32::MAX)
    }

    async fn proof(&self) -> Result<EventProof, QueryError> {
        let batch = self.open().await?;
        Ok(EventProof::of(Arc::clone(&self.reader), batch, self.place.ordinal))
    }
}

/// A sealed batch: consecutive events of one partition, in a hash chain.
#[derive(Clone)]
pub struct Batch {
    pub(crate) reader: Arc<Reader>,
    pub(crate) header: Header,
}

impl Batch {
    /// The batch of a place.
    pub(crate) async fn at(reader: &Arc<Reader>, place: Place) -> Result<Self, QueryError> {
        let header = reader.engine().journal().header(place.partition, place.seq).await?;
        Ok(Self { reader: Arc::clone(reader), header })
    }
}

#[Object]
impl Batch {
    pub(crate) async fn id(&self) -> ID {
        GlobalId::Batch(self.header.partition, self.header.seq).encode()
    }

    async fn partition(&self) -> i32 {
        self.header.partition.as_i32()
    }

    async fn seq(&self) -> Long {
        Long(self.header.seq.as_i64())
    }

    async fn first_offset(&self) -> Long {
        Long(self.header.first_offset.as_i64())
    }

    async fn next_offset(&self) -> Long {
        Long(self.header.next_offset.as_i64())
    }

    async fn events(&self) -> Long {
        Long(self.header.events.into())
    }

    async fn root(&self) -> Hash {
        Hash(self.header.root)
    }

    async fn hash(&self) -> Hash {
        Hash(self.header.hash())
    }

    async fn previous_hash(&self) -> Hash {
        Hash(self.header.previous_hash)
    }

    async fn sealed_at(&self) -> DateTime {
        DateTime(self.header.sealed_at)
    }

    async fn blob(&self) -> Result<Option<Blob>, QueryError> {
        Blob::of_batch(&self.reader, &self.header).await
    }
}
