//! The journal on object storage: put-if-absent, read, tail.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Clock, Partition, PartitionCount, Seq};

use crate::batch::SealedBatch;
use crate::error::JournalError;
use crate::genesis::{DeploymentId, Genesis};
use crate::header::Header;
use crate::metrics::{Metrics, PartitionLabel};
use crate::placement::{self, Placed, place};
use crate::settings::Settings;

mod birth;
mod chain;
mod discovery;
mod headers;

use birth::found_genesis;
pub use birth::read_genesis;
use chain::{check_follows, check_link};
use headers::HeaderCache;

/// Partitions looked at together when the journal is opened.
const DISCOVERIES_AT_ONCE: usize = 8;

/// The sealed batches of one deployment. Cheap to share; every method takes `&self`.
pub struct Journal {
    store: Arc<dyn ObjectStore>,
    genesis: Genesis,
    settings: Settings,
    metrics: Metrics,
    lanes: Vec<Lane>,
    headers: Mutex<HeaderCache>,
}

/// What is known of one partition.
struct Lane {
    /// The last batch known. Only ever moves forward.
    head: watch::Sender<Option<Header>>,
    /// Held by the one reader that asks the store for newer batches.
    refreshing: tokio::sync::Mutex<()>,
}

impl Journal {
    /// Opens the journal with default settings. `None`: it must exist. `Some(n)`: it is created with `n` partitions if
    /// absent; of several processes that create it at once, one decides the deployment and all go on with it.
    ///
    /// # Errors
    /// `Refused` if it is absent, has another partition count or a format this program does not know; `Corrupt` if the
    /// genesis record or the last header of a partition is damaged or a sequence number is missing; `Retry` if the store
    /// does not answer.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        born_with: Option<PartitionCount>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, JournalError> {
        Self::open_with(store, born_with, clock, Settings::default()).await
    }

    /// [`Self::open`] with settings.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(
        store: Arc<dyn ObjectStore>,
        born_with: Option<PartitionCount>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Arc<Self>, JournalError> {
        let found = read_genesis(&*store).await?;
        let genesis = match (found, born_with) {
            (Some(genesis), _) => genesis,
            (None, None) => {
                return Err(JournalError::Refused(format!("there is no journal here: {store} holds no {}", genesis_path())));
            }
            (None, Some(partitions)) => {
                let deployment = DeploymentId::random();
                let born = Genesis { deployment, format: Genesis::FORMAT, partitions, created_at: clock.now() };
                found_genesis(&*store, &born, &settings).await?
            }
        };
        match born_with {
            Some(partitions) if partitions != genesis.partitions => Err(JournalError::Refused(format!(
                "deployment {} was born with {} partitions, which never changes; {} were asked for",
                genesis.deployment,
                genesis.partitions.get(),
                partitions.get()
            ))),
            _ => Self::discover(store, genesis, settings).await,
        }
    }

    /// Opens the journal of exactly this deployment, and creates it if absent: a rebuild brings its genesis record along.
    ///
    /// # Errors
    /// `Refused` if the store holds the journal of another deployment; else as [`Self::open`].
    pub async fn adopt(store: Arc<dyn ObjectStore>, genesis: Genesis, settings: Settings) -> Result<Arc<Self>, JournalError> {
        let found = found_genesis(&*store, &genesis, &settings).await?;
        if found != genesis {
            let reason = format!("{store} holds deployment {}, not {}", found.deployment, genesis.deployment);
            return Err(JournalError::Refused(reason));
        }
        Self::discover(store, genesis, settings).await
    }

    async fn discover(store: Arc<dyn ObjectStore>, genesis: Genesis, settings: Settings) -> Result<Arc<Self>, JournalError> {
        let lane = |_| Lane { head: watch::Sender::new(None), refreshing: tokio::sync::Mutex::new(()) };
        let journal = Arc::new(Self {
            lanes: genesis.partitions.partitions().map(lane).collect(),
            store,
            genesis,
            settings,
            metrics: Metrics::default(),
            headers: Mutex::default(),
        });
        futures::stream::iter(journal.partitions().map(|partition| journal.discover_head(partition)))
            .buffer_unordered(DISCOVERIES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(journal)
    }

    async fn discover_head(&self, partition: Partition) -> Result<(), JournalError> {
        if let Some(seq) = discovery::last_seq(&*self.store, partition).await? {
            let header = self.header(partition, seq).await?;
            self.advance(header);
        }
        Ok(())
    }

    /// What the deployment was born with.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Every partition, in ascending order.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + Clone + use<> {
        self.genesis.partitions.partitions()
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it and its sealer count.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store under it.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The header of the last batch known, without a request. Batches of other processes are known after
    /// [`Self::refresh`] or [`Self::wait_beyond`]. `None` also for a partition that the deployment does not have.
    pub fn head(&self, partition: Partition) -> Option<Header> {
        self.lanes.get(partition.index()).and_then(|lane| lane.head.borrow().clone())
    }

    /// The last batch known of every partition, without a request.
    pub fn heads(&self) -> Cut {
        self.partitions().filter_map(|partition| self.head(partition).map(|header| (partition, header.seq))).collect()
    }

    /// Asks the store for batches after the head, such as another process wrote.
    ///
    /// # Errors
    /// `Corrupt` if one does not continue the chain; `Retry` if the store does not answer.
    pub async fn refresh(&self, partition: Partition) -> Result<Option<Header>, JournalError> {
        let lane = self.lane(partition)?;
        let _one_at_a_time = lane.refreshing.lock().await;
        // Ends at the first number that is free; each round moves the head.
        loop {
            let head = self.head(partition);
            let next = head.as_ref().map_or(Seq::FIRST, |header| header.seq.next());
            match self.load_header(partition, next).await? {
                None => return Ok(self.head(partition)),
                Some(header) => {
                    check_link(head.as_ref(), &header)?;
                    self.advance(header);
                }
            }
        }
    }

    /// [`Self::refresh`] for every partition.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub async fn refresh_all(&self) -> Result<Cut, JournalError> {
        futures::stream::iter(self.partitions().map(|partition| self.refresh(partition)))
            .buffer_unordered(DISCOVERIES_AT_ONCE)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await?;
        Ok(self.heads())
    }

    /// Returns the head once the partition has a batch after `seq` (`None`: any batch). Woken at once by batches that
    /// this process writes; looks every `poll_interval` for those of others. Cancel safe.
    ///
    /// # Errors
    /// `Corrupt` if a newer batch does not continue the chain. A store that does not answer is waited for.
    pub async fn wait_beyond(&self, partition: Partition, seq: Option<Seq>) -> Result<Header, JournalError> {
        let mut heads = self.lane(partition)?.head.subscribe();
        loop {
            if let Some(head) = heads.borrow_and_update().as_ref().filter(|header| Some(header.seq) > seq) {
                return Ok(head.clone());
            }
            if tokio::time::timeout(self.settings.poll_interval, heads.changed()).await.is_err() {
                match self.refresh(partition).await {
                    Err(error) if !error.is_retry() => return Err(error),
                    _ => {}
                }
            }
        }
    }

    /// Writes the batch under its sequence number, unless somebody else did. When it returns `Ok` the batch is durable
    /// and the head has moved to it; appending it again is `Ok` too.
    ///
    /// # Errors
    /// `Fenced`: another sealer's batch lies there; drop this one. `Retry`: the store did not answer within the attempts
    /// allowed, and the batch may or may not be written: offer the same batch again. `Refused`: the batch does not
    /// continue this journal. `Corrupt`: what lies there is no batch.
    pub async fn append(&self, batch: &SealedBatch) -> Result<(), JournalError> {
        let (partition, seq) = (batch.header.partition, batch.header.seq);
        let head = self.lane(partition)?.head.borrow().clone();
        if head.as_ref().is_none_or(|head| head.seq < seq) {
            check_follows(&self.genesis, head.as_ref(), &batch.header)?;
        }
        let path = batch_path(partition, seq);
        let mut last_error = None;
        for attempt in 0..self.settings.put_attempts_max.max(1) {
            if attempt > 0 {
                self.metrics.retries.get_or_create(&PartitionLabel(partition)).inc();
                back_off(&self.settings, attempt).await;
            }
            match place(&*self.store, &path, &batch.encoded).await {
                Ok(Placed::Ours) => {
                    self.advance(batch.header.clone());
                    return Ok(());
                }
                Ok(Placed::Theirs(found)) => {
                    self.check(partition, seq, found)?;
                    return Err(JournalError::Fenced { partition, seq });
                }
                Err(error) => last_error = Some(JournalError::store(&path, &error)),
            }
        }
        Err(last_error.expect("at least one attempt was made, and each that goes on leaves an error"))
    }

    /// Reads and checks a batch: its hashes, its place, and its link to the batch before if that was seen lately.
    ///
    /// # Errors
    /// `Corrupt`, naming the object, if it is damaged or missing below the head; `Refused` above the head; `Retry` if the
    /// store does not answer.
    pub async fn read(&self, partition: Partition, seq: Seq) -> Result<SealedBatch, JournalError> {
        let path = batch_path(partition, seq);
        match get(&*self.store, &path).await? {
            Some(bytes) => {
                let batch = self.check(partition, seq, bytes)?;
                self.check_with_cached(&batch.header)?;
                self.remember(batch.header.clone());
                Ok(batch)
            }
            None => Err(self.absent(partition, seq)),
        }
    }

    /// Reads and checks a header alone.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn header(&self, partition: Partition, seq: Seq) -> Result<Header, JournalError> {
        self.lane(partition)?;
        if let Some(header) = self.headers.lock().get(partition, seq) {
            return Ok(header.clone());
        }
        match self.load_header(partition, seq).await? {
            Some(header) => {
                self.check_with_cached(&header)?;
                self.remember(header.clone());
                Ok(header)
            }
            None => Err(self.absent(partition, seq)),
        }
    }

    async fn load_header(&self, partition: Partition, seq: Seq) -> Result<Option<Header>, JournalError> {
        let path = batch_path(partition, seq);
        let range = GetOptions { range: Some(GetRange::Bounded(0..Header::BYTES as u64)), ..GetOptions::default() };
        let bytes = match self.store.get_opts(&path, range).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => self.check_header(partition, seq, &bytes).map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => match self.store.head(&path).await {
                // No store can give a range of an empty object.
                Ok(meta) if meta.size == 0 => Err(JournalError::corrupt(path.to_string(), "the object is empty")),
                _ => Err(JournalError::store(&path, &error)),
            },
        }
    }

    fn check(&self, partition: Partition, seq: Seq, bytes: Bytes) -> Result<SealedBatch, JournalError> {
        self.check_header(partition, seq, &bytes)?;
        SealedBatch::decode(bytes).map_err(|damage| JournalError::corrupt(batch_path(partition, seq).to_string(), damage))
    }

    fn check_header(&self, partition: Partition, seq: Seq, bytes: &[u8]) -> Result<Header, JournalError> {
        let corrupt = |reason: &dyn std::fmt::Display| JournalError::corrupt(batch_path(partition, seq).to_string(), reason);
        let header = Header::decode(bytes).map_err(|damage| corrupt(&damage))?;
        if (header.partition, header.seq) != (partition, seq) {
            let reason = format!("it is batch {} of partition {}", header.seq, header.partition);
            return Err(corrupt(&reason));
        }
        if header.deployment != self.genesis.deployment {
            let reason = format!("it belongs to deployment {}, not {}", header.deployment, self.genesis.deployment);
            return Err(corrupt(&reason));
        }
        Ok(header)
    }

    fn check_with_cached(&self, header: &Header) -> Result<(), JournalError> {
        let Some(before) = header.seq.previous() else { return check_link(None, header) };
        match self.headers.lock().get(header.partition, before) {
            Some(previous) => check_link(Some(previous), header),
            None => Ok(()),
        }
    }

    fn absent(&self, partition: Partition, seq: Seq) -> JournalError {
        if self.head(partition).is_some_and(|head| seq <= head.seq) {
            JournalError::corrupt(batch_path(partition, seq).to_string(), "the batch is missing, though later ones exist")
        } else {
            JournalError::Refused(format!("partition {partition} has no batch {seq} yet"))
        }
    }

    fn advance(&self, header: Header) {
        self.remember(header.clone());
        let label = PartitionLabel(header.partition);
        self.lanes[header.partition.index()].head.send_if_modified(|head| {
            let forward = head.as_ref().is_none_or(|head| head.seq < header.seq);
            if forward {
                self.metrics.head.get_or_create(&label).set(header.seq.as_i64());
                *head = Some(header);
            }
            forward
        });
    }

    fn remember(&self, header: Header) {
        self.headers.lock().insert(header);
    }

    fn lane(&self, partition: Partition) -> Result<&Lane, JournalError> {
        self.lanes.get(partition.index()).ok_or_else(|| {
            let count = self.genesis.partitions.get();
            JournalError::Refused(format!("there is no partition {partition}: the deployment has {count}"))
        })
    }
}

/// The name of a batch: `journal/p-00003/00000000000000000042.batch`.
pub fn batch_path(partition: Partition, seq: Seq) -> Path {
    Path::from(format!("{}/{:020}.batch", partition_folder(partition), seq.get()))
}

/// The name of the genesis record.
pub fn genesis_path() -> Path {
    Path::from("journal/genesis.json")
}

fn partition_folder(partition: Partition) -> String {
    format!("journal/p-{:05}", partition.get())
}

async fn get(store: &dyn ObjectStore, path: &Path) -> Result<Option<Bytes>, JournalError> {
    placement::read(store, path).await.map_err(|error| JournalError::store(path, &error))
}

/// Waits before attempt number `attempt`: a random length, so that two writers that failed together do not meet again.
async fn back_off(settings: &Settings, attempt: u32) {
    const DOUBLINGS_MAX: u32 = 4;
    let (least, most) = (*settings.put_backoff.start(), *settings.put_backoff.end());
    let most = most.saturating_mul(1 << attempt.saturating_sub(1).min(DOUBLINGS_MAX)).max(least);
    tokio::time::sleep(settings.jitter.between(least, most)).await;
}

#[cfg(test)]
mod tests;
