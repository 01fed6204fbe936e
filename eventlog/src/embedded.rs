//! The log in one process and one directory, on RocksDB.
//!
//! One writer thread turns all appends that wait into one write and one sync. Readers see a record only once it is
//! durable. When the storage fails (a full disk), appends get [`LogError::Retry`], reads go on where they can, and the
//! writer reopens the storage when there is room again; what was acknowledged is there, what was not may be.
//!
//! Memory: the write buffers (96 MiB at most by default), the appends that wait ([`Settings::append_bytes_max`]) and what
//! readers ask for. Disk: what is not released, and at most a few write buffers more.

mod layout;
mod shared;
mod space;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use self::shared::Shared;
use self::store::{Birth, Store};
use self::writer::{Append, Request, Writer};
use crate::EventLog;
use crate::error::LogError;
use crate::metrics::Metrics;
use crate::record::{Bounds, LoggedRecord, Record, place};
use crate::settings::Settings;

/// The queue's bytes are counted in units of this size.
const QUEUE_UNIT_BYTES: usize = 1024;

/// The embedded log. Dropping it ends its writer and waits for the commit under way; [`EmbeddedLog::close`] also waits for
/// reads, so that the directory can be opened again at once.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    queue_bytes: Arc<Semaphore>,
    queue_units: usize,
    reads: Arc<Semaphore>,
    /// Released since the records of a partition were last deleted, as the offset at that moment.
    reclaim_asked: Vec<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, and creates it if there is none.
    ///
    /// # Errors
    /// [`LogError::InUse`] when it is open elsewhere, [`LogError::Reject`] when it has another number of partitions or a
    /// format that this binary does not know, [`LogError::Retry`] for a full disk, [`LogError::Corrupt`].
    pub async fn open(dir: &Path, partitions: PartitionCount, settings: Settings) -> Result<Arc<Self>, LogError> {
        Self::start(dir, partitions, settings, Birth::Fresh).await
    }

    /// Creates a log in which each partition named begins at the offset given, the others at 0; for use after a rebuild,
    /// when the journal already holds everything before.
    ///
    /// # Errors
    /// Those of [`Self::open`], [`LogError::Exists`] when there is a log already, and [`LogError::Reject`] when a partition
    /// does not exist. A directory in which an earlier call was cut off holds no log: it is created then.
    pub async fn create_at(
        dir: &Path,
        partitions: PartitionCount,
        starts: &[(Partition, Offset)],
        settings: Settings,
    ) -> Result<Arc<Self>, LogError> {
        let mut offsets = vec![Offset::FIRST; partitions.get() as usize];
        for (partition, start) in starts {
            let slot = offsets.get_mut(partition.index());
            let none = || LogError::Reject { reason: format!("there is no partition {partition} among {}", partitions.get()) };
            *slot.ok_or_else(none)? = *start;
        }
        Self::start(dir, partitions, settings, Birth::New(offsets)).await
    }

    async fn start(dir: &Path, partitions: PartitionCount, settings: Settings, birth: Birth) -> Result<Arc<Self>, LogError> {
        let dir = dir.to_path_buf();
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(&dir, partitions, &settings, &birth)?;
            Shared::new(dir, partitions, settings, store)
        });
        let shared = Arc::new(opened.await.map_err(|_| LogError::Closed)??);
        let (requests, receiver) = mpsc::channel(shared.settings.appends_queued_max);
        let queue_units = shared.settings.append_bytes_max.div_ceil(QUEUE_UNIT_BYTES);
        let writer = Writer::new(Arc::clone(&shared), receiver);
        let thread = std::thread::Builder::new().name("eventlog-writer".into()).spawn(move || writer.run());
        let thread = thread.map_err(|e| LogError::Retry { reason: format!("no thread for the writer: {e}") })?;
        Ok(Arc::new(Self {
            requests,
            queue_bytes: Arc::new(Semaphore::new(queue_units)),
            queue_units,
            reads: Arc::new(Semaphore::new(shared.settings.reads_max)),
            reclaim_asked: shared.all_bounds().iter().map(|b| AtomicU64::new(b.earliest.get())).collect(),
            thread: Mutex::new(Some(thread)),
            shared,
        }))
    }

    /// The log's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Finishes the appends that wait, ends the writer and closes the storage. Whoever waits gets [`LogError::Closed`].
    pub async fn close(&self) {
        self.shared.set_closed();
        // A full queue is being emptied by the writer, so this waits for room, not for ever.
        let _ = self.requests.send(Request::Close).await;
        let thread = self.thread.lock().take();
        let shared = Arc::clone(&self.shared);
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            shared.drop_store();
        });
        let _ = ended.await;
    }

    /// Has released records deleted once there are enough of them to be worth it.
    fn reclaim_if_worth_it(&self, partition: Partition, earliest: Offset) {
        let asked = &self.reclaim_asked[partition.index()];
        let before = asked.load(Ordering::Relaxed);
        let released = earliest.get().saturating_sub(before).saturating_mul(self.shared.mean_record_bytes());
        if released < self.shared.settings.reclaim_bytes {
            return;
        }
        // A full queue means that the writer is busy; the next release asks again.
        if self.requests.try_send(Request::Reclaim(partition)).is_ok() {
            asked.fetch_max(earliest.get(), Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    fn partition_count(&self) -> PartitionCount {
        self.shared.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        if self.shared.is_closed() {
            return Err(LogError::Closed);
        }
        if records.is_empty() {
            return Ok(());
        }
        let (records, bytes) = place(records, self.shared.partitions, self.shared.settings.append_bytes_max)?;
        let units = u32::try_from(bytes.div_ceil(QUEUE_UNIT_BYTES).clamp(1, self.queue_units)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.queue_bytes).acquire_many_owned(units).await.map_err(|_| LogError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let request = Request::Append(Append { records, bytes, permit, answer });
        self.requests.send(request).await.map_err(|_| LogError::Closed)?;
        answered.await.map_err(|_| LogError::Closed)?
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        if self.shared.is_closed() {
            return Err(LogError::Closed);
        }
        Ok(*self.shared.head(partition)?.borrow())
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let bounds = self.bounds(partition).await?;
        if from < bounds.earliest || from > bounds.next {
            return Err(LogError::OutOfRange { partition, offset: from, bounds });
        }
        if from == bounds.next {
            return Ok(Vec::new());
        }
        let permit = Arc::clone(&self.reads).acquire_owned().await.map_err(|_| LogError::Closed)?;
        let shared = Arc::clone(&self.shared);
        let range = Bounds { earliest: from, next: bounds.next };
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.with_store(|store| store.read(partition, range, max_bytes.max(1)))
        });
        let result = reading.await.map_err(|_| LogError::Closed)?;
        // Records released meanwhile look like missing ones.
        let bounds = self.bounds(partition).await?;
        if result.is_err() && from < bounds.earliest {
            return Err(LogError::OutOfRange { partition, offset: from, bounds });
        }
        result
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        let mut head = self.shared.head(partition)?.subscribe();
        let mut closed = self.shared.watch_closed();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(LogError::Closed),
            reached = head.wait_for(|bounds| bounds.next > offset) => reached.map(|_| ()).map_err(|_| LogError::Closed),
        }
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        if self.shared.is_closed() {
            return Err(LogError::Closed);
        }
        let bounds = self.shared.release(partition, before)?;
        self.reclaim_if_worth_it(partition, bounds.earliest);
        Ok(())
    }

    fn trouble(&self) -> Option<LogError> {
        if self.requests.is_closed() {
            return Some(LogError::Closed);
        }
        let room = space::check(&self.shared.dir, self.shared.settings.disk_reserve_bytes);
        room.and_then(|()| self.shared.with_store(|_| Ok(()))).err()
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.set_closed();
        let Some(thread) = self.thread.lock().take() else { return };
        // The queue may be full, but then the writer is emptying it; a closed channel ends it as well.
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, closed));
        let _ = thread.join();
        self.shared.drop_store();
    }
}
