//! What the tests of this crate share: a clock and a store that they own, and journals of real and made-up events.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arrow::array::{Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tributary_journal::batch::Contents;
use tributary_journal::{Journal, SealedBatch};
use tributary_schemas::event::{AttributionEntry, AttributionTraced, Draft, Event, EventData};
use tributary_schemas::ids::{Clock, Offset, Partition, PartitionCount, Timestamp};
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Hash, Name, Weight};
use tributary_schemas::{cloudevents, protobuf};

use crate::lake::Lake;
use crate::metrics::Metrics;
use crate::settings::{LakeSettings, Settings};
use crate::{Indexer, LakeFile};

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    /// Stands at the machine's time, for stores stamp objects with it.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(tributary_schemas::ids::SystemClock.now().micros())))
    }

    pub(crate) fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// How the chosen operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing, and nothing works afterwards: the process or its network is gone.
    CrashBefore,
    /// It takes effect but its answer is lost, and nothing works afterwards.
    CrashAfter,
    /// It takes effect but its answer is lost; the next operations work.
    LostAnswer,
    /// It does nothing; the next operations work.
    Refused,
}

/// A store that fails at its n-th operation.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) inner: Arc<InMemory>,
    at: u64,
    fault: Fault,
    pub(crate) operations: AtomicU64,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<InMemory>, at: u64, fault: Fault) -> Arc<Self> {
        Arc::new(Self { inner, at, fault, operations: AtomicU64::new(0) })
    }

    /// Whether the operation takes effect, and whether it is answered.
    fn next(&self) -> (bool, bool) {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        match (self.fault, number.cmp(&self.at)) {
            (_, std::cmp::Ordering::Less) => (true, true),
            (Fault::CrashBefore | Fault::Refused, std::cmp::Ordering::Equal) => (false, false),
            (Fault::CrashAfter | Fault::LostAnswer, std::cmp::Ordering::Equal) => (true, false),
            (Fault::CrashBefore | Fault::CrashAfter, std::cmp::Ordering::Greater) => (false, false),
            (Fault::LostAnswer | Fault::Refused, std::cmp::Ordering::Greater) => (true, true),
        }
    }

    fn failure() -> object_store::Error {
        object_store::Error::Generic { store: "faulty", source: "as the test wants it".into() }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty store")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let (effect, answer) = self.next();
        let result = if effect { self.inner.put_opts(location, payload, options).await } else { Err(Self::failure()) };
        if answer { result } else { Err(Self::failure()) }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(Self::failure())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        match self.next() {
            (true, true) => self.inner.get_opts(location, options).await,
            _ => Err(Self::failure()),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        match self.next() {
            (true, true) => self.inner.delete_stream(locations),
            _ => locations.map(|_| Err(Self::failure())).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.next() {
            (true, true) => self.inner.list(prefix),
            _ => futures::stream::iter([Err(Self::failure())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        match self.next() {
            (true, true) => self.inner.list_with_delimiter(prefix).await,
            _ => Err(Self::failure()),
        }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(Self::failure())
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn instant(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// An event as the door would take it.
pub(crate) fn event(id: &str, data: EventData) -> Event {
    let draft = Draft {
        id: id.to_owned(),
        source: "/tests".to_owned(),
        time: instant("2026-10-01T00:00:00.000001Z"),
        has_subject: false,
        has_datacontenttype: false,
        dataschema: None,
        traceparent: None,
        tracestate: None,
        sig: None,
        signer: None,
        extensions: BTreeMap::new(),
        data,
    };
    Event { draft, producer: name("dev"), accepted_at: instant("2026-10-01T00:00:01Z") }
}

/// An attribution with this many entries.
pub(crate) fn attribution(id: usize, entries: usize) -> Event {
    let entry = |i: usize| AttributionEntry {
        contribution_id: name(&format!("contribution-{i}")),
        weight: Weight::new(i as u64 + 1).unwrap(),
    };
    let inference_id = name(&format!("inference-{id}"));
    let data = AttributionTraced { inference_id, method: name("influence"), entries: (0..entries).map(entry).collect() };
    event(&format!("event-{id}"), EventData::AttributionTraced(data))
}

/// A journal in the store.
pub(crate) async fn journal(store: &Arc<dyn ObjectStore>, partitions: u32) -> Arc<Journal> {
    let clock = ManualClock::new();
    Journal::open(Arc::clone(store), PartitionCount::new(partitions), clock).await.unwrap()
}

/// Seals events as the next batch of a partition.
pub(crate) async fn seal(journal: &Journal, partition: u32, events: &[Event]) -> SealedBatch {
    let partition = Partition::new(partition).unwrap();
    let previous = journal.head(partition);
    let next = previous.as_ref().map_or(0, |header| header.next_offset.get()) + events.len().max(1) as u64;
    let time = instant("2026-10-01T00:00:00Z");
    let batch = SealedBatch::seal(Contents {
        deployment: journal.genesis().deployment,
        partition,
        previous,
        next_offset: Offset::new(next).unwrap(),
        last_record_hash: Hash::repeat_byte(7),
        times: (time, time),
        sealed_at: instant("2026-10-01T00:00:02Z"),
        events: events.iter().map(protobuf::encode).collect(),
    })
    .unwrap();
    journal.append(&batch).await.unwrap();
    batch
}

/// The recorded flywheel, in its order.
pub(crate) fn flywheel(events_max: usize) -> Vec<Event> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/flywheel");
    let lines = (1..=3).flat_map(|epoch| lines_of(&folder.join(format!("epoch-{epoch}.ndjson.zst"))));
    let parse = |line: String| Event {
        draft: cloudevents::parse(line.as_bytes()).unwrap(),
        producer: name("dev"),
        accepted_at: instant("2026-10-01T00:00:01Z"),
    };
    lines.take(events_max).map(parse).collect()
}

fn lines_of(file: &FsPath) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Seals events over the partitions of their keys, in batches of at most this many raw bytes.
pub(crate) async fn seal_all(journal: &Journal, events: &[Event], batch_bytes: usize) -> u64 {
    let partitions = journal.genesis().partitions;
    let mut open: BTreeMap<Partition, (Vec<Event>, usize)> = BTreeMap::new();
    let mut batches = 0;
    for event in events {
        let partition = partitions.partition_of(event.draft.key().as_bytes());
        let (pending, bytes) = open.entry(partition).or_default();
        *bytes += protobuf::encode(event).len() + 4;
        pending.push(event.clone());
        if *bytes > batch_bytes {
            seal(journal, partition.get(), pending).await;
            open.remove(&partition);
            batches += 1;
        }
    }
    for (partition, (pending, _)) in open {
        seal(journal, partition.get(), &pending).await;
        batches += 1;
    }
    batches
}

pub(crate) fn lake_with(store: &Arc<dyn ObjectStore>, settings: LakeSettings, clock: &Arc<ManualClock>) -> Arc<Lake> {
    Lake::open_with(Arc::clone(store), settings, Arc::clone(clock) as Arc<dyn Clock>, Metrics::default())
}

pub(crate) fn indexer(journal: &Arc<Journal>, lake: &Arc<Lake>, settings: Settings) -> Arc<Indexer> {
    Indexer::new(Arc::clone(journal), Arc::clone(lake), ManualClock::new(), settings)
}

pub(crate) async fn read_object(store: &dyn ObjectStore, path: &Path) -> Bytes {
    store.get(path).await.unwrap().bytes().await.unwrap()
}

pub(crate) async fn rows_of_file(store: &dyn ObjectStore, file: &LakeFile) -> Vec<RecordBatch> {
    let bytes = read_object(store, &file.path).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    reader.map(|rows| rows.unwrap()).collect()
}

/// The values of a text column of a table, in the order of the files.
pub(crate) async fn texts(lake: &Lake, table: Table, column: &str) -> Vec<String> {
    let mut all = Vec::new();
    for file in &lake.snapshot(table).await.unwrap().files {
        for rows in rows_of_file(lake.object_store(), file).await {
            let values = rows.column_by_name(column).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
            all.extend((0..values.len()).map(|row| values.value(row).to_owned()));
        }
    }
    all
}

/// Rows for the table `settled`, for tests of the lake alone.
pub(crate) fn settled(epoch: i64, inferences: &[&str]) -> RecordBatch {
    use arrow::array::{BooleanArray, Decimal128Array};
    let rows = inferences.len();
    let fees = Decimal128Array::from(vec![5_i128; rows]).with_precision_and_scale(38, 0).unwrap();
    RecordBatch::try_new(
        Table::Settled.schema(),
        vec![
            Arc::new(Int64Array::from(vec![epoch; rows])),
            Arc::new(StringArray::from(inferences.to_vec())),
            Arc::new(fees),
            Arc::new(BooleanArray::from(vec![true; rows])),
        ],
    )
    .unwrap()
}

pub(crate) fn txn(epoch: i64) -> [(String, i64); 1] {
    [("settlement".to_owned(), epoch)]
}
