//! The tasks of one sealer: one for each partition of its share, started and ended as the share changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tributary_eventlog::Share;
use tributary_schemas::ids::{Partition, Seq};

use super::{Sealer, Turn};
use crate::error::JournalError;
use crate::metrics::PartitionLabel;

/// Tasks under way.
pub(super) struct Crew {
    sealer: Sealer,
    share: Arc<dyn Share>,
    shutdown: CancellationToken,
    handles: BTreeMap<Partition, AbortHandle>,
    /// In the order in which they end: one that breaks is noted at once, though the others live on.
    tasks: FuturesUnordered<Task>,
}

type Task = futures::future::BoxFuture<'static, (Partition, Result<(), tokio::task::JoinError>)>;

impl Crew {
    pub(super) fn new(sealer: Sealer, share: Arc<dyn Share>, shutdown: CancellationToken) -> Self {
        Self { sealer, share, shutdown, handles: BTreeMap::new(), tasks: FuturesUnordered::new() }
    }

    /// Starts and ends tasks, so that there is one for each of these partitions. What a task that is ended had in hand is
    /// dropped: whoever has the partition next reads it again.
    pub(super) async fn follow(&mut self, wanted: BTreeSet<Partition>) {
        let lost: Vec<Partition> = self.handles.keys().filter(|partition| !wanted.contains(partition)).copied().collect();
        for partition in lost {
            if let Some(handle) = self.handles.remove(&partition) {
                handle.abort();
            }
            self.sealer.shared.own.lock().remove(&partition);
            self.sealer.shared.note(partition, None);
        }
        for partition in wanted {
            if self.handles.contains_key(&partition) || partition.index() >= self.sealer.lanes.len() {
                continue;
            }
            self.sealer.shared.own.lock().insert(partition);
            let work = run_partition(self.sealer.clone(), Arc::clone(&self.share), partition, self.shutdown.clone());
            let task = tokio::spawn(work);
            self.handles.insert(partition, task.abort_handle());
            self.tasks.push(Box::pin(async move { (partition, task.await) }));
        }
    }

    /// Notes tasks that end, of which one that was told to is no news. Returns after the first; cancel safe.
    pub(super) async fn watch(&mut self) {
        let Some((partition, ended)) = self.tasks.next().await else { return std::future::pending().await };
        if let Err(error) = ended
            && !error.is_cancelled()
        {
            tracing::error!(%partition, %error, "the sealer's task ended early");
            let trouble = JournalError::Refused(format!("the sealer's task ended early: {error}"));
            self.sealer.shared.note(partition, Some(&trouble));
        }
    }

    /// Waits until all have ended, as they do once the service is shut down.
    pub(super) async fn end(&mut self) {
        while !self.tasks.is_empty() {
            self.watch().await;
        }
    }
}

/// Whoever does not wait for the end does not leave tasks behind.
impl Drop for Crew {
    fn drop(&mut self) {
        self.handles.values().for_each(AbortHandle::abort);
    }
}

/// Seals one partition until shut down, then what is in hand.
async fn run_partition(sealer: Sealer, share: Arc<dyn Share>, partition: Partition, shutdown: CancellationToken) {
    let shared = &sealer.shared;
    take_over(&sealer, partition, &shutdown).await;
    sealer.lanes[partition.index()].lock().await.forget();
    while !shutdown.is_cancelled() {
        let known = shared.journal.head(partition).map(|header| header.seq);
        let turn = sealer.lanes[partition.index()].lock().await.turn().await;
        shared.note(partition, turn.as_ref().err());
        if let Some(head) = shared.journal.head(partition) {
            share.done(partition, head.next_offset);
        }
        let wait = match turn {
            Ok(turn) => turn,
            Err(error) if error.is_retry() => {
                shared.metrics.turn_retries.get_or_create(&PartitionLabel(partition)).inc();
                Turn::Rest(shared.retry_pause())
            }
            Err(error) => {
                tracing::error!(%partition, %error, "the partition is not sealed any further");
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = another_decides(&sealer, partition, known) => Turn::Again,
                }
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = shared.rest(partition, wait) => {}
        }
    }
    let sealed = sealer.lanes[partition.index()].lock().await.seal_in_hand().await;
    shared.note(partition, sealed.as_ref().err());
    match (sealed, shared.journal.head(partition)) {
        (Ok(()), Some(head)) => share.done(partition, head.next_offset),
        (Ok(()), None) => {}
        (Err(error), _) => tracing::warn!(%partition, %error, "what was in hand is left for the next sealer"),
    }
}

/// Asks the store what others sealed, since the process was not their reader until now.
async fn take_over(sealer: &Sealer, partition: Partition, shutdown: &CancellationToken) {
    let shared = &sealer.shared;
    let began = Instant::now();
    while !shutdown.is_cancelled() {
        let Err(error) = shared.journal.refresh(partition).await else { break };
        if !error.is_retry() {
            // The first turn meets it again, and tells it.
            break;
        }
        shared.note(partition, Some(&error));
        shared.metrics.turn_retries.get_or_create(&PartitionLabel(partition)).inc();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(shared.retry_pause()) => {}
        }
    }
    let head = shared.journal.head(partition).map(|header| header.seq);
    tracing::debug!(%partition, ?head, took = ?began.elapsed(), "the partition is taken over");
}

/// Returns when another process has written the next batch of a partition that stands still: an operator's decision is one.
async fn another_decides(sealer: &Sealer, partition: Partition, known: Option<Seq>) {
    if let Err(error) = sealer.shared.journal.wait_beyond(partition, known).await {
        tracing::error!(%partition, %error, "the partition stands still until this process is started again");
        std::future::pending::<()>().await;
    }
}
