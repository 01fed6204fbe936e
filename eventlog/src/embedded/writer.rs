//! The one thread that writes: it gives offsets, and makes many appends durable with one sync.

use std::sync::Arc;
use std::time::Instant;

use rocksdb::WriteBatch;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{info, warn};
use tributary_schemas::ids::{Offset, Partition};

use super::shared::Shared;
use super::store::{Birth, Store};
use super::{layout, space};
use crate::error::LogError;
use crate::record::Record;

/// Appends in one commit at most.
const COMMIT_APPENDS_MAX: usize = 1024;

/// What the writer is asked to do.
pub enum Request {
    /// Make records durable.
    Append(Append),
    /// Delete what is released of a partition.
    Reclaim(Partition),
    /// Write down what is released, and end.
    Close,
}

/// Records that wait to become durable.
pub struct Append {
    /// Each with its partition, in the order of the caller.
    pub records: Vec<(Partition, Record)>,
    /// Bytes of keys and values.
    pub bytes: usize,
    /// Holds the bytes' place in the queue.
    pub permit: OwnedSemaphorePermit,
    /// Gets the answer; nobody may be listening any more.
    pub answer: oneshot::Sender<Result<(), LogError>>,
}

/// The writer's own state.
pub struct Writer {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    /// The next offset of each partition.
    next: Vec<Offset>,
    /// Before which offset records have been deleted, per partition.
    deleted_before: Vec<Offset>,
    /// Set when the storage failed: since when, and nothing is written until it has been reopened.
    failed_at: Option<Instant>,
    scratch: Vec<u8>,
}

impl Writer {
    /// A writer for an open log.
    pub fn new(shared: Arc<Shared>, requests: mpsc::Receiver<Request>) -> Self {
        let bounds = shared.all_bounds();
        let next = bounds.iter().map(|b| b.next).collect();
        let deleted_before = bounds.iter().map(|b| b.earliest).collect();
        Self { shared, requests, next, deleted_before, failed_at: None, scratch: Vec::new() }
    }

    /// Serves requests until the log is closed. Runs on a thread of its own.
    pub fn run(mut self) {
        let mut appends = Vec::new();
        while let Some(request) = self.requests.blocking_recv() {
            let mut bytes = 0;
            let mut request = Some(request);
            let mut closing = false;
            let mut reclaim = Vec::new();
            while let Some(one) = request.take() {
                match one {
                    Request::Append(append) => {
                        bytes += append.bytes;
                        appends.push(append);
                    }
                    Request::Reclaim(partition) => reclaim.push(partition),
                    Request::Close => closing = true,
                }
                if !closing && bytes < self.shared.settings.commit_bytes_max && appends.len() < COMMIT_APPENDS_MAX {
                    request = self.requests.try_recv().ok();
                }
            }
            self.commit(&mut appends);
            reclaim.into_iter().for_each(|partition| self.reclaim(partition));
            if closing {
                break;
            }
        }
        self.close();
    }

    /// Makes the appends durable together and answers each of them.
    fn commit(&mut self, appends: &mut Vec<Append>) {
        if appends.is_empty() {
            return;
        }
        let result = self.write(appends);
        if result.is_err() {
            self.shared.metrics.append_errors.inc_by(appends.len() as u64);
        }
        for Append { permit, answer, .. } in appends.drain(..) {
            drop(permit);
            // Who asked may have gone; the records stay.
            let _ = answer.send(result.clone());
        }
    }

    fn write(&mut self, appends: &[Append]) -> Result<(), LogError> {
        if let Err(full) = space::check(&self.shared.dir, self.shared.settings.disk_reserve_bytes) {
            // Little may have been released, but now it counts.
            self.shared.partitions.partitions().for_each(|partition| self.reclaim(partition));
            return Err(full);
        }
        self.reopen_if_failed()?;
        let started = Instant::now();
        let mut next = self.next.clone();
        let mut batch = WriteBatch::default();
        let (mut records, mut bytes) = (0, 0);
        for append in appends {
            for (partition, record) in &append.records {
                let offset = &mut next[partition.index()];
                layout::encode(record, &mut self.scratch);
                batch.put(layout::record_key(*partition, *offset), &self.scratch);
                *offset = offset.next();
            }
            records += append.records.len() as u64;
            bytes += append.bytes as u64;
        }
        if let Err(error) = self.shared.with_store(|store| store.write_durably(batch)) {
            // What of it was recorded is known only once the log has been read again.
            self.failed_at = Some(Instant::now());
            warn!(dir = %self.shared.dir.display(), %error, "a commit failed; the log will be reopened");
            return Err(error);
        }
        self.publish(next);
        let metrics = &self.shared.metrics;
        metrics.sync_seconds.observe(started.elapsed().as_secs_f64());
        metrics.commits.inc();
        metrics.records.inc_by(records);
        metrics.bytes.inc_by(bytes);
        self.shared.count_bytes(records, bytes);
        Ok(())
    }

    /// Lets readers see everything before `next`.
    fn publish(&mut self, next: Vec<Offset>) {
        for (index, (old, new)) in self.next.iter().zip(&next).enumerate() {
            if old != new {
                self.shared.advance(index, *new);
            }
        }
        self.next = next;
    }

    /// After a failed write RocksDB takes no more; opened again, it shows what was really recorded.
    fn reopen_if_failed(&mut self) -> Result<(), LogError> {
        let Some(failed_at) = self.failed_at else { return Ok(()) };
        let settings = &self.shared.settings;
        if failed_at.elapsed() < settings.reopen_interval {
            return Err(LogError::Retry { reason: "the log waits a moment before it reopens its storage".into() });
        }
        self.failed_at = Some(Instant::now());
        self.shared.metrics.reopens.inc();
        let shared = &self.shared;
        let bounds = shared.replace_store(|| Store::open(&shared.dir, shared.partitions, settings, &Birth::Fresh))?;
        for (index, (known, found)) in self.next.iter().zip(&bounds).enumerate() {
            if found.next < *known {
                let reason = format!("after it was reopened, partition {index} ends at {}, but {known} was durable", found.next);
                return Err(LogError::Corrupt { reason });
            }
        }
        info!(dir = %self.shared.dir.display(), "the log was reopened and goes on");
        self.failed_at = None;
        self.publish(bounds.iter().map(|b| b.next).collect());
        Ok(())
    }

    /// Deletes what is released of a partition, unless that has been done already.
    fn reclaim(&mut self, partition: Partition) {
        let earliest = self.shared.bounds(partition.index()).earliest;
        if earliest <= self.deleted_before[partition.index()] || self.reopen_if_failed().is_err() {
            return;
        }
        let scarce = space::check(&self.shared.dir, 2 * self.shared.settings.disk_reserve_bytes).is_err();
        let result = self.shared.with_store(|store| {
            store.delete_before(partition, earliest)?;
            if scarce { store.give_space_back(partition, earliest) } else { Ok(()) }
        });
        match result {
            Ok(()) => self.deleted_before[partition.index()] = earliest,
            Err(error) => {
                self.failed_at = Some(Instant::now());
                warn!(dir = %self.shared.dir.display(), %partition, %error, "released records could not be deleted yet");
            }
        }
    }

    fn close(&mut self) {
        for partition in self.shared.partitions.partitions() {
            self.reclaim(partition);
        }
        self.requests.close();
        // Appends that slipped in behind the end are told so.
        while let Ok(request) = self.requests.try_recv() {
            if let Request::Append(append) = request {
                let _ = append.answer.send(Err(LogError::Closed));
            }
        }
    }
}
