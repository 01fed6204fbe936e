//! What a publisher has in hand when it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{blobs, two_blobs_ahead};
use crate::DaClient;
use crate::faulty::{Call, DaFault, FaultyDa};
use crate::fixture::quick;
use crate::settings::Settings;

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
