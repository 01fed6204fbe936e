#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, Factory};

fn count(partitions: u32) -> PartitionCount {
    PartitionCount::new(partitions).unwrap()
}

fn part(number: u32) -> Partition {
    Partition::new(number).unwrap()
}

fn at(offset: u64) -> Offset {
    Offset::new(offset).unwrap()
}

fn record(key: &str, value: impl Into<Vec<u8>>) -> Record {
    Record { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::from(value.into()) }
}

async fn open(dir: &TempDir, partitions: u32) -> Result<Arc<EmbeddedLog>, LogError> {
    EmbeddedLog::open(dir.path(), count(partitions), Settings::default()).await
}

struct Embedded(TempDir);

#[async_trait]
impl Factory for Embedded {
    async fn open(&self, name: &str, partitions: PartitionCount) -> Arc<dyn EventLog> {
        EmbeddedLog::open(&self.0.path().join(name), partitions, Settings::default()).await.unwrap()
    }

    async fn close(&self, log: Arc<dyn EventLog>) {
        drop(log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_keeps_every_promise_of_the_trait() {
    conformance::run(&Embedded(TempDir::new().unwrap())).await;
}

#[tokio::test]
async fn a_second_open_of_the_same_directory_says_that_it_is_in_use() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1).await.unwrap();
    let error = open(&dir, 1).await.err().unwrap();
    assert_eq!(error, LogError::InUse { dir: dir.path().to_path_buf() });
    log.append(vec![record("k", "v")]).await.unwrap();
    log.close().await;
    assert_eq!(open(&dir, 1).await.unwrap().bounds(part(0)).await.unwrap().next, at(1));
}

#[tokio::test]
async fn another_partition_count_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    open(&dir, 4).await.unwrap().close().await;
    let error = open(&dir, 5).await.err().unwrap().to_string();
    assert!(error.contains("has 4 partitions, not 5"), "{error}");
    assert!(open(&dir, 4).await.is_ok());
}

#[tokio::test]
async fn another_format_version_and_a_foreign_database_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    open(&dir, 1).await.unwrap().close().await;
    let db = rocksdb::DB::open_default(dir.path()).unwrap();
    db.put(layout::FORMAT_KEY, 2_u32.to_be_bytes()).unwrap();
    drop(db);
    let error = open(&dir, 1).await.err().unwrap();
    assert!(matches!(error, LogError::Reject { .. }));
    assert!(error.to_string().contains("has format version 2; this binary knows version 1"), "{error}");

    let foreign = TempDir::new().unwrap();
    rocksdb::DB::open_default(foreign.path()).unwrap().put("a", "b").unwrap();
    let error = open(&foreign, 1).await.err().unwrap();
    assert!(error.to_string().contains("another program's database"), "{error}");
}

#[tokio::test]
async fn a_log_made_after_a_rebuild_begins_at_the_given_offsets() {
    let dir = TempDir::new().unwrap();
    let starts = [(part(1), at(1000))];
    let create = || EmbeddedLog::create_at(dir.path(), count(2), &starts, Settings::default());
    let log = create().await.unwrap();
    assert_eq!(log.bounds(part(1)).await.unwrap(), Bounds { earliest: at(1000), next: at(1000) });
    log.release(part(1), at(1000)).await.unwrap();
    log.close().await;
    let log = open(&dir, 2).await.unwrap();
    for key in 0..50 {
        log.append(vec![record(&key.to_string(), "v")]).await.unwrap();
    }
    assert_eq!(log.read(part(0), at(0), 1).await.unwrap()[0].offset, at(0));
    assert_eq!(log.read(part(1), at(1000), 1).await.unwrap()[0].offset, at(1000));
    assert!(matches!(log.read(part(1), at(999), 1).await, Err(LogError::OutOfRange { .. })));
    log.close().await;
    assert!(matches!(create().await, Err(LogError::Exists { .. })), "an existing log is not begun anew");
    let none = EmbeddedLog::create_at(dir.path(), count(2), &[(part(2), at(1))], Settings::default()).await;
    assert!(matches!(none, Err(LogError::Reject { .. })));
}

#[tokio::test]
async fn a_log_whose_making_was_cut_off_is_made_again_at_the_given_offsets() {
    let empty_folder = TempDir::new().unwrap();
    let empty_database = TempDir::new().unwrap();
    drop(rocksdb::DB::open_default(empty_database.path()).unwrap());
    for dir in [empty_folder, empty_database] {
        let first = [(part(0), at(7))];
        let create = || EmbeddedLog::create_at(dir.path(), count(1), &first, Settings::default());
        let log = create().await.unwrap();
        assert_eq!(log.bounds(part(0)).await.unwrap(), Bounds { earliest: at(7), next: at(7) });
        log.close().await;
        assert_eq!(create().await.err(), Some(LogError::Exists { dir: dir.path().to_path_buf() }));
    }
}

#[tokio::test]
async fn a_closed_log_says_so_to_everyone_and_keeps_what_it_took() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1).await.unwrap();
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait_beyond(part(0), at(5)).await }
    });
    log.append(vec![record("k", "v")]).await.unwrap();
    log.close().await;
    log.close().await;
    assert_eq!(waiting.await.unwrap(), Err(LogError::Closed));
    assert_eq!(log.append(vec![record("k", "v")]).await, Err(LogError::Closed));
    assert_eq!(log.read(part(0), at(0), 1).await, Err(LogError::Closed));
    assert_eq!(log.bounds(part(0)).await, Err(LogError::Closed));
    assert_eq!(log.release(part(0), at(0)).await, Err(LogError::Closed));
    assert_eq!(open(&dir, 1).await.unwrap().bounds(part(0)).await.unwrap().next, at(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_under_load_loses_no_acknowledged_append() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 2).await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..16 {
        let log = Arc::clone(&log);
        writers.push(tokio::spawn(async move {
            let mut acknowledged = 0_u64;
            while log.append(vec![record(&writer.to_string(), "v")]).await.is_ok() {
                acknowledged += 1;
            }
            acknowledged
        }));
    }
    log.wait_beyond(part(0), at(50)).await.unwrap();
    log.close().await;
    let mut acknowledged = 0;
    for writer in writers {
        acknowledged += writer.await.unwrap();
    }
    let log = open(&dir, 2).await.unwrap();
    let held = log.bounds(part(0)).await.unwrap().next.get() + log.bounds(part(1)).await.unwrap().next.get();
    assert!(held >= acknowledged, "{held} held, {acknowledged} acknowledged");
}

#[tokio::test]
async fn an_append_larger_than_the_queue_is_refused() {
    let dir = TempDir::new().unwrap();
    let settings = Settings { append_bytes_max: 10_000, ..Settings::default() };
    let log = EmbeddedLog::open(dir.path(), count(1), settings).await.unwrap();
    let records = |n: usize| (0..n).map(|_| record("", vec![0; 1000])).collect::<Vec<_>>();
    log.append(records(10)).await.unwrap();
    assert!(matches!(log.append(records(11)).await, Err(LogError::Reject { .. })));
    assert_eq!(log.bounds(part(0)).await.unwrap().next, at(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_share_a_commit() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1).await.unwrap();
    let appends = (0..500).map(|_| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(vec![record("k", "v")]).await })
    });
    for append in appends.collect::<Vec<_>>() {
        append.await.unwrap().unwrap();
    }
    let metrics = log.metrics();
    assert_eq!((metrics.records.get(), metrics.bytes.get()), (500, 1000));
    assert!(metrics.commits.get() < 250, "{} commits for 500 appends", metrics.commits.get());
    assert_eq!(metrics.backlog_records.get(), 500);
    log.release(part(0), at(500)).await.unwrap();
    assert_eq!(metrics.backlog_records.get(), 1);
}

fn bytes_on_disk(dir: &TempDir) -> u64 {
    std::fs::read_dir(dir.path()).unwrap().filter_map(|entry| entry.ok()?.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Forty times the write buffers pass through the log; the sealer keeps up.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_released_keeps_its_disk_use_bounded() {
    const VALUE_BYTES: usize = 10_000;
    let dir = TempDir::new().unwrap();
    let settings = Settings { write_buffer_bytes: 1 << 20, reclaim_bytes: 256 << 10, ..Settings::default() };
    let log = EmbeddedLog::open(dir.path(), count(2), settings.clone()).await.unwrap();
    let mut most = 0;
    for round in 0..400_u32 {
        // Not compressible, so that it really takes space.
        let value = |i: u32| (0..VALUE_BYTES).map(|b| (murmur(round * 100 + i, b) >> 24).to_le_bytes()[0]).collect::<Vec<u8>>();
        log.append((0..10).map(|i| record(&i.to_string(), value(i))).collect()).await.unwrap();
        for partition in count(2).partitions() {
            let next = log.bounds(partition).await.unwrap().next;
            log.release(partition, next).await.unwrap();
        }
        most = most.max(bytes_on_disk(&dir));
    }
    let written = log.metrics().bytes.get();
    assert!(written > 38 << 20, "{written}");
    assert!(most < 16 << 20, "{most} bytes on disk at most, of {written} written");
    log.close().await;
    let log = EmbeddedLog::open(dir.path(), count(2), settings).await.unwrap();
    let held: u64 = {
        let (a, b) = (log.bounds(part(0)).await.unwrap(), log.bounds(part(1)).await.unwrap());
        assert_eq!(a.next.get() + b.next.get(), 4000);
        a.records() + b.records()
    };
    assert_eq!(held, 2, "closing wrote down what was released; the last record of each partition is kept");
}

fn murmur(seed: u32, position: usize) -> u32 {
    let mut key = seed.to_le_bytes().to_vec();
    key.extend_from_slice(&position.to_le_bytes());
    tributary_schemas::ids::murmur2(&key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_larger_than_memory_is_read_back_and_then_leaves_the_disk() {
    let dir = TempDir::new().unwrap();
    let settings = Settings { write_buffer_bytes: 1 << 20, ..Settings::default() };
    let log = EmbeddedLog::open(dir.path(), count(1), settings).await.unwrap();
    for round in 0..300_u32 {
        let value = |i: u32| (0..1000).map(|b| (murmur(round * 100 + i, b) >> 24).to_le_bytes()[0]).collect::<Vec<u8>>();
        log.append((0..100).map(|i| record(&i.to_string(), value(i))).collect()).await.unwrap();
    }
    let before = bytes_on_disk(&dir);
    let mut next = at(0);
    loop {
        let records = log.read(part(0), next, 900_000).await.unwrap();
        let Some(last) = records.last() else { break };
        next = last.offset.next();
        log.release(part(0), next).await.unwrap();
    }
    assert_eq!(next, at(30_000));
    log.close().await;
    let after = bytes_on_disk(&dir);
    assert!(before > 28 << 20 && after < 12 << 20, "{before} bytes before, {after} after");
}

#[tokio::test]
async fn a_damaged_record_is_corrupt_and_never_skipped() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir, 1).await.unwrap();
    log.append((0..10).map(|i| record("k", i.to_string())).collect()).await.unwrap();
    log.close().await;
    let db = rocksdb::DB::open_default(dir.path()).unwrap();
    db.delete(layout::record_key(part(0), at(4))).unwrap();
    drop(db);
    let log = open(&dir, 1).await.unwrap();
    let error = log.read(part(0), at(0), 1000).await.unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { reason } if reason.contains("record 4 of partition 0 is missing")), "{error}");
    assert_eq!(log.read(part(0), at(0), 8).await.unwrap().len(), 4, "what comes before it can be read");
}

/// A log as a process that was killed leaves it, with 200 records of one partition in its write-ahead log: the copy of
/// an open one. Gives the file with the records as well.
async fn killed() -> (TempDir, std::path::PathBuf) {
    let (running, dead) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = open(&running, 1).await.unwrap();
    for i in 0..200_u32 {
        log.append(vec![record("k", [&i.to_be_bytes()[..], &[7; 2000]].concat())]).await.unwrap();
    }
    for entry in std::fs::read_dir(running.path()).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, dead.path().join(from.file_name().unwrap())).unwrap();
    }
    log.close().await;
    let files = std::fs::read_dir(dead.path()).unwrap().map(|entry| entry.unwrap().path());
    let wal = files.filter(|file| file.extension().is_some_and(|e| e == "log")).max_by_key(|file| file.metadata().unwrap().len());
    let wal = wal.unwrap();
    assert!(wal.metadata().unwrap().len() > 400_000);
    (dead, wal)
}

#[tokio::test]
async fn a_flipped_byte_in_what_was_acknowledged_is_refused_by_name_and_loses_nothing() {
    let (dir, wal) = killed().await;
    let sound = std::fs::read(&wal).unwrap();
    // In the middle, and in the last record.
    for at in [sound.len() / 2, sound.len() - 100] {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::write(&wal, &damaged).unwrap();
        let error = open(&dir, 1).await.err().unwrap();
        assert!(matches!(error, LogError::Corrupt { .. }), "byte {at}: {error}");
        let (text, folder) = (error.to_string(), dir.path().display().to_string());
        assert!(text.contains(&folder) && text.contains("rebuild --from journal"), "byte {at}: {text}");
        assert_eq!(std::fs::read(&wal).unwrap(), damaged, "byte {at}: nothing was changed");
    }
    std::fs::write(&wal, &sound).unwrap();
    assert_eq!(open(&dir, 1).await.unwrap().bounds(part(0)).await.unwrap().next, at(200));
}

#[tokio::test]
async fn a_write_that_was_cut_short_is_left_out_and_all_before_it_is_there() {
    // Within a value, within the 7 bytes before a record of 2036, and several records early.
    for cut in [1, 1000, 2039, 9000] {
        let (dir, wal) = killed().await;
        let length = wal.metadata().unwrap().len();
        std::fs::File::options().write(true).open(&wal).unwrap().set_len(length - cut).unwrap();
        let log = open(&dir, 1).await.unwrap();
        let next = log.bounds(part(0)).await.unwrap().next;
        assert!(at(190) <= next && next < at(200), "cut by {cut}: ends at {next}");
        let records = log.read(part(0), at(0), 1 << 20).await.unwrap();
        let numbers: Vec<u32> = records.iter().map(|r| u32::from_be_bytes(*r.value.first_chunk().unwrap())).collect();
        assert!(numbers.iter().copied().eq(0..u32::try_from(next.get()).unwrap()), "cut by {cut}: {numbers:?}");
        // It goes on from there, and opens again.
        log.append(vec![record("k", "next")]).await.unwrap();
        log.close().await;
        assert_eq!(open(&dir, 1).await.unwrap().bounds(part(0)).await.unwrap().next, next.next());
    }
}
