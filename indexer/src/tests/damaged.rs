use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio_util::sync::CancellationToken;
use tributary_journal::Journal;
use tributary_journal::store::batch_path;
use tributary_schemas::ids::{Partition, Seq};

use super::support::{attribution, indexer, journal, read_object, seal};
use crate::check::compare;
use crate::error::Kind;
use crate::{Indexer, Lake, Settings};

/// Three batches in each of three partitions.
async fn sealed(store: &Arc<dyn ObjectStore>) -> Arc<Journal> {
    let journal = journal(store, 3).await;
    for id in 0..9 {
        seal(&journal, id % 3, &[attribution(id as usize, 2)]).await;
    }
    journal
}

/// Flips a byte of the body of a batch. Gives its name, and what lay there.
async fn damage(store: &Arc<dyn ObjectStore>, partition: u32, seq: u64) -> (object_store::path::Path, bytes::Bytes) {
    let path = batch_path(Partition::new(partition).unwrap(), Seq::new(seq).unwrap());
    let sound = read_object(store.as_ref(), &path).await;
    let mut damaged = sound.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    store.put(&path, damaged.into()).await.unwrap();
    (path, sound)
}

async fn until_indexed(indexer: &Indexer, cut: &str) {
    let reached = async {
        while indexer.indexed().await.unwrap().to_string() != cut {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_stops_its_partition_and_no_other_until_it_is_mended() {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    let journal = sealed(&store).await;
    let (path, sound) = damage(&store, 1, 1).await;
    let lake = Lake::open(Arc::clone(&store));
    let settings = Settings { retry_pause_max: Duration::from_millis(40), ..Settings::default() };
    let indexer = indexer(&journal, &lake, settings);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (indexer, stop) = (Arc::clone(&indexer), stop.clone());
        async move { indexer.run(stop).await }
    });
    until_indexed(&indexer, "0:2,1:0,2:2").await;
    for id in 9..11 {
        seal(&journal, [0, 2][id % 2], &[attribution(id, 2)]).await;
    }
    until_indexed(&indexer, "0:3,1:0,2:3").await;
    let error = indexer.trouble().unwrap().error;
    assert!(error.contains(path.as_ref()), "{error}");
    assert!(indexer.metrics().retries.get() > 0);
    store.put(&path, sound.into()).await.unwrap();
    until_indexed(&indexer, "0:3,1:2,2:3").await;
    let quiet = async {
        while indexer.trouble().is_some() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), quiet).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    compare(&journal, &lake, &journal.heads()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_is_told_after_everything_that_it_does_not_keep_back_was_indexed() {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    let journal = sealed(&store).await;
    let (path, sound) = damage(&store, 0, 0).await;
    for batches in [1, 4, 100] {
        let lake = Lake::open(Arc::clone(&store));
        let settings = Settings { round_batches_max: batches, ..Settings::default() };
        let indexer = indexer(&journal, &lake, settings);
        let error = indexer.index_available().await.unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains(path.as_ref()), "{error}");
        assert_eq!(indexer.indexed().await.unwrap().to_string(), "1:2,2:2");
    }
    store.put(&path, sound.into()).await.unwrap();
    let lake = Lake::open(store);
    indexer(&journal, &lake, Settings::default()).index_available().await.unwrap();
    compare(&journal, &lake, &journal.heads()).await.unwrap();
}
