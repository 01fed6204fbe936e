//! The stages before settlement, real, over one store.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tributary_da::manifest::ManifestSettings;
use tributary_da::{
    Archive, BackendMetrics, Certificates, Committer, DaClient, Dispersal, LocalDa, Manifests, Publisher, Witness,
};
use tributary_indexer::Indexer;
use tributary_indexer::lake::Lake;
use tributary_journal::{Contents, Journal, SealedBatch};
use tributary_query::Engine;
use tributary_schemas::event::Event;
use tributary_schemas::identity::Identity;
use tributary_schemas::ids::{Clock, Epoch, Offset, Partition, PartitionCount, Timestamp};
use tributary_schemas::protobuf;
use tributary_schemas::units::Hash;

use super::world::{Expected, noon, treasury};
use crate::ledger::EpochRow;
use crate::tables::Columns;
use crate::{
    Settings, SettleOutcome, SettleRequest, Settlement, SettlementError, Silent, Sources, Stages, VerifyRequest, verify,
};

/// Events in one batch; small, so that epochs have many.
const EVENTS_PER_BATCH: usize = 700;

pub struct Stack {
    pub store: Arc<dyn ObjectStore>,
    pub journal: Arc<Journal>,
    pub client: Arc<dyn DaClient>,
    pub publisher: Arc<Publisher>,
    pub certificates: Arc<Certificates>,
    pub lake: Arc<Lake>,
    pub indexer: Arc<Indexer>,
    pub engine: Arc<Engine>,
    pub clock: Arc<dyn Clock>,
}

pub fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

impl Stack {
    pub async fn new(partitions: u32) -> Self {
        Self::open(memory(), PartitionCount::new(partitions)).await
    }

    pub async fn open(store: Arc<dyn ObjectStore>, born_with: Option<PartitionCount>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(noon());
        let journal = Journal::open(Arc::clone(&store), born_with, Arc::clone(&clock)).await.unwrap();
        let client: Arc<dyn DaClient> = Arc::new(LocalDa::new(Arc::clone(&store), Arc::clone(&clock)));
        let settings = tributary_da::Settings::default();
        let dispersal = Dispersal::new(Arc::clone(&store), Arc::clone(&client), Committer::shipped(), &settings);
        let publisher = Publisher::new(dispersal, Arc::clone(&journal), Arc::clone(&clock), settings);
        let certificates = Arc::new(Certificates::new(Arc::clone(&store)));
        let lake = Lake::open(Arc::clone(&store));
        let (of_journal, of_lake) = (Arc::clone(&journal), Arc::clone(&lake));
        let indexer = Indexer::new(of_journal, of_lake, Arc::clone(&clock), tributary_indexer::Settings::default());
        let (of_lake, of_journal, of_certificates) = (Arc::clone(&lake), Arc::clone(&journal), Arc::clone(&certificates));
        let settings = tributary_query::Settings::default();
        let engine = Engine::new(of_lake, of_journal, of_certificates, Arc::clone(&clock), settings);
        Self { store, journal, client, publisher, certificates, lake, indexer, engine, clock }
    }

    /// Seals the events as they come, repetitions included, and brings them through the stages. Every batch is sealed more
    /// than a window after the one before, so that repetitions are right wherever they are: no sealer knows them any more.
    pub async fn take(&self, events: &[Event]) {
        self.seal(events).await;
        self.publisher.publish_available().await.unwrap();
        self.indexer.index_available().await.unwrap();
    }

    pub async fn seal(&self, events: &[Event]) {
        let mut lanes: BTreeMap<Partition, Vec<&Event>> = BTreeMap::new();
        for event in events {
            let partition = self.journal.genesis().partitions.partition_of(event.draft.key().as_bytes());
            lanes.entry(partition).or_default().push(event);
        }
        for (partition, lane) in lanes {
            let (mut batch, mut identities) = (Vec::new(), HashSet::new());
            for event in lane {
                let identity = Identity::of(&event.draft);
                if identities.contains(&identity) || batch.len() == EVENTS_PER_BATCH {
                    self.seal_batch(partition, &batch, self.after_window(partition)).await;
                    batch.clear();
                    identities.clear();
                }
                identities.insert(identity);
                batch.push(event);
            }
            self.seal_batch(partition, &batch, self.after_window(partition)).await;
        }
    }

    /// When everything sealed in the partition has left the window.
    fn after_window(&self, partition: Partition) -> Timestamp {
        let window = i64::try_from(self.journal.settings().seen_window.as_micros()).unwrap();
        match self.journal.head(partition) {
            Some(head) => Timestamp::from_micros(head.sealed_at.micros() + window + 1).unwrap(),
            None => self.clock.now(),
        }
    }

    /// Seals one batch of one partition, whatever is in it.
    pub async fn seal_batch(&self, partition: Partition, events: &[&Event], sealed_at: Timestamp) {
        let previous = self.journal.head(partition);
        let first = previous.as_ref().map_or(0, |header| header.next_offset.get());
        let times = events.iter().map(|event| event.draft.time);
        let encoded: Vec<Bytes> = events.iter().map(|event| protobuf::encode(event)).collect();
        let batch = SealedBatch::seal(Contents {
            deployment: self.journal.genesis().deployment,
            partition,
            previous,
            next_offset: Offset::new(first + encoded.len().max(1) as u64).unwrap(),
            last_record_hash: Hash::repeat_byte(7),
            times: (times.clone().min().unwrap(), times.max().unwrap()),
            sealed_at,
            events: encoded,
        });
        self.journal.append(&batch.unwrap()).await.unwrap();
    }

    pub fn settings() -> Settings {
        Settings { wait_max: Duration::from_secs(20), ..Settings::new(treasury()) }
    }

    pub fn settlement(&self) -> Settlement {
        self.settlement_with(Self::settings())
    }

    pub fn settlement_with(&self, settings: Settings) -> Settlement {
        Settlement::new(self.stages(), self.manifests(ManifestSettings::default()), settings)
    }

    /// A job whose manifests have pages of so many bytes.
    pub fn settlement_paged(&self, page_bytes_max: usize) -> Settlement {
        let manifests = self.manifests(ManifestSettings { page_bytes_max, ..ManifestSettings::default() });
        Settlement::new(self.stages(), manifests, Self::settings())
    }

    pub fn stages(&self) -> Stages {
        Stages {
            store: Arc::clone(&self.store),
            journal: Arc::clone(&self.journal),
            certificates: Arc::clone(&self.certificates),
            lake: Arc::clone(&self.lake),
            engine: Arc::clone(&self.engine),
            clock: Arc::clone(&self.clock),
        }
    }

    pub fn manifests(&self, settings: ManifestSettings) -> Manifests {
        self.manifests_through(Arc::clone(&self.client), settings)
    }

    /// Manifests that are published through this client.
    pub fn manifests_through(&self, client: Arc<dyn DaClient>, settings: ManifestSettings) -> Manifests {
        let quick = tributary_da::Settings {
            attempts_max: 3,
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(10),
            ..tributary_da::Settings::default()
        };
        let dispersal = Dispersal::new(Arc::clone(&self.store), client, Committer::shipped(), &quick);
        let (store, certificates) = (Arc::clone(&self.store), Arc::clone(&self.certificates));
        Manifests::new(store, self.journal.genesis().clone(), certificates, dispersal, settings)
    }

    pub async fn settle(&self) -> Result<SettleOutcome, SettlementError> {
        self.settlement().settle(SettleRequest::default()).await
    }

    pub fn sources(&self) -> Sources {
        self.sources_behind(Arc::clone(&self.client))
    }

    /// With this backend in front of the archive.
    pub fn sources_behind(&self, backend: Arc<dyn DaClient>) -> Sources {
        let (store, metrics) = (Arc::clone(&self.store), BackendMetrics::default());
        Sources {
            store: Arc::clone(&self.store),
            journal: Arc::clone(&self.journal),
            certificates: Arc::clone(&self.certificates),
            client: Arc::new(Witness::new(Archive::new(backend, store, Committer::shipped(), metrics))),
            committer: Committer::shipped(),
            lake: Arc::clone(&self.lake),
            engine: Arc::clone(&self.engine),
        }
    }

    pub async fn verify(&self) -> Result<crate::Report, SettlementError> {
        verify(&self.sources(), &VerifyRequest::default(), &Silent).await
    }

    /// What the tables say of an epoch, as any reader sees them.
    pub async fn outcome(&self, epoch: Epoch) -> Expected {
        let head = self.engine.indexed().await.unwrap();
        let session = self.engine.session_unlimited(&head).await.unwrap();
        let row: EpochRow = crate::epoch::read_row(&session, epoch).await.unwrap().unwrap();
        let (mut rewards, mut cumulative) = (BTreeMap::new(), BTreeMap::new());
        for batch in session.collect(&format!("SELECT * FROM rewards WHERE epoch = {epoch}")).await.unwrap() {
            let columns = Columns(&batch);
            let (accounts, roles) = (columns.texts("account").unwrap(), columns.texts("role").unwrap());
            for (i, amount) in columns.amounts("amount").unwrap().iter().enumerate() {
                let key = (accounts.value(i).to_owned(), roles.value(i).to_owned());
                assert_eq!(rewards.insert(key, amount.unwrap().to_string()), None);
            }
        }
        for batch in session.collect(&format!("SELECT * FROM cumulative WHERE epoch = {epoch}")).await.unwrap() {
            let columns = Columns(&batch);
            let accounts = columns.texts("account").unwrap();
            for (i, amount) in columns.amounts("cumulative").unwrap().iter().enumerate() {
                assert_eq!(cumulative.insert(accounts.value(i).to_owned(), amount.unwrap().to_string()), None);
            }
        }
        Expected {
            inferences: row.inferences,
            unattributed: row.unattributed,
            fees: row.fees.to_string(),
            accounts: row.accounts,
            cumulative_total: row.cumulative_total.to_string(),
            root: format!("{:#x}", row.root),
            rewards,
            cumulative,
        }
    }

    pub async fn count(&self, table: &str) -> i64 {
        let head = self.engine.indexed().await.unwrap();
        let session = self.engine.session_unlimited(&head).await.unwrap();
        let answer = session.collect(&format!("SELECT count(*) AS n FROM {table}")).await.unwrap();
        Columns(&answer[0]).integers("n").unwrap().value(0)
    }
}

pub fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}
