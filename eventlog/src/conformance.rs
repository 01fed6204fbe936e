//! One suite that every backend of [`EventLog`] passes.
//!
//! A backend's test calls [`run`] with a factory of its logs. The suite panics, as tests do, at the first promise that does
//! not hold, and says which.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use crate::EventLog;
use crate::error::LogError;
use crate::record::{Bounds, LoggedRecord, Record};

/// The longest that the suite waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes logs for the suite.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Opens the log of this name, and creates it with this many partitions if there is none.
    async fn open(&self, name: &str, partitions: PartitionCount) -> Arc<dyn EventLog>;

    /// Ends a log, so that [`Self::open`] with the same name finds what it made durable.
    async fn close(&self, log: Arc<dyn EventLog>);
}

/// Checks every promise of [`EventLog`]. Panics at the first that does not hold.
pub async fn run(factory: &dyn Factory) {
    a_new_log_is_empty(factory).await;
    records_lie_in_the_partition_of_their_key_with_dense_offsets(factory).await;
    records_come_back_byte_by_byte(factory).await;
    concurrent_appends_lose_nothing_and_keep_the_order_of_each_key(factory).await;
    what_was_acknowledged_is_there_after_a_reopen(factory).await;
    a_read_keeps_to_its_limit_and_gives_at_least_one_record(factory).await;
    a_read_outside_the_bounds_is_out_of_range(factory).await;
    waiting_ends_with_the_record_and_can_be_abandoned(factory).await;
    a_partition_that_was_forgotten_is_read_as_before(factory).await;
    release_forgets_no_more_than_it_was_told(factory).await;
    a_record_too_large_is_refused_and_leaves_no_trace(factory).await;
    a_partition_that_does_not_exist_is_refused(factory).await;
}

async fn a_new_log_is_empty(factory: &dyn Factory) {
    let log = factory.open("new", count(3)).await;
    assert_eq!(log.partition_count(), count(3));
    for partition in count(3).partitions() {
        let bounds = ok(log.bounds(partition).await);
        assert_eq!(bounds, Bounds { earliest: at(0), next: at(0) }, "a new partition begins at 0");
        assert!(bounds.is_empty());
        assert_eq!(ok(log.read(partition, at(0), 1000).await), [], "an empty partition gives nothing");
    }
    ok(log.append(Vec::new()).await);
    assert!(ok(log.bounds(part(0)).await).is_empty(), "no records leave no trace");
    factory.close(log).await;
}

async fn records_lie_in_the_partition_of_their_key_with_dense_offsets(factory: &dyn Factory) {
    let log = factory.open("placed", count(4)).await;
    let mut expected: BTreeMap<Partition, Vec<Record>> = BTreeMap::new();
    for round in 0..20 {
        let records: Vec<_> =
            (0..10).map(|i| record(&format!("key-{}", (round * 7 + i) % 13), &format!("{round}/{i}"))).collect();
        for record in &records {
            expected.entry(count(4).partition_of(&record.key)).or_default().push(record.clone());
        }
        ok(log.append(records).await);
    }
    assert_eq!(expected.len(), 4, "the keys of this test reach every partition");
    for (partition, records) in expected {
        let logged = read_all(&*log, partition, at(0)).await;
        for (index, (logged, record)) in logged.iter().zip(&records).enumerate() {
            assert_eq!(logged.offset, at(index as u64), "offsets are dense");
            assert_eq!((&logged.key, &logged.value), (&record.key, &record.value), "in the order of the appends");
        }
        assert_eq!(logged.len(), records.len());
        assert_eq!(ok(log.bounds(partition).await), Bounds { earliest: at(0), next: at(records.len() as u64) });
    }
    factory.close(log).await;
}

async fn records_come_back_byte_by_byte(factory: &dyn Factory) {
    let log = factory.open("bytes", count(1)).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let records = vec![
        Record { key: Bytes::from(every_byte.clone()), value: Bytes::from(every_byte) },
        record("no value", ""),
        record("large", &"x".repeat(Record::VALUE_BYTES_MAX)),
    ];
    ok(log.append(records.clone()).await);
    let logged = read_all(&*log, part(0), at(0)).await;
    assert_eq!(logged.len(), records.len());
    for (logged, record) in logged.iter().zip(&records) {
        assert!(logged.key == record.key && logged.value == record.value, "a record comes back as it went in");
    }
    let again = read_all(&*log, part(0), at(0)).await;
    assert_eq!(again[0].hash(), logged[0].hash());
    assert_ne!(logged[1].hash(), logged[2].hash());
    factory.close(log).await;
}

async fn concurrent_appends_lose_nothing_and_keep_the_order_of_each_key(factory: &dyn Factory) {
    const WRITERS: u64 = 24;
    const APPENDS: u64 = 15;
    const RECORDS: u64 = 7;
    let log = factory.open("concurrent", count(5)).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let log = Arc::clone(&log);
        writers.push(tokio::spawn(async move {
            for append in 0..APPENDS {
                let numbers = (append * RECORDS)..((append + 1) * RECORDS);
                ok(log.append(numbers.map(|n| record(&format!("writer-{writer}"), &n.to_string())).collect()).await);
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer of the suite does not panic unless the log failed");
    }
    let mut numbers: BTreeMap<Bytes, u64> = BTreeMap::new();
    for partition in count(5).partitions() {
        for logged in read_all(&*log, partition, at(0)).await {
            assert_eq!(count(5).partition_of(&logged.key), partition);
            let expected = numbers.entry(logged.key.clone()).or_default();
            assert_eq!(logged.value, expected.to_string(), "the records of {:?} are in order", logged.key);
            *expected += 1;
        }
    }
    assert_eq!(numbers.len() as u64, WRITERS);
    assert!(numbers.values().all(|n| *n == APPENDS * RECORDS), "no record is lost or doubled");
    factory.close(log).await;
}

async fn what_was_acknowledged_is_there_after_a_reopen(factory: &dyn Factory) {
    let mut expected = Vec::new();
    for generation in 0..4 {
        let log = factory.open("reopened", count(2)).await;
        assert_eq!(values_of_all(&*log).await, expected, "generation {generation} finds what was acknowledged");
        let records: Vec<_> = (0..25).map(|i| record("the same key", &format!("{generation}-{i}"))).collect();
        expected.extend(records.iter().map(|r| r.value.clone()));
        ok(log.append(records).await);
        factory.close(log).await;
    }
    // Opening and closing without writing changes nothing.
    for _ in 0..2 {
        let log = factory.open("reopened", count(2)).await;
        assert_eq!(values_of_all(&*log).await, expected);
        factory.close(log).await;
    }
}

async fn a_read_keeps_to_its_limit_and_gives_at_least_one_record(factory: &dyn Factory) {
    let log = factory.open("limits", count(1)).await;
    ok(log.append((0..10).map(|i| record("0123", &format!("{i:06}"))).collect()).await);
    let read = |from, max| {
        let log = &log;
        async move { ok(log.read(part(0), at(from), max).await).iter().map(|r| r.offset.get()).collect::<Vec<_>>() }
    };
    assert_eq!(read(0, 0).await, [0], "at least one record");
    assert_eq!(read(4, 9).await, [4]);
    assert_eq!(read(4, 10).await, [4]);
    assert_eq!(read(4, 29).await, [4, 5], "ten bytes each, so two fit in 29");
    assert_eq!(read(4, 30).await, [4, 5, 6]);
    assert_eq!(read(8, 1 << 20).await, [8, 9]);
    assert_eq!(read(0, usize::MAX).await.len(), 10);
    assert_eq!(read(10, 1 << 20).await, [] as [u64; 0], "nothing yet at the next offset");
    factory.close(log).await;
}

async fn a_read_outside_the_bounds_is_out_of_range(factory: &dyn Factory) {
    let log = factory.open("range", count(1)).await;
    ok(log.append((0..10).map(|i| record("k", &i.to_string())).collect()).await);
    let bounds = Bounds { earliest: at(0), next: at(10) };
    let expected = LogError::OutOfRange { partition: part(0), offset: at(11), bounds };
    assert_eq!(log.read(part(0), at(11), 100).await, Err(expected), "beyond the next offset");
    ok(log.release(part(0), at(6)).await);
    let earliest = ok(log.bounds(part(0)).await).earliest;
    assert!(earliest <= at(5), "the last released record is kept");
    if let Some(before) = earliest.previous() {
        let error = log.read(part(0), before, 100).await.expect_err("before the earliest offset");
        assert!(matches!(error, LogError::OutOfRange { offset, .. } if offset == before), "{error}");
    }
    factory.close(log).await;
}

async fn waiting_ends_with_the_record_and_can_be_abandoned(factory: &dyn Factory) {
    let log = factory.open("waiting", count(2)).await;
    let key = (0..).map(|i: u32| i.to_string()).find(|k| count(2).partition_of(k.as_bytes()) == part(1));
    let key = key.expect("some key lies in partition 1");
    ok(log.append(vec![record(&key, "0")]).await);
    ok(patient(log.wait_beyond(part(1), at(0))).await);

    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait_beyond(part(1), at(2)).await }
    });
    // A wait that was given up takes nothing with it.
    drop(Box::pin(log.wait_beyond(part(1), at(1))));
    assert!(tokio::time::timeout(Duration::from_millis(20), log.wait_beyond(part(1), at(1))).await.is_err());
    ok(log.append(vec![record(&key, "1")]).await);
    assert!(!waiting.is_finished(), "the record at offset 2 is not there yet");
    ok(log.append(vec![record(&key, "2")]).await);
    ok(patient(waiting).await.expect("the waiting task does not panic"));
    assert_eq!(ok(log.read(part(1), at(2), 100).await)[0].value, "2", "what was waited for can be read");
    let other = tokio::time::timeout(Duration::from_millis(20), log.wait_beyond(part(0), at(0)));
    assert!(other.await.is_err(), "another partition's records wake nobody");
    factory.close(log).await;
}

async fn a_partition_that_was_forgotten_is_read_as_before(factory: &dyn Factory) {
    let log = factory.open("forgotten", count(1)).await;
    ok(log.append((0..5).map(|n| record("key", &n.to_string())).collect()).await);
    let before = read_all(&*log, part(0), at(0)).await;
    for _ in 0..2 {
        log.forget(part(0));
        assert_eq!(read_all(&*log, part(0), at(0)).await, before, "only what was fetched is forgotten");
    }
    factory.close(log).await;
}

async fn release_forgets_no_more_than_it_was_told(factory: &dyn Factory) {
    let log = factory.open("released", count(1)).await;
    ok(log.release(part(0), at(0)).await);
    ok(log.append((0..100).map(|i| record("k", &format!("value {i}"))).collect()).await);
    ok(log.release(part(0), at(0)).await);
    assert_eq!(ok(log.bounds(part(0)).await), Bounds { earliest: at(0), next: at(100) });
    for before in [1, 40, 40, 7, 90] {
        ok(log.release(part(0), at(before)).await);
    }
    let error = log.release(part(0), at(101)).await.expect_err("beyond the next offset");
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
    let held = |log: Arc<dyn EventLog>| async move {
        let bounds = ok(log.bounds(part(0)).await);
        assert!(bounds.earliest <= at(89) && bounds.next == at(100), "{bounds:?}");
        let logged = read_all(&*log, part(0), bounds.earliest).await;
        let last = logged.last().expect("records are held");
        assert_eq!((logged[0].offset, last.offset), (bounds.earliest, at(99)));
        assert!(logged.iter().all(|r| r.value == format!("value {}", r.offset)), "the rest is untouched");
    };
    held(Arc::clone(&log)).await;
    factory.close(log).await;
    let log = factory.open("released", count(1)).await;
    held(Arc::clone(&log)).await;
    // Everything released: offsets go on where they were, also after a reopen.
    ok(log.release(part(0), at(100)).await);
    factory.close(log).await;
    let log = factory.open("released", count(1)).await;
    let bounds = ok(log.bounds(part(0)).await);
    assert!(bounds.next == at(100) && bounds.earliest <= at(99), "{bounds:?}");
    ok(log.append(vec![record("k", "value 100")]).await);
    assert_eq!(ok(log.read(part(0), at(100), 100).await)[0].value, "value 100");
    held_last(&*log).await;
    factory.close(log).await;
}

async fn held_last(log: &dyn EventLog) {
    let last = ok(log.read(part(0), at(99), 1).await);
    assert_eq!(last[0].value, "value 99", "the last record before a release is kept");
}

async fn a_record_too_large_is_refused_and_leaves_no_trace(factory: &dyn Factory) {
    let log = factory.open("large", count(1)).await;
    let large = Record { key: Bytes::from_static(b"k"), value: Bytes::from(vec![0; Record::VALUE_BYTES_MAX + 1]) };
    let error = log.append(vec![record("k", "small"), large]).await.expect_err("larger than a log takes");
    assert!(matches!(error, LogError::Reject { .. }), "{error}");
    let long = Record { key: Bytes::from(vec![0; Record::KEY_BYTES_MAX + 1]), value: Bytes::new() };
    assert!(matches!(log.append(vec![long]).await, Err(LogError::Reject { .. })));
    assert!(ok(log.bounds(part(0)).await).is_empty());
    factory.close(log).await;
}

async fn a_partition_that_does_not_exist_is_refused(factory: &dyn Factory) {
    let log = factory.open("partitions", count(2)).await;
    let none = part(2);
    assert!(matches!(log.bounds(none).await, Err(LogError::Reject { .. })));
    assert!(matches!(log.read(none, at(0), 1).await, Err(LogError::Reject { .. })));
    assert!(matches!(log.wait_beyond(none, at(0)).await, Err(LogError::Reject { .. })));
    assert!(matches!(log.release(none, at(0)).await, Err(LogError::Reject { .. })));
    factory.close(log).await;
}

/// Reads a partition from an offset to its end, in small steps.
async fn read_all(log: &dyn EventLog, partition: Partition, from: Offset) -> Vec<LoggedRecord> {
    let mut records: Vec<LoggedRecord> = Vec::new();
    let mut next = from;
    loop {
        let step = match log.read(partition, next, 500).await {
            // Nothing replaces the log under this suite: what follows is what follows.
            Err(LogError::Interrupted { .. }) => continue,
            step => ok(step),
        };
        let Some(last) = step.last() else { return records };
        assert_eq!(step[0].offset, next, "a read begins where it was told");
        next = last.offset.next();
        records.extend(step);
    }
}

/// The values of all partitions, one partition after the other.
async fn values_of_all(log: &dyn EventLog) -> Vec<Bytes> {
    let mut values = Vec::new();
    for partition in log.partition_count().partitions() {
        values.extend(read_all(log, partition, at(0)).await.into_iter().map(|r| r.value));
    }
    values
}

async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the log answers in time")
}

fn ok<T>(result: Result<T, LogError>) -> T {
    result.unwrap_or_else(|error| panic!("the log failed: {error}"))
}

fn record(key: &str, value: &str) -> Record {
    Record { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value.as_bytes()) }
}

fn count(partitions: u32) -> PartitionCount {
    PartitionCount::new(partitions).expect("the suite uses valid counts")
}

fn part(number: u32) -> Partition {
    Partition::new(number).expect("the suite uses valid partitions")
}

fn at(offset: u64) -> Offset {
    Offset::new(offset).expect("the suite uses valid offsets")
}
