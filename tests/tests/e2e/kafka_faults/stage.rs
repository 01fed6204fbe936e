//! What the faults happen to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};
use tributary_tests::Outcome;
use tributary_tests::patience::Patience;
use tributary_tests::services::{Deployment, SESSION_TIMEOUT, Service, TOPIC};
use tributary_tests::storefault::StoreFaults;

use super::schedule::{Fault, Kind};

const INGESTS: u64 = 2;
const SEALERS: u64 = 3;
/// Services that are asked to stop end within this, also while no broker answers.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// Services are ready within this when nothing is broken.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often somebody looks whether a service still runs.
const KEEP_EVERY: Duration = Duration::from_millis(250);
/// Of a thousand calls of the store so many fail at least, and so many more at most.
const STORE_FAULTS: (u64, u64) = (50, 250);

/// A deployment whose parts have faults one at a time each.
pub struct Stage {
    deployment: Deployment,
    ingests: Vec<Mutex<Service>>,
    sealers: Vec<Mutex<Service>>,
    store: StoreFaults,
    /// Held by the fault of the brokers: the next one waits until all copies are in sync.
    broker_turn: Mutex<()>,
    /// Held by the fault of the store.
    store_turn: Mutex<()>,
    extra: AtomicU64,
    seed: u64,
    is_over: AtomicBool,
    began: Instant,
}

impl Stage {
    /// Starts the services, and waits until all are ready.
    pub async fn set(deployment: Deployment, seed: u64) -> Outcome<Self> {
        let store = StoreFaults::build(deployment.folder(), &deployment.store()).await?;
        let (mut ingests, mut sealers) = (Vec::new(), Vec::new());
        for number in 1..=INGESTS {
            ingests.push(deployment.ingest(number)?);
        }
        for number in 1..=SEALERS {
            sealers.push(deployment.seal_with(number, store.env(seed.wrapping_add(number)))?);
        }
        for service in ingests.iter_mut().chain(&mut sealers) {
            service.start().await?;
        }
        for service in ingests.iter_mut().chain(&mut sealers) {
            service.ready(READY_WITHIN).await?;
        }
        Ok(Self {
            deployment,
            ingests: ingests.into_iter().map(Mutex::new).collect(),
            sealers: sealers.into_iter().map(Mutex::new).collect(),
            store,
            broker_turn: Mutex::default(),
            store_turn: Mutex::default(),
            extra: AtomicU64::new(SEALERS),
            seed,
            is_over: AtomicBool::new(false),
            began: Instant::now(),
        })
    }

    /// Where events are taken.
    pub async fn doors(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for ingest in &self.ingests {
            urls.push(ingest.lock().await.url());
        }
        urls
    }

    /// Says something with the time since the beginning.
    pub fn say(&self, what: &str) {
        println!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Lets a fault happen, and puts things right again.
    pub async fn inflict(&self, fault: &Fault) -> Outcome {
        match fault.kind {
            Kind::KillIngest => self.kill("ingest", &self.ingests, fault).await,
            Kind::StopIngest => self.stop_ingest(fault).await,
            Kind::KillSealer => self.kill("sealer", &self.sealers, fault).await,
            Kind::PauseSealer => self.pause_sealer(fault).await,
            Kind::ExtraSealer => self.add_sealer(fault).await,
            Kind::KillBroker => self.kill_broker(fault).await,
            Kind::KillAllBrokers => self.kill_brokers(fault).await,
            Kind::StoreFaults => self.break_store(fault).await,
        }
    }

    async fn kill(&self, role: &str, services: &[Mutex<Service>], fault: &Fault) -> Outcome {
        let (number, service) = picked(services, fault.pick)?;
        let mut service = held(service).await?;
        self.say(&format!("{role} {number} is killed, for {:.1?}", fault.lasts));
        service.kill().await?;
        sleep(fault.lasts).await;
        service.start_at_last().await
    }

    async fn stop_ingest(&self, fault: &Fault) -> Outcome {
        let (number, service) = picked(&self.ingests, fault.pick)?;
        let mut service = held(service).await?;
        self.say(&format!("ingest {number} is asked to stop"));
        service.stop(STOPS_WITHIN).await?;
        service.start_at_last().await
    }

    async fn pause_sealer(&self, fault: &Fault) -> Outcome {
        let (number, service) = picked(&self.sealers, fault.pick)?;
        let service = held(service).await?;
        self.say(&format!("sealer {number} is paused for {:.1?}; its session is {SESSION_TIMEOUT:?}", fault.lasts));
        service.pause()?;
        sleep(fault.lasts).await;
        self.say(&format!("sealer {number} is resumed"));
        service.resume()
    }

    async fn add_sealer(&self, fault: &Fault) -> Outcome {
        let number = self.extra.fetch_add(1, Ordering::Relaxed) + 1;
        let mut service = self.deployment.seal_with(number, self.store.env(self.seed.wrapping_add(number)))?;
        self.say(&format!("sealer {number} comes, for {:.1?}", fault.lasts));
        service.start_at_last().await?;
        sleep(fault.lasts).await;
        service.look_after().await?;
        self.say(&format!("sealer {number} is asked to stop"));
        service.stop(STOPS_WITHIN).await
    }

    async fn kill_broker(&self, fault: &Fault) -> Outcome {
        let _turn = self.broker_turn.lock().await;
        let cluster = self.deployment.cluster();
        let node = 1 + usize::try_from(fault.pick)? % cluster.nodes();
        self.say(&format!("broker {node} is killed, for {:.1?}", fault.lasts));
        cluster.kill(node).await?;
        sleep(fault.lasts).await;
        cluster.restart(node).await?;
        cluster.wait_in_sync(TOPIC, READY_WITHIN).await?;
        self.say("all brokers are in sync");
        Ok(())
    }

    async fn kill_brokers(&self, fault: &Fault) -> Outcome {
        let _turn = self.broker_turn.lock().await;
        let cluster = self.deployment.cluster();
        self.say(&format!("all brokers are killed, for {:.1?}", fault.lasts));
        cluster.kill_all().await?;
        sleep(fault.lasts).await;
        cluster.start_all().await?;
        cluster.wait_in_sync(TOPIC, READY_WITHIN).await?;
        self.say("all brokers are in sync");
        Ok(())
    }

    async fn break_store(&self, fault: &Fault) -> Outcome {
        let _turn = self.store_turn.lock().await;
        let (least, more) = STORE_FAULTS;
        let per_thousand = least + fault.pick * more / 1_000;
        self.say(&format!("{per_thousand} of 1000 calls of the store fail or wait, for {:.1?}", fault.lasts));
        let strikes = || self.store.told().map(|told| told.values().sum::<u64>());
        let before = strikes()?;
        self.store.set(per_thousand)?;
        sleep(fault.lasts).await;
        // Other faults may keep all sealers from the store: then it fails until one has met it.
        let patience = Patience::of(READY_WITHIN);
        while strikes()? == before {
            patience.pause(|| "no sealer met the faults of the store".to_owned()).await?;
        }
        self.store.set(0)?;
        self.say(&format!("the store is whole, after {} faults", strikes()? - before));
        Ok(())
    }

    /// How many services are looked after.
    pub fn slots(&self) -> usize {
        self.ingests.len() + self.sealers.len()
    }

    /// Looks after one service until the end: what ends before it was ready is started again; to end later is an error.
    pub async fn keep(&self, slot: usize) -> Outcome {
        let service = self.ingests.iter().chain(&self.sealers).nth(slot).ok_or("there is no such slot")?;
        while !self.is_over.load(Ordering::Acquire) {
            // One that has a fault is its fault's.
            if let Ok(mut service) = service.try_lock() {
                service.look_after().await?;
            }
            sleep(KEEP_EVERY).await;
        }
        Ok(())
    }

    /// Nobody looks after anything any more.
    pub fn end_keeping(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Waits until everything runs, is ready and in sync.
    pub async fn recover(&self, within: Duration) -> Outcome {
        self.deployment.cluster().wait_in_sync(TOPIC, within).await?;
        for service in self.ingests.iter().chain(&self.sealers) {
            let mut service = service.lock().await;
            service.look_after().await?;
            service.ready(within).await?;
        }
        Ok(())
    }

    /// Waits until all that was taken is sealed.
    pub async fn wait_sealed(&self, within: Duration) -> Outcome {
        let mut held = Vec::new();
        for sealer in &self.sealers {
            held.push(sealer.lock().await);
        }
        let sealers: Vec<&Service> = held.iter().map(|sealer| &**sealer).collect();
        self.deployment.wait_sealed(&sealers, within).await
    }

    /// How often which fault of the store happened.
    pub fn store_faults(&self) -> Outcome<BTreeMap<String, u64>> {
        self.store.told()
    }

    /// Asks everything to stop.
    pub async fn end(&self) -> Outcome {
        for service in self.ingests.iter().chain(&self.sealers) {
            service.lock().await.stop(STOPS_WITHIN).await?;
        }
        self.deployment.end_cluster().await
    }
}

/// Takes a service for a fault, once it runs.
async fn held(service: &Mutex<Service>) -> Outcome<MutexGuard<'_, Service>> {
    let mut service = service.lock().await;
    service.look_after().await?;
    Ok(service)
}

/// One of them, and its number.
fn picked(services: &[Mutex<Service>], pick: u64) -> Outcome<(usize, &Mutex<Service>)> {
    let at = usize::try_from(pick)? % services.len();
    Ok((at + 1, &services[at]))
}
