//! A world for tests: a log in memory, a store that lies, a clock that is moved by hand, and events.

#![allow(clippy::unwrap_used)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{oneshot, watch};
use tributary_eventlog::{Bounds, EventLog, LogError, LoggedRecord, Record};
use tributary_schemas::event::{Draft, Event, EventData, FeedbackRecorded};
use tributary_schemas::ids::{Clock, Offset, Partition, PartitionCount, Timestamp};
use tributary_schemas::protobuf;
use tributary_schemas::units::{Address, Name, Score};

/// A clock that stands still until it is moved.
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_790_000_000_000_000)))
    }

    pub(crate) fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// An event of feedback: `id` is its identity, `score` its content.
pub(crate) fn event(key: &str, id: &str, score: i32) -> Record {
    let draft = Draft {
        id: id.to_owned(),
        source: "urn:test".to_owned(),
        time: Timestamp::from_micros(1_780_000_000_000_000).unwrap(),
        has_subject: false,
        has_datacontenttype: false,
        dataschema: None,
        traceparent: None,
        tracestate: None,
        sig: None,
        signer: None,
        extensions: std::collections::BTreeMap::new(),
        data: EventData::FeedbackRecorded(FeedbackRecorded {
            inference_id: Name::parse(key).unwrap(),
            actor: Address::from_bytes([1; 20]).unwrap(),
            score: Score::from_millionths(score).unwrap(),
            label: None,
        }),
    };
    let accepted_at = draft.time;
    let event = Event { draft, producer: Name::parse("dev").unwrap(), accepted_at };
    Record { key: Bytes::copy_from_slice(key.as_bytes()), value: protobuf::encode(&event) }
}

/// The event log in memory.
pub(crate) struct MemoryLog {
    partitions: Vec<Mutex<Kept>>,
    next: Vec<watch::Sender<u64>>,
    count: PartitionCount,
}

#[derive(Default)]
struct Kept {
    first: u64,
    records: Vec<LoggedRecord>,
}

impl MemoryLog {
    pub(crate) fn new(partitions: u32) -> Arc<Self> {
        Arc::new(Self {
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
            next: (0..partitions).map(|_| watch::Sender::new(0)).collect(),
            count: PartitionCount::new(partitions).unwrap(),
        })
    }

    /// Changes what is kept behind everybody's back: `first` offset and the records from there on.
    pub(crate) fn tamper(&self, partition: Partition, change: impl FnOnce(&mut u64, &mut Vec<LoggedRecord>)) {
        let mut kept = self.partitions[partition.index()].lock();
        let kept = &mut *kept;
        change(&mut kept.first, &mut kept.records);
    }

    fn bounds_of(&self, partition: Partition) -> Bounds {
        let kept = self.partitions[partition.index()].lock();
        let offset = |number| Offset::new(number).unwrap();
        Bounds { earliest: offset(kept.first), next: offset(kept.first + kept.records.len() as u64) }
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn partition_count(&self) -> PartitionCount {
        self.count
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        for Record { key, value } in records {
            let partition = self.count.partition_of(&key);
            let mut kept = self.partitions[partition.index()].lock();
            let next = kept.first + kept.records.len() as u64;
            kept.records.push(LoggedRecord { offset: Offset::new(next).unwrap(), key, value });
            self.next[partition.index()].send_replace(next + 1);
        }
        Ok(())
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        Ok(self.bounds_of(partition))
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let bounds = self.bounds_of(partition);
        if from < bounds.earliest || from > bounds.next {
            return Err(LogError::OutOfRange { partition, offset: from, bounds });
        }
        let kept = self.partitions[partition.index()].lock();
        let skip = usize::try_from(from.get() - kept.first).unwrap();
        let mut bytes = 0;
        let fits = |record: &&LoggedRecord| {
            let first = bytes == 0;
            bytes += record.bytes();
            first || bytes <= max_bytes
        };
        Ok(kept.records[skip..].iter().take_while(fits).cloned().collect())
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        let mut next = self.next[partition.index()].subscribe();
        next.wait_for(|next| *next > offset.get()).await.map(|_| ()).map_err(|_| LogError::Closed)
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        let mut kept = self.partitions[partition.index()].lock();
        let keep_from = before.get().saturating_sub(1).max(kept.first);
        let forget = usize::try_from(keep_from - kept.first).unwrap();
        kept.records.drain(..forget);
        kept.first = keep_from;
        Ok(())
    }
}

/// An object store whose answers cannot be trusted; what it holds can. Every fault follows from the seed and the order of
/// the calls.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<InMemory>,
    chance: Mutex<StdRng>,
    /// Faults per thousand writes; reads fail half as often.
    faults: AtomicUsize,
    /// Told of a write, which then waits for ever.
    held: Mutex<Option<oneshot::Sender<()>>>,
}

impl FaultyStore {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let chance = Mutex::new(StdRng::seed_from_u64(seed));
        Arc::new(Self { inner: Arc::new(InMemory::new()), chance, faults: AtomicUsize::new(0), held: Mutex::default() })
    }

    pub(crate) fn set_faults(&self, per_thousand: usize) {
        self.faults.store(per_thousand, Ordering::SeqCst);
    }

    /// `None`: no fault. Else which of five.
    fn fault(&self, share: usize) -> Option<u8> {
        let per_thousand = self.faults.load(Ordering::SeqCst) / share;
        let mut chance = self.chance.lock();
        (chance.random_range(0..1000) < per_thousand).then(|| chance.random_range(0..5))
    }

    /// Waits until the next write, perhaps the task's, is under way; that one never arrives.
    pub(crate) async fn held_write<T>(&self, task: T) -> T {
        let (told, under_way) = oneshot::channel();
        *self.held.lock() = Some(told);
        under_way.await.unwrap();
        task
    }

    async fn dawdle(&self) {
        let turns = self.chance.lock().random_range(0..4);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

fn broken(what: &'static str) -> Error {
    Error::Generic { store: "FaultyStore", source: what.into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let held = self.held.lock().take();
        if let Some(told) = held {
            let _ = told.send(());
            std::future::pending::<()>().await;
        }
        self.dawdle().await;
        let exclusive = matches!(opts.mode, PutMode::Create);
        match self.fault(1).filter(|_| exclusive) {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(0) => Err(broken("the request was lost")),
            Some(1) => {
                let _ = self.inner.put_opts(location, payload, opts).await;
                Err(broken("the answer was lost"))
            }
            Some(2) => {
                // The client's own retry met its first attempt.
                let _ = self.inner.put_opts(location, payload, opts).await;
                Err(Error::AlreadyExists { path: location.to_string(), source: "own or another's".into() })
            }
            Some(3) => {
                let _ = self.inner.put_opts(location, payload, opts).await;
                Err(Error::Precondition { path: location.to_string(), source: "conflict".into() })
            }
            Some(_) => {
                // The request is under way and arrives after its sender gave up.
                let (inner, location) = (self.inner.clone(), location.clone());
                let turns = self.chance.lock().random_range(0..60);
                tokio::spawn(async move {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                    let _ = inner.put_opts(&location, payload, opts).await;
                });
                Err(broken("timed out"))
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.dawdle().await;
        if self.fault(2).is_some() {
            return Err(broken("the read failed"));
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
