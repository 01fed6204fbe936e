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
use crate::gap;
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
        // Not before the task has ended: until then it may tell its lag, or read on.
        if !self.handles.contains_key(&partition) {
            self.sealer.shared.let_go(partition);
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
                let cure = gap::cure(partition, &error);
                tracing::error!(%partition, %error, %cure, "the partition is not sealed any further");
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use async_trait::async_trait;
    use object_store::memory::InMemory;
    use parking_lot::Mutex;
    use tokio::sync::watch;
    use tributary_eventlog::{Bounds, EventLog, LogError, LoggedRecord, Record};
    use tributary_schemas::ids::{Offset, PartitionCount};

    use super::*;
    use crate::simulation::{HandClock, MemoryLog, event};
    use crate::{Journal, SeenIndex, Settings};

    /// A log that remembers what it was told to forget.
    struct Forgetting {
        log: Arc<MemoryLog>,
        forgotten: Mutex<Vec<Partition>>,
    }

    #[async_trait]
    impl EventLog for Forgetting {
        fn partition_count(&self) -> PartitionCount {
            self.log.partition_count()
        }

        async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
            self.log.append(records).await
        }

        async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
            self.log.bounds(partition).await
        }

        async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
            self.log.read(partition, from, max_bytes).await
        }

        async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
            self.log.wait_beyond(partition, offset).await
        }

        async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
            self.log.release(partition, before).await
        }

        fn forget(&self, partition: Partition) {
            self.forgotten.lock().push(partition);
        }
    }

    /// A share that the test deals out.
    struct Dealt(watch::Sender<BTreeSet<Partition>>);

    #[async_trait]
    impl Share for Dealt {
        fn partitions(&self) -> watch::Receiver<BTreeSet<Partition>> {
            self.0.subscribe()
        }

        fn done(&self, _partition: Partition, _next: Offset) {}

        async fn leave(&self) {}
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let waited = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waited).await.expect(what);
    }

    #[tokio::test]
    async fn of_a_partition_that_is_given_up_no_lag_is_told_and_nothing_is_held() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
        let log = Arc::new(Forgetting { log: MemoryLog::new(2), forgotten: Mutex::default() });
        let settings = Settings { batch_age_max: Duration::ZERO, ..Settings::default() };
        let store = Arc::new(InMemory::new());
        let born_with = Some(log.partition_count());
        let journal = Journal::open_with(store, born_with, clock.clone(), settings.clone()).await.unwrap();
        let seen = SeenIndex::open(folder.path()).unwrap();
        let sealer = Sealer::new(journal.clone(), log.clone(), seen, clock, settings);
        let (kept, given_up) = (Partition::new(0).unwrap(), Partition::new(1).unwrap());
        let share = Arc::new(Dealt(watch::Sender::new(BTreeSet::from([kept, given_up]))));
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (sealer, share, shutdown) = (sealer.clone(), share.clone(), shutdown.clone());
            async move { sealer.run(share, shutdown).await }
        });
        let tells_lag = |partition| journal.metrics().lag.get(&PartitionLabel(partition)).is_some();
        until("both tell their lag", || tells_lag(kept) && tells_lag(given_up)).await;
        assert!(log.forgotten.lock().is_empty());

        share.0.send_replace(BTreeSet::from([kept]));
        until("one is forgotten", || !log.forgotten.lock().is_empty()).await;
        assert_eq!(*log.forgotten.lock(), [given_up]);
        assert!(tells_lag(kept) && !tells_lag(given_up));

        share.0.send_replace(BTreeSet::from([kept, given_up]));
        log.append((0..20).map(|n| event(&format!("k{n}"), "a", 1)).collect()).await.unwrap();
        until("it is sealed again, and tells its lag", || journal.head(given_up).is_some() && tells_lag(given_up)).await;
        shutdown.cancel();
        running.await.unwrap();
    }
}
