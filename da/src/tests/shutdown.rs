//! What a publisher has in hand when it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::{blobs, two_blobs_ahead};
use crate::faulty::{Call, DaFault, FaultyDa};
use crate::fixture::quick;
use crate::metrics::BackendMetrics;
use crate::outbox::{Outbox, OutboxSettings, PublisherId, State};
use crate::settings::Settings;
use crate::{DaClient, names};

const SLOW: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_blob_that_was_sent_at_shutdown_is_recorded_and_the_next_is_not_begun() {
    let world = two_blobs_ahead().await;
    let client = FaultyDa::new(world.client(), |call| match call {
        Call::Disperse(_) => DaFault::Slow(SLOW),
        Call::Retrieve(_) => DaFault::None,
    });
    let one_by_one = Settings { blobs_in_flight_max: 1, ..quick() };
    let publisher = world.publisher_with(Arc::clone(&world.store), Arc::clone(&client) as Arc<dyn DaClient>, one_by_one);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (publisher, shutdown) = (Arc::clone(&publisher), shutdown.clone());
        async move { publisher.run(shutdown).await }
    });
    while client.dispersals() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!((client.dispersals(), blobs(&world).await.len()), (1, 1));
}

#[tokio::test]
async fn at_shutdown_it_is_said_of_what_was_not_sent_so_that_nobody_waits_for_it() {
    let world = two_blobs_ahead().await;
    let busy = FaultyDa::new(world.client(), |_| DaFault::Busy);
    let attempt_max = Duration::from_secs(600);
    let settings = OutboxSettings { publisher: PublisherId([1; 16]), attempt_max, paid_pause_max: attempt_max };
    let (behind, store) = (Arc::clone(&busy) as Arc<dyn DaClient>, Arc::clone(&world.store));
    let outbox = Outbox::new(behind, Arc::clone(&store), world.clock.clone(), settings, BackendMetrics::default());
    let publisher = world.publisher_with(Arc::clone(&store), Arc::new(outbox), quick());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (publisher, shutdown) = (Arc::clone(&publisher), shutdown.clone());
        async move { publisher.run(shutdown).await }
    });
    while busy.dispersals() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let listed: Vec<_> = store.list(Some(&Path::from(names::OUTBOX))).try_collect().await.unwrap();
    let said = |state| listed.iter().filter(|object| names::parse_outbox(&object.location).unwrap().1 == state).count();
    assert!(said(State::Sent) > 0 && said(State::Sent) == said(State::Unsent), "{listed:?}");
}
