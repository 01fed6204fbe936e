//! The suite, run on every backend and on what they are plugged together to.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;

use super::*;
use crate::eigenda::stub::Stub;
use crate::eigenda::{EigenDa, EigenDaSettings};
use crate::failover::{Failover, FailoverSettings};
use crate::faulty::{Call, DaFault, FaultyDa};
use crate::fixture::SlowClock;
use crate::metrics::BackendMetrics;
use crate::outbox::{Outbox, OutboxSettings, PublisherId};
use crate::{Archive, LocalDa};

/// Stores and proxies by name, and what is plugged together on them.
struct Networks<F> {
    stores: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
    proxies: tokio::sync::Mutex<BTreeMap<String, Stub>>,
    clock: Arc<SlowClock>,
    committer: Arc<Committer>,
    plug: F,
}

/// What a client is made from.
struct Parts {
    store: Arc<dyn ObjectStore>,
    proxy: Stub,
    clock: Arc<SlowClock>,
    committer: Arc<Committer>,
}

impl Parts {
    fn local(&self) -> Arc<dyn DaClient> {
        Arc::new(LocalDa::with_committer(Arc::clone(&self.store), self.clock.clone(), Arc::clone(&self.committer)))
    }

    fn eigenda(&self) -> Arc<dyn DaClient> {
        let (settings, metrics) = (EigenDaSettings::new(self.proxy.url()), BackendMetrics::default());
        Arc::new(EigenDa::new(settings, Arc::clone(&self.committer), self.clock.clone(), metrics).unwrap())
    }

    fn outbox(&self, behind: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
        let settings = OutboxSettings {
            publisher: PublisherId([7; 16]),
            attempt_max: Duration::from_secs(60),
            paid_pause_max: Duration::ZERO,
        };
        Arc::new(Outbox::new(behind, Arc::clone(&self.store), self.clock.clone(), settings, BackendMetrics::default()))
    }

    fn archive(&self, backend: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
        let committer = Arc::clone(&self.committer);
        Arc::new(Archive::new(backend, Arc::clone(&self.store), committer, BackendMetrics::default()))
    }

    fn failover(&self, first: Arc<dyn DaClient>, second: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
        let settings = FailoverSettings::default();
        Arc::new(Failover::new(first, second, self.clock.clone(), settings, BackendMetrics::default()))
    }
}

/// Every kind of trouble in turn, and in between none.
fn troubled(behind: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
    let faults = [DaFault::None, DaFault::Busy, DaFault::LosesAnswer, DaFault::Down, DaFault::None, DaFault::Vanishes];
    let nth = move |number: u64| faults[usize::try_from(number % 6).unwrap()];
    FaultyDa::new(behind, move |call| match call {
        Call::Disperse(number) => nth(number),
        Call::Retrieve(number) => nth(number + 1),
    })
}

#[async_trait]
impl<F: Fn(&Parts) -> Arc<dyn DaClient> + Send + Sync> Factory for Networks<F> {
    async fn open(&self, name: &str) -> Arc<dyn DaClient> {
        let store = Arc::clone(self.stores.lock().entry(name.to_owned()).or_insert_with(|| Arc::new(InMemory::new())));
        let mut proxies = self.proxies.lock().await;
        if !proxies.contains_key(name) {
            proxies.insert(name.to_owned(), Stub::start().await);
        }
        let (clock, committer) = (Arc::clone(&self.clock), Arc::clone(&self.committer));
        (self.plug)(&Parts { store, proxy: proxies[name].clone(), clock, committer })
    }
}

async fn conforms(plug: impl Fn(&Parts) -> Arc<dyn DaClient> + Send + Sync) {
    let networks = Networks {
        stores: Mutex::default(),
        proxies: tokio::sync::Mutex::default(),
        clock: SlowClock::new(),
        committer: Committer::shipped(),
        plug,
    };
    run(&networks).await;
}

#[tokio::test]
async fn the_local_backend() {
    conforms(Parts::local).await;
}

#[tokio::test]
async fn eigenda_through_a_proxy() {
    conforms(Parts::eigenda).await;
}

#[tokio::test]
async fn a_backend_that_fails_in_every_way() {
    conforms(|parts| troubled(parts.local())).await;
}

#[tokio::test]
async fn an_outbox_in_front_of_each() {
    conforms(|parts| parts.outbox(parts.local())).await;
    conforms(|parts| parts.outbox(parts.eigenda())).await;
    conforms(|parts| parts.outbox(troubled(parts.local()))).await;
}

#[tokio::test]
async fn an_archive_behind_each() {
    conforms(|parts| parts.archive(parts.local())).await;
    conforms(|parts| parts.archive(parts.eigenda())).await;
}

#[tokio::test]
async fn eigenda_with_the_local_backend_for_when_it_fails() {
    conforms(|parts| parts.failover(parts.eigenda(), parts.local())).await;
    conforms(|parts| parts.failover(troubled(parts.eigenda()), parts.local())).await;
}

#[tokio::test]
async fn everything_as_a_publisher_has_it() {
    conforms(|parts| parts.archive(parts.failover(parts.outbox(troubled(parts.eigenda())), parts.local()))).await;
}
