//! A small deployment: journal, lake, certificates and engine over one temporary folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tributary_da::{Certificates, Committer, Dispersal, LocalDa, Publisher};
use tributary_indexer::{Indexer, Lake};
use tributary_journal::storage::LocalStore;
use tributary_journal::{Contents, Journal, SealedBatch};
use tributary_schemas::cloudevents;
use tributary_schemas::cut::Cut;
use tributary_schemas::event::Event;
use tributary_schemas::ids::{Offset, Partition, PartitionCount, SystemClock, Timestamp};
use tributary_schemas::protobuf;
use tributary_schemas::units::{Hash, Name};

use tributary_query::sql::Format;
use tributary_query::{Engine, Settings};

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) indexer: Arc<Indexer>,
    pub(crate) engine: Arc<Engine>,
}

impl World {
    pub(crate) async fn new(partitions: u32) -> Self {
        Self::with(partitions, Settings { threads: 2, ..Settings::default() }).await
    }

    pub(crate) async fn with(partitions: u32, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path()).unwrap();
        let clock = Arc::new(SystemClock);
        let count = PartitionCount::new(partitions).unwrap();
        let journal = Journal::open(Arc::clone(&store), Some(count), clock.clone()).await.unwrap();
        let lake = Lake::open(Arc::clone(&store));
        let indexer =
            Indexer::new(Arc::clone(&journal), Arc::clone(&lake), clock.clone(), tributary_indexer::Settings::default());
        let certificates = Arc::new(Certificates::new(Arc::clone(&store)));
        let engine = Engine::new(Arc::clone(&lake), Arc::clone(&journal), certificates, clock, settings);
        Self { folder, store, journal, lake, indexer, engine }
    }

    /// Seals the events, in batches of at most `size`, each in the partition of its key.
    pub(crate) async fn seal(&self, events: impl IntoIterator<Item = Event>, size: usize) {
        let count = self.journal.genesis().partitions;
        let mut by_partition: BTreeMap<Partition, Vec<Event>> = BTreeMap::new();
        for event in events {
            by_partition.entry(count.partition_of(event.draft.key().as_bytes())).or_default().push(event);
        }
        for (partition, events) in by_partition {
            for events in events.chunks(size) {
                self.seal_batch(partition, events).await;
            }
        }
    }

    async fn seal_batch(&self, partition: Partition, events: &[Event]) {
        let previous = self.journal.head(partition);
        let offset = previous.as_ref().map_or(0, |header| header.next_offset.get()) + events.len() as u64;
        let times = events.iter().map(|event| event.draft.time);
        let contents = Contents {
            deployment: self.journal.genesis().deployment,
            partition,
            previous,
            next_offset: Offset::new(offset).unwrap(),
            last_record_hash: Hash::repeat_byte(1),
            times: (times.clone().min().unwrap(), times.max().unwrap()),
            sealed_at: Timestamp::parse_rfc3339("2026-10-01T00:00:00Z").unwrap(),
            events: events.iter().map(protobuf::encode).collect(),
        };
        self.journal.append(&SealedBatch::seal(contents).unwrap()).await.unwrap();
    }

    /// Seals in batches of three, and indexes.
    pub(crate) async fn add(&self, events: impl IntoIterator<Item = Event>) -> Cut {
        self.seal(events, 3).await;
        self.indexer.index_available().await.unwrap();
        self.engine.head().await.unwrap()
    }

    /// Certifies everything sealed.
    pub(crate) async fn publish(&self) {
        let client = Arc::new(LocalDa::new(Arc::clone(&self.store), Arc::new(SystemClock)));
        let settings = tributary_da::Settings::default();
        let dispersal = Dispersal::new(Arc::clone(&self.store), client, Committer::shipped(), &settings);
        let publisher = Publisher::new(dispersal, Arc::clone(&self.journal), Arc::new(SystemClock), settings);
        publisher.publish_available().await.unwrap();
    }

    /// The rows of a query at the head.
    pub(crate) async fn ask(&self, sql: &str) -> Vec<Value> {
        let cut = self.engine.head().await.unwrap();
        self.ask_at(&cut, sql).await
    }

    /// The rows of a query at a cut.
    pub(crate) async fn ask_at(&self, cut: &Cut, sql: &str) -> Vec<Value> {
        let session = self.engine.session(cut).await.unwrap();
        let rows = session.collect(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        objects(&rows)
    }

    /// The first column of a query at the head, as texts.
    pub(crate) async fn column(&self, sql: &str) -> Vec<String> {
        texts(&self.ask(sql).await)
    }
}

pub(crate) fn texts(rows: &[Value]) -> Vec<String> {
    let first = |row: &Value| match row.as_object().unwrap().values().next().unwrap() {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    rows.iter().map(first).collect()
}

pub(crate) fn objects(rows: &[RecordBatch]) -> Vec<Value> {
    let Some(first) = rows.first() else { return Vec::new() };
    let mut encoder = Format::Json.encoder(&first.schema()).unwrap();
    let mut out = Vec::new();
    for batch in rows {
        encoder.rows(batch, &mut out).unwrap();
    }
    encoder.end(&mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// An event of the type, with this id and data, from the producer.
pub(crate) fn event(kind: &str, id: &str, producer: &str, data: Value) -> Event {
    let cloud_event = json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": format!("tributary.{kind}.v1"),
        "time": "2026-10-01T00:00:00Z", "data": data,
    });
    recorded(cloud_event.to_string().as_bytes(), producer)
}

pub(crate) fn recorded(json: &[u8], producer: &str) -> Event {
    Event {
        draft: cloudevents::parse(json).unwrap(),
        producer: Name::parse(producer).unwrap(),
        accepted_at: Timestamp::parse_rfc3339("2026-10-01T00:00:01Z").unwrap(),
    }
}

pub(crate) fn address(n: u64) -> String {
    format!("0x{n:040x}")
}

pub(crate) fn inference(id: &str, producer: &str, fee: &str) -> Event {
    let hash = format!("0x{}", "ab".repeat(32));
    let data = json!({
        "inference_id": id, "model_id": "m", "node": address(1), "requester": address(2), "input_hash": hash, "output_hash": hash,
        "input_tokens": 1, "output_tokens": 2, "latency_us": 3, "fee": fee,
    });
    let event_id = format!("i-{id}-{producer}-{fee}").replace(|c: char| !c.is_ascii_graphic(), "_");
    event("inference.completed", &event_id, producer, data)
}

pub(crate) fn attribution(event_id: &str, inference: &str, producer: &str, entries: &[(&str, u64)]) -> Event {
    let entries: Vec<Value> = entries.iter().map(|(c, w)| json!({"contribution_id": c, "weight": w})).collect();
    let data = json!({"inference_id": inference, "method": "suffix_match", "entries": entries});
    event("attribution.traced", event_id, producer, data)
}

/// The folder of the recorded flywheel.
pub(crate) fn flywheel_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/flywheel")
}

/// All events of an epoch's file of the flywheel.
pub(crate) fn flywheel(epoch: u32) -> Vec<Event> {
    let file = std::fs::read(flywheel_folder().join(format!("epoch-{epoch}.ndjson.zst"))).unwrap();
    let lines = zstd::decode_all(file.as_slice()).unwrap();
    lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(|line| recorded(line, "dev")).collect()
}
