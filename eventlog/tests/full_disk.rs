//! A disk that fills up: appends say so, nothing acknowledged is lost, and the log goes on when there is room again.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tributary_eventlog::{EmbeddedLog, EventLog, LogError, Record, Settings};
use tributary_schemas::ids::{Offset, Partition, PartitionCount, murmur2};

/// A small file system in memory, unmounted in the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, and a word about it, where mounting is not allowed; a failure where every test is required.
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let options = format!("size={megabytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(dir)),
            refused => {
                assert!(
                    std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(),
                    "TRIBUTARY_REQUIRE_ALL is set, but a tmpfs cannot be mounted here ({refused:?}): run the tests as root with \
                     CAP_SYS_ADMIN, or unset it to have them skipped"
                );
                eprintln!("SKIPPED: a small file system can be mounted by root only");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn one() -> PartitionCount {
    PartitionCount::new(1).unwrap()
}

fn first() -> Partition {
    Partition::new(0).unwrap()
}

/// Not compressible; begins with its number.
fn record(number: u64) -> Record {
    let noise = (0..2500_u64).flat_map(|i| murmur2(&(number << 16 | i).to_le_bytes()).to_le_bytes());
    let value: Vec<u8> = number.to_be_bytes().into_iter().chain(noise).collect();
    Record { key: Bytes::from_static(b"key"), value: Bytes::from(value) }
}

/// Appends until the log takes no more. Gives how many were acknowledged, and the error.
async fn fill(log: &EmbeddedLog, from: u64) -> (u64, LogError) {
    let mut next = from;
    loop {
        match log.append((next..next + 4).map(record).collect()).await {
            Ok(()) => next += 4,
            Err(error) => return (next, error),
        }
        assert!(next < from + 100_000, "the disk never fills up");
    }
}

/// Appends again and again until the log takes it, as a producer does.
async fn append_until_taken(log: &EmbeddedLog, number: u64) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while let Err(error) = log.append(vec![record(number)]).await {
            assert!(matches!(error, LogError::Retry { .. }), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    patience.await.expect("the log goes on when there is room");
}

/// The numbers held, read to the end.
async fn held(log: &EmbeddedLog) -> Vec<u64> {
    let mut next = log.bounds(first()).await.unwrap().earliest;
    let mut numbers = Vec::new();
    loop {
        let records = log.read(first(), next, 1 << 20).await.unwrap();
        let Some(last) = records.last() else { return numbers };
        next = last.offset.next();
        for logged in records {
            let number = u64::from_be_bytes(*logged.value.first_chunk().unwrap());
            assert!(logged.value == record(number).value, "record {number} is whole");
            numbers.push(number);
        }
    }
}

fn assert_every_acknowledged(numbers: &[u64], acknowledged: u64) {
    for number in 0..acknowledged {
        assert!(numbers.contains(&number), "record {number} of {acknowledged} acknowledged is lost");
    }
}

async fn fills_and_goes_on(settings: Settings) {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let dir = disk.path().join("log");
    let log = EmbeddedLog::open(&dir, one(), settings.clone()).await.unwrap();
    let (mut acknowledged, error) = fill(&log, 0).await;
    assert!(acknowledged > 100, "{acknowledged}");
    assert!(matches!(&error, LogError::Retry { reason } if reason.contains("full")), "{error}");
    println!("{acknowledged} records, then: {error}");

    // Another error, once what the log itself gave back in the background is used up, and it says so when asked, too. Reading goes on.
    // The disk is small, so that it ends.
    loop {
        let filled = fill(&log, acknowledged).await;
        assert!(matches!(filled.1, LogError::Retry { .. }), "{}", filled.1);
        acknowledged = filled.0;
        if settings.disk_reserve_bytes == 0 || log.trouble().is_some() {
            break;
        }
    }
    assert_every_acknowledged(&held(&log).await, acknowledged);

    // Room again: it goes on in the same process.
    std::fs::remove_file(&ballast).unwrap();
    append_until_taken(&log, 1 << 41).await;
    assert_eq!(log.trouble(), None);
    let numbers = held(&log).await;
    assert_every_acknowledged(&numbers, acknowledged);
    assert!(numbers.contains(&(1 << 41)));

    // Full again, and the process ends and comes back.
    let (acknowledged, _) = fill(&log, acknowledged).await;
    log.close().await;
    assert_eq!(log.trouble(), Some(LogError::Closed));
    let small = disk.path().join("log");
    match EmbeddedLog::open(&small, one(), settings.clone()).await {
        Ok(log) => assert_every_acknowledged(&held(&log).await, acknowledged),
        // Opening writes as well; with no byte left it says so.
        Err(error) => assert!(matches!(&error, LogError::Retry { reason } if reason.contains("full")), "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_met_by_the_reserve_before_it_is_full() {
    fills_and_goes_on(Settings { write_buffer_bytes: 2 << 20, ..Settings::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_filled_to_the_last_byte_loses_nothing_and_the_log_reopens() {
    let settings = Settings { write_buffer_bytes: 2 << 20, disk_reserve_bytes: 0, ..Settings::default() };
    fills_and_goes_on(settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_makes_room_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let settings = Settings { write_buffer_bytes: 1 << 20, ..Settings::default() };
    let log = EmbeddedLog::open(&disk.path().join("log"), one(), settings).await.unwrap();
    let (mut acknowledged, _) = fill(&log, 0).await;
    for _ in 0..5 {
        let next = log.bounds(first()).await.unwrap().next;
        log.release(first(), next).await.unwrap();
        append_until_taken(&log, acknowledged).await;
        (acknowledged, _) = fill(&log, acknowledged + 1).await;
    }
    let last = held(&log).await;
    assert_eq!(last.last(), Some(&(acknowledged - 1)));
    assert!(log.bounds(first()).await.unwrap().next > Offset::new(3000).unwrap());
}
