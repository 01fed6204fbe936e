//! A job that dies before any of its writes, or whose writes are done but not answered.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

use tokio::sync::Notify;

use super::stack::{Stack, epoch, memory};
use super::world::edge;
use crate::{Settings, SettleRequest};
use tributary_schemas::tables::Table;

/// A store that lets so many writes pass, and then none.
#[derive(Debug)]
pub struct Dying {
    inner: Arc<dyn ObjectStore>,
    /// Only writes of objects below this count.
    counted: &'static str,
    writes_left: AtomicI64,
    /// Whether the write that kills is carried out nevertheless.
    answers_lost: bool,
    died: Notify,
}

impl fmt::Display for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dying")
    }
}

fn dead() -> object_store::Error {
    object_store::Error::Generic { store: "dying", source: "the store is dead".into() }
}

impl Dying {
    pub fn new(inner: Arc<dyn ObjectStore>, writes: i64, answers_lost: bool) -> Arc<Self> {
        Self::below("", inner, writes, answers_lost)
    }

    fn below(counted: &'static str, inner: Arc<dyn ObjectStore>, writes: i64, answers_lost: bool) -> Arc<Self> {
        Arc::new(Self { inner, counted, writes_left: AtomicI64::new(writes), answers_lost, died: Notify::new() })
    }

    /// Returns once it is dead.
    pub async fn dies(&self) {
        self.died.notified().await;
    }

    /// Whether this write is carried out, and whether it is answered.
    fn write(&self, location: &Path) -> (bool, bool) {
        if !location.as_ref().starts_with(self.counted) {
            let alive = self.alive().is_ok();
            return (alive, alive);
        }
        let left = self.writes_left.fetch_sub(1, Ordering::SeqCst);
        if left == 0 && !self.answers_lost {
            self.died.notify_one();
        }
        (left > 0 || (left == 0 && self.answers_lost), left > 0)
    }

    pub fn is_dead(&self) -> bool {
        self.writes_left.load(Ordering::SeqCst) < 0
    }

    fn alive(&self) -> Result<()> {
        if self.is_dead() { Err(dead()) } else { Ok(()) }
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (carried_out, answered) = self.write(location);
        if !carried_out {
            return Err(dead());
        }
        let result = self.inner.put_opts(location, payload, opts).await;
        if !answered {
            self.died.notify_one();
            return Err(dead());
        }
        result
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.alive()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// The store of a world whose first epoch is settled and whose second lies there.
async fn prepared(number: u32) -> Arc<dyn ObjectStore> {
    let (world, store) = (edge(number), memory());
    let stack = Stack::open(Arc::clone(&store), tributary_schemas::ids::PartitionCount::new(2)).await;
    stack.take(&world.epochs[0]).await;
    stack.settle().await.unwrap();
    stack.take(&world.epochs[1]).await;
    store
}

/// Runs a job until it ends or its store dies; whether it died.
async fn settle_until_dead(store: Arc<Dying>, settings: Settings) -> bool {
    let dying = Stack::open(Arc::clone(&store) as Arc<dyn ObjectStore>, None).await;
    let job = dying.settlement_with(settings);
    tokio::select! {
        ended = job.settle(SettleRequest::default()) => ended.is_err(),
        () = store.dies() => true,
    }
}

/// Kills the job at its k-th write for every k until it survives; each time the next job ends with the expected tables.
async fn dies_at_every_write(number: u32, answers_lost: bool) {
    let mut closed_by_the_dead = 0;
    for writes in 0_i64.. {
        assert!(writes < 200, "a job has a bounded number of writes");
        let store = prepared(number).await;
        let dying = Dying::new(Arc::clone(&store), writes, answers_lost);
        let died = settle_until_dead(dying, Stack::settings()).await;
        let after = Stack::open(store, None).await;
        let outcome = after.settle().await.unwrap();
        assert_eq!(outcome.epoch.epoch, 2, "killed at write {writes}");
        closed_by_the_dead += i32::from(!outcome.closed);
        assert_eq!(after.outcome(epoch(2)).await, edge(number).expected(2), "killed at write {writes}");
        after.verify().await.unwrap_or_else(|e| panic!("killed at write {writes}: {e}"));
        if !died {
            break;
        }
    }
    assert!(closed_by_the_dead > 1, "some jobs died after their record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_killed_before_any_of_its_writes_is_completed_by_the_next() {
    dies_at_every_write(7, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_killed_after_any_of_its_writes_is_completed_by_the_next() {
    dies_at_every_write(8, true).await;
}

/// The parts of epoch 2 that a table holds, and whether it holds the last one.
async fn parts_written(stack: &Stack, table: Table) -> (usize, bool) {
    let txns = stack.lake.snapshot(table).await.unwrap().txns.clone();
    let parts = txns.iter().filter(|(id, written)| id.starts_with("settlement/") && **written == 2).count();
    (parts, txns.get("settlement") == Some(&2))
}

/// A part of `reward_lines` takes a data file, a commit and its digests.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_killed_between_the_parts_of_an_epoch_is_completed_to_the_same_root() {
    let (number, mut between_parts) = (7, 0);
    for writes in 0..9 {
        let store = prepared(number).await;
        // Once with parts kept from the first computation, once with the epoch computed again for writing.
        let parts_kept_max = if writes % 2 == 0 { 0 } else { 1_000 };
        let settings = Settings { lines_per_part: 10, parts_kept_max, ..Stack::settings() };
        let dying = Dying::below("lake/reward_lines", Arc::clone(&store), writes, false);
        assert!(settle_until_dead(dying, settings.clone()).await, "the epoch has more than nine writes of lines");
        let after = Stack::open(store, None).await;
        let (parts, complete) = parts_written(&after, Table::RewardLines).await;
        assert!(!complete, "killed at write {writes}");
        between_parts += usize::from(parts > 0);
        let outcome = after.settlement_with(settings).settle(SettleRequest::default()).await.unwrap();
        assert_eq!((outcome.closed, outcome.epoch.epoch), (false, 2), "killed at write {writes}");
        for table in [Table::RewardLines, Table::Settled] {
            let (parts, complete) = parts_written(&after, table).await;
            assert!(parts > 2 && complete, "{} has {parts} parts, killed at write {writes}", table.name());
        }
        assert_eq!(after.outcome(epoch(2)).await, edge(number).expected(2), "killed at write {writes}");
        after.verify().await.unwrap_or_else(|e| panic!("killed at write {writes}: {e}"));
    }
    assert!(between_parts > 2, "{between_parts} jobs died between two parts");
}
