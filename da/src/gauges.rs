//! What a publisher shows of time, kept also while nothing succeeds: how far availability is behind, and what expires soon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tributary_schemas::ids::{Partition, Seq, Timestamp};

use crate::error::DaError;
use crate::lane::{Shared, age};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long one partition's looking may take before what is known of it has to do.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// What expires within this time expires soon.
const SOON: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps the gauges of a publisher.
pub(crate) struct Gauges {
    shared: Arc<Shared>,
    /// When the oldest batch was sealed that is not available, by partition, as last seen.
    oldest: Mutex<BTreeMap<Partition, Timestamp>>,
}

impl Gauges {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, oldest: Mutex::default() }
    }

    /// Looks again and again, until shutdown.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let for_ever = async {
            loop {
                self.refresh().await;
                tokio::time::sleep(INTERVAL).await;
            }
        };
        let _: Option<()> = shutdown.run_until_cancelled(for_ever).await;
    }

    /// Sets every gauge. Of a partition that cannot be looked at, the batch that was the oldest still is.
    pub(crate) async fn refresh(&self) {
        for partition in self.shared.journal.partitions() {
            match tokio::time::timeout(LOOK_MAX, self.oldest_waiting(partition)).await {
                Ok(Ok(Some(sealed_at))) => drop(self.oldest.lock().insert(partition, sealed_at)),
                Ok(Ok(None)) => drop(self.oldest.lock().remove(&partition)),
                Ok(Err(error)) => tracing::debug!(partition = partition.get(), code = error.code(), %error, "not looked at"),
                Err(_) => tracing::debug!(partition = partition.get(), "the store did not answer in time"),
            }
            let sealed_at = self.oldest.lock().get(&partition).copied();
            let waits = sealed_at.map_or(Duration::ZERO, |sealed_at| age(sealed_at, self.shared.clock.now()));
            self.shared.metrics.oldest_waiting_seconds.get_or_create(&partition.into()).set(waits.as_secs_f64());
        }
        let soon = self.shared.certificates.expiring_within(SOON, self.shared.clock.now()).await;
        self.shared.metrics.expires_soon.set(i64::try_from(soon).unwrap_or(i64::MAX));
    }

    /// When the oldest batch was sealed that is not available yet.
    async fn oldest_waiting(&self, partition: Partition) -> Result<Option<Timestamp>, DaError> {
        let journal = &self.shared.journal;
        let Some(head) = journal.refresh(partition).await? else { return Ok(None) };
        let last = self.shared.certificates.last_blob(partition).await?;
        let next = last.map_or(Seq::FIRST, |blob| blob.last_seq.next());
        match next <= head.seq {
            true => Ok(Some(journal.header(partition, next).await?.sealed_at)),
            false => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixture::{Fault, Faulty, World, quick};
    use crate::publisher::Publisher;
    use crate::settings::Settings;

    async fn waiting(publisher: &Publisher, partition: u32) -> u64 {
        publisher.gauges.refresh().await;
        let label = Partition::new(partition).unwrap().into();
        let seconds = publisher.metrics().oldest_waiting_seconds.get_or_create(&label).get();
        Duration::from_secs_f64(seconds).as_secs()
    }

    #[tokio::test]
    async fn how_long_the_oldest_batch_waits_is_shown_also_while_nothing_is_published() {
        let world = World::new(2).await;
        let paused = world.publisher_on(Arc::clone(&world.store), Settings { paused: true, ..quick() });
        assert_eq!(waiting(&paused, 0).await, 0, "nothing is sealed");
        world.seal(0, 10).await;
        world.clock.advance(Duration::from_secs(100));
        world.seal(0, 10).await;
        assert_eq!((waiting(&paused, 0).await, waiting(&paused, 1).await), (100, 0));
        world.clock.advance(Duration::from_secs(50));
        assert_eq!(waiting(&paused, 0).await, 150, "it grows");
        world.publisher().publish_available().await.unwrap();
        assert_eq!(waiting(&paused, 0).await, 0, "another publisher has done it");
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_does_not_stop_the_clock() {
        let world = World::new(1).await;
        world.seal(0, 10).await;
        let dying = Faulty::new(Arc::clone(&world.store), Fault::DiesAfter(0));
        let publisher = world.publisher_on(dying, quick());
        world.clock.advance(Duration::from_secs(10));
        assert_eq!(waiting(&publisher, 0).await, 10);
        assert!(publisher.publish_available().await.is_err(), "the store dies with the plan");
        world.clock.advance(Duration::from_secs(10));
        assert_eq!(waiting(&publisher, 0).await, 20);
    }

    #[tokio::test]
    async fn a_running_publisher_keeps_them_until_it_ends() {
        let world = World::new(1).await;
        world.seal(0, 10).await;
        world.clock.advance(Duration::from_secs(30));
        let paused = world.publisher_on(Arc::clone(&world.store), Settings { paused: true, ..quick() });
        let shutdown = CancellationToken::new();
        let (running, ends) = (Arc::clone(&paused), shutdown.clone());
        let running = tokio::spawn(async move { running.run(ends).await });
        let label = Partition::new(0).unwrap().into();
        while paused.metrics().oldest_waiting_seconds.get_or_create(&label).get() < 30.0 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
        running.await.unwrap();
    }
}
