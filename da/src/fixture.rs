//! What the tests of this stage stand on: a journal in memory, a slow clock, a store that fails.
#![allow(clippy::unwrap_used)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;
use tributary_journal::{Contents, Journal, SealedBatch};
use tributary_schemas::ids::{Clock, Offset, Partition, PartitionCount, Seq, Timestamp};
use tributary_schemas::units::keccak256;

use crate::certificates::Certificates;
use crate::check::{Checked, Finding, check_all, none_outstanding};
use crate::client::DaClient;
use crate::committer::Committer;
use crate::dispersal::Dispersal;
use crate::local::LocalDa;
use crate::metrics::Metrics;
use crate::names;
use crate::publisher::Publisher;
use crate::record::BlobRecord;
use crate::retry::Patience;
use crate::settings::Settings;

/// A clock that moves when told, and a microsecond whenever it is read, so that no two certificates are alike.
pub struct SlowClock(AtomicI64);

impl SlowClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_790_000_000_000_000)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SlowClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
}

/// What goes wrong in a [`Faulty`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// From this put on, nothing is written any more and every call fails: the process died before it.
    DiesBefore(u64),
    /// This put is written, then every call fails: the process died before it saw the answer.
    DiesAfter(u64),
    /// Every third put is written but its answer lost; every fourth get fails once.
    LosesAnswers,
    /// By this seed, calls take longer or shorter and some answers of puts are lost.
    Unruly(u64),
    None,
}

/// A store in front of another that fails as told; the one behind it is what survives.
pub struct Faulty {
    behind: Arc<dyn ObjectStore>,
    fault: Fault,
    puts: AtomicU64,
    gets: AtomicU64,
    names: Mutex<Vec<Path>>,
}

impl Faulty {
    pub fn new(behind: Arc<dyn ObjectStore>, fault: Fault) -> Arc<Self> {
        Arc::new(Self { behind, fault, puts: AtomicU64::new(0), gets: AtomicU64::new(0), names: Mutex::default() })
    }

    /// The names that were put, in the order in which that was asked for.
    pub fn names(&self) -> Vec<Path> {
        self.names.lock().clone()
    }

    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::SeqCst)
    }

    fn dead(&self) -> bool {
        match self.fault {
            Fault::DiesBefore(put) => self.puts() >= put,
            Fault::DiesAfter(put) => self.puts() > put,
            Fault::LosesAnswers | Fault::Unruly(_) | Fault::None => false,
        }
    }
}

impl Faulty {
    /// Lets others go first a few times; a number by seed and call for further decisions.
    async fn dawdle(&self, call: u64) -> u64 {
        let Fault::Unruly(seed) = self.fault else { return 0 };
        let drawn = keccak256([seed.to_be_bytes(), call.to_be_bytes()].concat());
        for _ in 0..drawn[0] % 6 {
            tokio::task::yield_now().await;
        }
        u64::from(drawn[1])
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "the connection was reset".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        if self.dead() {
            return Err(lost());
        }
        let number = self.puts.fetch_add(1, Ordering::SeqCst);
        self.names.lock().push(location.clone());
        match self.fault {
            Fault::DiesBefore(put) if number >= put => return Err(lost()),
            _ => {}
        }
        let drawn = self.dawdle(2 * number).await;
        let answer = self.behind.put_opts(location, payload, opts).await;
        match self.fault {
            Fault::Unruly(_) if drawn % 8 == 1 => Err(lost()),
            Fault::DiesAfter(put) if number >= put => Err(lost()),
            Fault::LosesAnswers if number.is_multiple_of(3) => Err(lost()),
            _ => answer,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.behind.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let number = self.gets.fetch_add(1, Ordering::SeqCst);
        if self.dead() || (self.fault == Fault::LosesAnswers && number.is_multiple_of(4)) {
            return Err(lost());
        }
        self.dawdle(2 * number + 1).await;
        self.behind.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.behind.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.behind.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.behind.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.behind.copy_opts(from, to, options).await
    }
}

/// A deployment in memory.
pub struct World {
    pub store: Arc<dyn ObjectStore>,
    pub journal: Arc<Journal>,
    pub clock: Arc<SlowClock>,
    /// One for all, so that a payload is committed to once.
    pub committer: Arc<Committer>,
}

impl World {
    pub async fn new(partitions: u32) -> Self {
        let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), SlowClock::new());
        let count = PartitionCount::new(partitions).unwrap();
        let journal = Journal::open(Arc::clone(&store), Some(count), clock.clone() as Arc<dyn Clock>).await.unwrap();
        // As any publisher before its first plan.
        let patience = Patience::new(&quick(), Metrics::default());
        crate::genesis::place(&store, journal.genesis(), &patience).await.unwrap();
        Self { store, journal, clock, committer: Committer::shipped() }
    }

    /// Seals a batch with one event of this many bytes; none for 0.
    pub async fn seal(&self, partition: u32, bytes: usize) -> SealedBatch {
        let partition = Partition::new(partition).unwrap();
        let previous = self.journal.head(partition);
        let next = previous.as_ref().map_or(0, |header| header.next_offset.get()) + 1;
        let seed = format!("{partition}-{next}");
        // Incompressible, so that the size of the batch follows from that of the event.
        let event: Vec<u8> = (0..bytes.div_ceil(32)).flat_map(|i| keccak256(format!("{seed}-{i}")).0).take(bytes).collect();
        let now = self.clock.now();
        let batch = SealedBatch::seal(Contents {
            deployment: self.journal.genesis().deployment,
            partition,
            previous,
            next_offset: Offset::new(next).unwrap(),
            last_record_hash: keccak256(&seed),
            times: (now, now),
            sealed_at: now,
            events: if bytes == 0 { Vec::new() } else { vec![Bytes::from(event)] },
        });
        let batch = batch.unwrap();
        self.journal.append(&batch).await.unwrap();
        batch
    }

    /// A publisher that sees the world through `store`.
    pub fn publisher_on(&self, store: Arc<dyn ObjectStore>, settings: Settings) -> Arc<Publisher> {
        let client = self.client_on(Arc::clone(&store));
        self.publisher_with(store, client, settings)
    }

    /// A publisher that sees the world through `store` and publishes through `client`.
    pub fn publisher_with(&self, store: Arc<dyn ObjectStore>, client: Arc<dyn DaClient>, settings: Settings) -> Arc<Publisher> {
        let dispersal = Dispersal::new(store, client, Arc::clone(&self.committer), &settings);
        Publisher::new(dispersal, Arc::clone(&self.journal), self.clock.clone() as Arc<dyn Clock>, settings)
    }

    pub fn publisher(&self) -> Arc<Publisher> {
        self.publisher_on(Arc::clone(&self.store), quick())
    }

    pub fn client(&self) -> Arc<LocalDa> {
        self.client_on(Arc::clone(&self.store))
    }

    fn client_on(&self, store: Arc<dyn ObjectStore>) -> Arc<LocalDa> {
        Arc::new(LocalDa::with_committer(store, self.clock.clone() as Arc<dyn Clock>, Arc::clone(&self.committer)))
    }

    /// The records of all blobs, with their certificates.
    pub async fn recorded(&self) -> Vec<BlobRecord> {
        let certificates = Certificates::new(Arc::clone(&self.store));
        let blobs = certificates.blobs().await.unwrap();
        certificates.records(blobs.iter().copied()).try_collect().await.unwrap()
    }

    pub async fn findings(&self) -> Vec<Finding> {
        self.findings_by(self.client()).await
    }

    /// What the check finds when it reads through `client`.
    pub async fn findings_by(&self, client: Arc<dyn DaClient>) -> Vec<Finding> {
        let (store, journal, committer) = (Arc::clone(&self.store), Arc::clone(&self.journal), Arc::clone(&self.committer));
        check_all(Checked { store, journal, client, committer }, none_outstanding()).try_collect().await.unwrap()
    }

    /// Every object of this stage but the copy of the genesis record, which is there from the beginning.
    pub async fn objects(&self) -> Vec<(Path, Bytes)> {
        let mut objects = Vec::new();
        let listed: Vec<ObjectMeta> = self.store.list(Some(&Path::from("da"))).try_collect().await.unwrap();
        for object in listed.into_iter().filter(|object| object.location.as_ref() != names::GENESIS) {
            objects.push((object.location.clone(), self.store.get(&object.location).await.unwrap().bytes().await.unwrap()));
        }
        objects.sort();
        objects
    }

    pub async fn overwrite(&self, path: &Path, bytes: Bytes) {
        self.store.put_opts(path, PutPayload::from(bytes), PutMode::Overwrite.into()).await.unwrap();
    }

    /// The sealed batches of a partition, as the journal has them.
    pub async fn sealed(&self, partition: u32) -> Vec<SealedBatch> {
        let partition = Partition::new(partition).unwrap();
        let mut batches = Vec::new();
        if let Some(head) = self.journal.head(partition) {
            for seq in (0..=head.seq.get()).filter_map(Seq::new) {
                batches.push(self.journal.read(partition, seq).await.unwrap());
            }
        }
        batches
    }
}

/// Settings without long pauses, and blobs of a few kilobytes.
pub fn quick() -> Settings {
    Settings {
        blob_bytes_max: 4096,
        attempts_max: 4,
        backoff_min: Duration::from_micros(10),
        backoff_max: Duration::from_micros(100),
        ..Settings::default()
    }
}
