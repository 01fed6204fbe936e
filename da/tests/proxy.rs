//! The clients against EigenDA's own proxy, in front of a network in its memory: what the stub of the unit tests claims of it is so.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tempfile::TempDir;
use tokio::time::Instant;
use tributary_da::bundle::symbols_billed;
use tributary_da::conformance::{self, Factory};
use tributary_da::eigenda::RETENTION;
use tributary_da::faulty::{Call, DaFault};
use tributary_da::outbox::State;
use tributary_da::settings::PAYLOAD_BYTES_LIMIT;
use tributary_da::{
    Archive, BackendMetrics, Certificate, Committer, DaClient, Dispersal, EigenDa, EigenDaSettings, Failover, FailoverSettings,
    FaultyDa, LocalDa, Outbox, OutboxSettings, PublisherId, Settings, Wanted, committed, names,
};
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::keccak256;
use tributary_tests::Outcome;
use tributary_tests::eigenda::{Proxy, SMALL};
use tributary_tests::forwarder::Forwarder;
use tributary_tests::patience::Patience;

/// No step of a test takes longer.
const SOON: Duration = Duration::from_secs(60);
const PUT_TIMEOUT: Duration = Duration::from_secs(1);
const COOL_DOWN: Duration = Duration::from_secs(60);

/// A clock that moves when told, and a microsecond whenever it is read.
struct OwnClock(AtomicI64);

impl OwnClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_790_000_000_000_000)))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for OwnClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
}

/// What clients of one proxy are made from.
struct Parts {
    url: String,
    store: Arc<dyn ObjectStore>,
    clock: Arc<OwnClock>,
    committer: Arc<Committer>,
    metrics: BackendMetrics,
}

impl Parts {
    fn at(url: &str) -> Self {
        let (store, clock, committer) = (Arc::new(InMemory::new()), OwnClock::new(), Committer::shipped());
        Self { url: url.to_owned(), store, clock, committer, metrics: BackendMetrics::default() }
    }

    /// For payloads that are not to get a certificate in time.
    fn hasty(&self) -> Arc<dyn DaClient> {
        let settings = EigenDaSettings { put_timeout: PUT_TIMEOUT, ..EigenDaSettings::new(&self.url) };
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        Arc::new(EigenDa::new(settings, Arc::clone(&self.committer), clock, metrics).unwrap())
    }

    fn eigenda(&self) -> Arc<dyn DaClient> {
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        Arc::new(EigenDa::new(EigenDaSettings::new(&self.url), Arc::clone(&self.committer), clock, metrics).unwrap())
    }

    fn local(&self) -> Arc<dyn DaClient> {
        Arc::new(LocalDa::with_committer(Arc::clone(&self.store), self.clock.clone(), Arc::clone(&self.committer)))
    }

    fn outbox(&self, behind: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
        let settings =
            OutboxSettings { publisher: PublisherId([7; 16]), attempt_max: PUT_TIMEOUT, paid_pause_max: Duration::ZERO };
        Arc::new(Outbox::new(behind, Arc::clone(&self.store), self.clock.clone(), settings, self.metrics.clone()))
    }

    fn archive(&self, backend: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
        Arc::new(Archive::new(backend, Arc::clone(&self.store), Arc::clone(&self.committer), self.metrics.clone()))
    }

    fn failover(&self, first: Arc<dyn DaClient>) -> Arc<dyn DaClient> {
        let settings = FailoverSettings { failures_max: 2, cool_down: COOL_DOWN };
        Arc::new(Failover::new(first, self.local(), self.clock.clone(), settings, self.metrics.clone()))
    }

    fn dispersal(&self, client: Arc<dyn DaClient>) -> Dispersal {
        Dispersal::new(Arc::clone(&self.store), client, Arc::clone(&self.committer), &Settings::default())
    }

    /// What the outbox says of its attempts, in order.
    async fn noted(&self) -> Vec<(u32, State)> {
        let listed: Vec<ObjectMeta> = self.store.list(Some(&names::OUTBOX.into())).try_collect().await.unwrap();
        let entries = listed.iter().map(|object| names::parse_outbox(&object.location).unwrap());
        let mut noted: Vec<_> = entries.map(|(attempt, state)| (attempt.number, state)).collect();
        noted.sort_unstable();
        noted
    }

    fn counts(&self) -> (u64, u64, u64) {
        (self.metrics.puts.get(), self.metrics.outcomes_unknown.get(), self.metrics.possibly_paid.get())
    }
}

/// A proxy for payloads of 128 KiB, and what clients of it are made from. `None`: it cannot be built here.
async fn scene() -> Outcome<Option<(TempDir, Proxy, Parts)>> {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(&folder.path().join("proxy"), &SMALL).await? else { return Ok(None) };
    let parts = Parts::at(&proxy.url());
    Ok(Some((folder, proxy, parts)))
}

fn payload(seed: u64, bytes: usize) -> Bytes {
    (0..bytes.div_ceil(32) as u64).flat_map(|i| keccak256([seed.to_be_bytes(), i.to_be_bytes()].concat()).0).take(bytes).collect()
}

fn code<T: std::fmt::Debug>(answer: Result<T, tributary_da::DaError>) -> &'static str {
    answer.unwrap_err().code()
}

/// Two networks, and clients of them.
struct Networks {
    here: Parts,
    there: Parts,
    plug: fn(&Parts) -> Arc<dyn DaClient>,
}

#[async_trait]
impl Factory for Networks {
    async fn open(&self, name: &str) -> Arc<dyn DaClient> {
        (self.plug)(if name == "there" { &self.there } else { &self.here })
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

/// How a client is put together.
type Plug = fn(&Parts) -> Arc<dyn DaClient>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conformance_suite_alone_and_with_all_that_a_publisher_puts_around_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(here) = Proxy::start(&folder.path().join("here"), &SMALL).await? else { return Ok(()) };
    let Some(there) = Proxy::start(&folder.path().join("there"), &SMALL).await? else { return Ok(()) };
    let plugs: [Plug; 4] = [
        Parts::eigenda,
        |parts| parts.outbox(parts.eigenda()),
        |parts| parts.failover(parts.eigenda()),
        |parts| parts.archive(parts.failover(parts.outbox(troubled(parts.eigenda())))),
    ];
    for plug in plugs {
        conformance::run(&Networks { here: Parts::at(&here.url()), there: Parts::at(&there.url()), plug }).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_around_every_size_of_blobs_come_back_under_our_own_commitment() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(&folder.path().join("proxy"), &[]).await? else { return Ok(()) };
    let parts = Parts::at(&proxy.url());
    let client = parts.eigenda();
    let sizes = (1..=15).flat_map(|k| (-1..=1).map(move |more| (((1_usize << k) - 1) * 31).checked_add_signed(more).unwrap()));
    let sizes: Vec<usize> = sizes.filter(|bytes| *bytes <= PAYLOAD_BYTES_LIMIT).collect();
    assert_eq!(sizes.len(), 44, "one byte more than the largest is not sent");
    for bytes in sizes {
        let payload = payload(bytes as u64, bytes);
        let given = client.disperse(payload.clone()).await.unwrap();
        let ours = parts.committer.commit(&payload).await.unwrap();
        assert_eq!(
            committed(&given.bytes).unwrap(),
            ("eigenda", ours),
            "{bytes} bytes: the proxy's commitment and size of the blob"
        );
        assert_eq!(given.commitment, ours.bytes());
        assert_eq!(u64::from(ours.domain.symbols().max(4096)), symbols_billed(bytes), "{bytes} bytes");
        assert_eq!(client.retrieve(&given.wanted()).await.unwrap(), payload, "{bytes} bytes");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_too_late_is_an_unknown_outcome_and_the_payload_is_sent_again() -> Outcome {
    let Some((_folder, proxy, parts)) = scene().await? else { return Ok(()) };
    let client = parts.outbox(parts.hasty());
    proxy.set("PutLatency", "2s").await?;
    assert_eq!(code(client.disperse(payload(1, 3000)).await), "da_outcome_unknown");
    assert_eq!((parts.counts(), parts.noted().await), ((1, 1, 1), vec![(1, State::Sent), (1, State::Unknown)]));
    proxy.set("PutLatency", "0s").await?;
    let given = client.disperse(payload(1, 3000)).await.unwrap();
    assert_eq!(parts.counts(), (2, 1, 1));
    assert_eq!(parts.noted().await[2..], [(2, State::Sent), (2, State::Certified)]);
    assert_eq!(client.retrieve(&given.wanted()).await.unwrap(), payload(1, 3000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_proxy_says_that_eigenda_does_not_work_the_local_backend_publishes_and_afterwards_not_any_more() -> Outcome {
    let Some((_folder, proxy, parts)) = scene().await? else { return Ok(()) };
    let client = parts.failover(parts.outbox(parts.eigenda()));
    let backend_of = async |seed: u64| client.disperse(payload(seed, 500)).await.map(|certificate| certificate.backend);
    assert_eq!(backend_of(1).await.unwrap(), "eigenda");
    proxy.set("PutReturnsFailoverError", true).await?;
    assert_eq!(code(backend_of(2).await), "da_backend_down", "once is no reason yet");
    assert_eq!(backend_of(2).await.unwrap(), "local");
    assert_eq!(parts.counts(), (3, 0, 2), "both may be billed");
    proxy.set("PutReturnsFailoverError", false).await?;
    assert_eq!(backend_of(3).await.unwrap(), "local", "it is left alone for a while, though it works again");
    assert_eq!(parts.counts().0, 3);
    proxy.set("PutReturnsFailoverError", true).await?;
    parts.clock.advance(COOL_DOWN);
    assert_eq!((backend_of(4).await.unwrap().as_str(), parts.counts().0), ("local", 4), "one tries, and it failed");
    assert_eq!((backend_of(5).await.unwrap().as_str(), parts.counts().0), ("local", 4), "so it is left alone again");
    proxy.set("PutReturnsFailoverError", false).await?;
    parts.clock.advance(COOL_DOWN);
    assert_eq!(backend_of(6).await.unwrap(), "eigenda");
    assert_eq!(backend_of(7).await.unwrap(), "eigenda");
    assert_eq!((parts.metrics.failovers.get(), parts.metrics.on_second.get()), (1, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_network_has_forgotten_is_down_before_its_expiry_and_expired_after_and_the_archive_has_it() -> Outcome {
    let Some((_folder, proxy, parts)) = scene().await? else { return Ok(()) };
    let backend = parts.eigenda();
    let given = parts.dispersal(parts.outbox(Arc::clone(&backend))).certify(payload(1, 3000), Instant::now()).await.unwrap();
    let (wanted, reader) = (given.wanted(), parts.archive(Arc::clone(&backend)));
    assert_eq!(reader.retrieve(&wanted).await.unwrap(), payload(1, 3000));
    assert_eq!(parts.metrics.archive_reads.get(), 0);
    proxy.forget(&format!("0x{:x}", given.bytes)).await?;
    assert_eq!(code(backend.retrieve(&wanted).await), "da_unavailable", "it should be there");
    assert_eq!(reader.retrieve(&wanted).await.unwrap(), payload(1, 3000));
    parts.clock.advance(RETENTION);
    assert_eq!(code(backend.retrieve(&wanted).await), "da_expired");
    assert_eq!(reader.retrieve(&wanted).await.unwrap(), payload(1, 3000));
    assert_eq!(parts.metrics.archive_reads.get(), 2);
    // All that is needed is the certificate and a copy of the folder.
    let elsewhere = Parts::at(&parts.url);
    let name = names::payload(&given.commitment);
    let archived = parts.store.get(&name).await?.bytes().await?;
    elsewhere.store.put(&name, archived.into()).await?;
    let without_record = Wanted { certificate: given.bytes, expires_at: None };
    let reader = elsewhere.archive(elsewhere.eigenda());
    assert_eq!(reader.retrieve(&without_record).await.unwrap(), payload(1, 3000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_dies_with_a_payload_in_its_hands_leaves_an_unknown_outcome_and_one_that_is_away_none() -> Outcome {
    let Some((folder, mut proxy, parts)) = scene().await? else { return Ok(()) };
    let between = Forwarder::start(&proxy.url()).await?;
    let parts = Parts { url: between.url().to_owned(), ..parts };
    let client = parts.outbox(parts.eigenda());
    proxy.set("PutLatency", "1h").await?;
    let sending = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.disperse(payload(1, 3000)).await }
    });
    let patience = Patience::of(SOON);
    while between.puts() == 0 {
        patience.pause(|| proxy.describe("no payload reaches it")).await?;
    }
    proxy.kill().await?;
    assert_eq!(code(sending.await?), "da_outcome_unknown");
    assert_eq!(parts.counts(), (1, 1, 1));
    // Nobody is between this client and the place where the proxy was.
    let direct = Parts { url: proxy.url(), store: Arc::clone(&parts.store), ..Parts::at("") };
    assert_eq!(code(direct.outbox(direct.eigenda()).disperse(payload(1, 3000)).await), "da_backend_down");
    assert_eq!((direct.counts().1, direct.counts().2), (0, 0), "nothing was sent");
    proxy.restart().await?;
    let given = client.disperse(payload(1, 3000)).await.unwrap();
    assert_eq!(client.retrieve(&given.wanted()).await.unwrap(), payload(1, 3000));
    let sent = parts.noted().await.into_iter().filter(|(_, state)| *state == State::Certified).count();
    assert_eq!((between.puts(), sent), (2, 1), "{:?} in {}", parts.noted().await, folder.path().display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_with_any_byte_changed_gives_nothing() -> Outcome {
    let Some((_folder, _proxy, parts)) = scene().await? else { return Ok(()) };
    let client = parts.eigenda();
    let given: Certificate = client.disperse(payload(1, 3000)).await.unwrap();
    for at in 0..given.bytes.len() {
        for bit in [0, 7] {
            let mut bytes = given.bytes.to_vec();
            bytes[at] ^= 1 << bit;
            let changed = Wanted { certificate: Bytes::from(bytes), ..given.wanted() };
            let answer = client.retrieve(&changed).await;
            assert!(answer.is_err(), "byte {at}, bit {bit}: it gives {} bytes", answer.unwrap().len());
        }
    }
    let other = client.disperse(payload(2, 3000)).await.unwrap();
    let recorded_beside = Certificate { bytes: other.bytes.clone(), ..given.clone() };
    assert!(recorded_beside.check_bytes().is_err(), "another payload's certificate is not this record's");
    let found = client.retrieve(&recorded_beside.wanted()).await.unwrap();
    assert_eq!(given.check_payload(&found).unwrap_err().code(), "da_corrupt");
    Ok(())
}

#[test]
fn the_recipe_of_the_proxy_names_a_checksum_for_every_module() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services");
    let sums = std::fs::read_to_string(services.join("eigenda-proxy.sum")).unwrap();
    let recipe = std::fs::read_to_string(services.join("eigenda-proxy.mod")).unwrap();
    let named: Vec<&str> = recipe.lines().filter_map(|line| line.strip_prefix('\t')).collect();
    assert_eq!(named.len(), 3, "{named:?}");
    for module in named {
        assert!(sums.contains(&format!("{module} h1:")), "{module}");
    }
}
