//! One partition's way from sealed batches to recorded certificates.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tributary_journal::batch::SealedBatch;
use tributary_journal::header::Header;
use tributary_journal::{Journal, JournalError};
use tributary_schemas::ids::{Clock, Partition, Seq, Timestamp};
use tributary_schemas::units::keccak256;

use crate::blob;
use crate::bundle::{Bundle, Limits, Waiting, bundle};
use crate::certificates::Certificates;
use crate::client::DaClient;
use crate::dispersal::Dispersal;
use crate::error::DaError;
use crate::genesis;
use crate::metrics::{Metrics, PartitionLabel};
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::plan::Plan;
use crate::record::BlobRecord;
use crate::retry::Patience;
use crate::settings::Settings;

/// What the lanes of one publisher share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) client: Arc<dyn DaClient>,
    pub(crate) dispersal: Dispersal,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) metrics: Metrics,
    pub(crate) patience: Patience,
    pub(crate) in_flight: Semaphore,
    pub(crate) genesis: OnceCell<()>,
}

impl Shared {
    /// Once for each publisher, before its first plan.
    async fn place_genesis(&self) -> Result<(), DaError> {
        let place = || genesis::place(&self.store, self.journal.genesis(), &self.patience);
        self.genesis.get_or_try_init(place).await?;
        Ok(())
    }
}

/// How one partition fares, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The partition.
    pub partition: Partition,
    /// The last failure, until a blob is published again.
    pub last_error: Option<String>,
    /// Whether that failure stopped the partition until an operator looks and the service starts again.
    pub stopped: bool,
}

pub(crate) struct Lane {
    partition: Partition,
    shared: Arc<Shared>,
    state: watch::Sender<LaneState>,
    /// One step at a time: two of one process would only disperse twice.
    turn: Mutex<()>,
    /// Whether a blob is being published.
    publishing: watch::Sender<bool>,
}

/// The right to publish a blob, of which there are so many for all lanes.
struct Permit<'a> {
    _permit: SemaphorePermit<'a>,
    publishing: &'a watch::Sender<bool>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.publishing.send_replace(false);
    }
}

/// What a step found to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A blob was published; there may be more.
    Published,
    /// Everything sealed is published; `after` is the last such batch.
    Idle { after: Option<Seq> },
    /// There are batches up to `last`, but neither enough nor old enough for a blob.
    Young { last: Seq, remaining: Duration },
    /// Another publisher is at the next blob.
    Awaited,
}

impl Lane {
    pub(crate) fn new(partition: Partition, shared: Arc<Shared>) -> Self {
        let state = LaneState { partition, last_error: None, stopped: false };
        let (state, publishing) = (watch::Sender::new(state), watch::Sender::new(false));
        Self { partition, shared, state, turn: Mutex::new(()), publishing }
    }

    pub(crate) fn state(&self) -> LaneState {
        self.state.borrow().clone()
    }

    /// Publishes until shutdown, or until an error that no retry cures. A blob that is being published at shutdown is brought to its
    /// end: to cut it off is safe like a crash, but may be to pay for it in vain.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let told = async {
            shutdown.cancelled().await;
            let mut publishing = self.publishing.subscribe();
            publishing.wait_for(|publishing| !publishing).await.is_ok()
        };
        tokio::select! {
            () = self.publish_until(&shutdown) => {}
            _ = told => {}
        }
    }

    /// Publishes everything that is sealed now, however young.
    pub(crate) async fn publish_available(&self) -> Result<(), DaError> {
        let Some(target) = self.shared.journal.refresh(self.partition).await?.map(|head| head.seq) else { return Ok(()) };
        let mut looks = 0;
        while self.shared.certificates.last_blob(self.partition).await?.is_none_or(|blob| blob.last_seq < target) {
            let step = self.step(true).await?;
            self.pause_if_awaited(&step, &mut looks).await;
        }
        Ok(())
    }

    async fn publish_until(&self, shutdown: &CancellationToken) {
        let mut flush = false;
        let (mut failures, mut looks) = (0, 0);
        while !shutdown.is_cancelled() {
            let waited = match self.step(flush).await {
                Ok(step) => {
                    failures = 0;
                    self.pause_if_awaited(&step, &mut looks).await;
                    self.wait(step).await
                }
                Err(error) => Err(error),
            };
            match waited {
                Ok(ripe) => flush = ripe,
                Err(error) if is_retry(&error) => {
                    failures += 1;
                    self.shared.metrics.rounds_failed.inc();
                    self.note(Some(error.to_string()), false);
                    self.shared.patience.pause(failures).await;
                }
                Err(error) => {
                    tracing::error!(partition = self.partition.get(), code = error.code(), %error, "publishing stopped");
                    return self.note(Some(error.to_string()), true);
                }
            }
        }
    }

    /// Lets the other publisher go on for a while, the longer the more often it was looked. That ends when its certificate is
    /// recorded, which the next step sees first, or when it is waited for no longer, which the outbox knows.
    async fn pause_if_awaited(&self, step: &Step, looks: &mut u32) {
        if *step != Step::Awaited {
            *looks = 0;
            return;
        }
        if *looks == 0 {
            self.shared.metrics.waits.inc();
        }
        *looks = looks.saturating_add(1);
        self.shared.patience.pause(*looks).await;
    }

    /// Waits for a reason to look again; whether the batches at hand are ripe then.
    async fn wait(&self, step: Step) -> Result<bool, DaError> {
        match step {
            Step::Published | Step::Awaited => Ok(false),
            Step::Idle { after } => {
                self.shared.journal.wait_beyond(self.partition, after).await?;
                Ok(false)
            }
            Step::Young { last, remaining } => tokio::select! {
                () = tokio::time::sleep(remaining) => Ok(true),
                grown = self.shared.journal.wait_beyond(self.partition, Some(last)) => grown.map(|_| false).map_err(DaError::from),
            },
        }
    }

    /// Carries out the plan in place, or makes one if enough batches wait, or any at all when `flush` is set.
    pub(crate) async fn step(&self, flush: bool) -> Result<Step, DaError> {
        let _turn = self.turn.lock().await;
        let before = self.shared.certificates.last_blob(self.partition).await?;
        let next = before.as_ref().map_or(Seq::FIRST, |blob| blob.last_seq.next());
        if let Some(plan) = self.plan_in_place(next).await? {
            // Before anything is read or held: what another publisher is at may take minutes.
            if self.is_under_way(&plan).await? {
                return Ok(Step::Awaited);
            }
            self.shared.metrics.plans_adopted.inc();
            let _permit = self.permit().await;
            let batches = self.read(plan.first_seq, plan.last_seq).await?;
            return self.carry_out(&plan, &batches).await;
        }
        let waiting = self.waiting(next).await?;
        let Some(last) = waiting.last().map(|header| header.seq) else { return Ok(Step::Idle { after: next.previous() }) };
        let now = self.shared.clock.now();
        let batches: Vec<Waiting> = waiting.iter().map(|header| waits_since(header, now)).collect();
        let count = match bundle(&batches, &self.limits(), flush) {
            Bundle::Wait(remaining) => return Ok(Step::Young { last, remaining }),
            Bundle::Close(count) => count,
        };
        let _permit = self.permit().await;
        let end = waiting[count - 1].seq;
        let batches = self.read(next, end).await?;
        let plan = self.place_plan(&batches).await?;
        match plan.last_seq == end {
            true => self.carry_out(&plan, &batches).await,
            false => self.carry_out(&plan, &self.read(plan.first_seq, plan.last_seq).await?).await,
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.shared.settings;
        let payload_bytes_max = settings.blob_bytes_max.min(self.shared.client.payload_bytes_max());
        Limits { payload_bytes_max, age_max: settings.blob_age_max }
    }

    async fn is_under_way(&self, plan: &Plan) -> Result<bool, DaError> {
        let until = self.shared.patience.run(|| self.shared.client.under_way(&plan.payload_hash)).await?;
        Ok(until.is_some())
    }

    /// What is sealed from `next` on, as far as the next blob depends on it: to the first batch that does not fit.
    async fn waiting(&self, next: Seq) -> Result<Vec<Header>, DaError> {
        let journal = &self.shared.journal;
        let Some(head) = journal.head(self.partition).map(|header| header.seq) else { return Ok(Vec::new()) };
        let bytes_max = self.limits().payload_bytes_max;
        let (mut waiting, mut bytes) = (Vec::new(), blob::payload_bytes([]));
        for seq in (next.get()..=head.get()).filter_map(Seq::new) {
            let header = journal.header(self.partition, seq).await?;
            bytes += encoded_bytes(&header);
            waiting.push(header);
            if bytes > bytes_max {
                break;
            }
        }
        Ok(waiting)
    }

    async fn plan_in_place(&self, first: Seq) -> Result<Option<Plan>, DaError> {
        let name = names::plan(self.partition, first);
        let bytes = self.shared.patience.run(|| read(&self.shared.store, &name)).await?;
        bytes.map(|bytes| self.known_plan(first, &bytes)).transpose()
    }

    fn known_plan(&self, first: Seq, bytes: &[u8]) -> Result<Plan, DaError> {
        let plan = Plan::decode(self.partition, first, bytes)?;
        match plan.deployment == self.shared.journal.genesis().deployment {
            true => Ok(plan),
            false => Err(DaError::corrupt(names::plan(self.partition, first), "it belongs to another deployment")),
        }
    }

    /// Decides the next blob: our proposal, unless another publisher's plan was there first.
    async fn place_plan(&self, batches: &[SealedBatch]) -> Result<Plan, DaError> {
        let payload = blob::encode(batches);
        let ends = batches.first().zip(batches.last()).expect("a run has at least one batch");
        let plan = Plan {
            deployment: self.shared.journal.genesis().deployment,
            partition: self.partition,
            first_seq: ends.0.header.seq,
            last_seq: ends.1.header.seq,
            payload_hash: keccak256(&payload),
            payload_bytes: payload.len() as u64,
            planned_at: self.shared.clock.now(),
        };
        self.shared.place_genesis().await?;
        let name = names::plan(self.partition, plan.first_seq);
        match put_once(&self.shared.store, &name, &plan.encode(), &self.shared.patience).await? {
            Placed::Ours => Ok(plan),
            Placed::Theirs(bytes) => {
                self.shared.metrics.plans_adopted.inc();
                self.known_plan(plan.first_seq, &bytes)
            }
        }
    }

    /// Archive, payload, read-back, certificate: exactly as planned.
    async fn carry_out(&self, plan: &Plan, batches: &[SealedBatch]) -> Result<Step, DaError> {
        let payload = blob::encode(batches);
        if keccak256(&payload) != plan.payload_hash || payload.len() as u64 != plan.payload_bytes {
            let what = "the batches that it names do not make the payload that it names";
            return Err(DaError::corrupt(names::plan(self.partition, plan.first_seq), what));
        }
        let certificate = match self.shared.dispersal.attempt(&payload).await {
            Err(DaError::UnderWay { .. }) => return Ok(Step::Awaited),
            answer => answer?,
        };
        self.record(plan, BlobRecord::new(plan, certificate)).await?;
        let (metrics, first) = (&self.shared.metrics, &batches[0].header);
        metrics.lag_seconds.observe(age(first.sealed_at, self.shared.clock.now()).as_secs_f64());
        metrics.certified_seq.get_or_create(&self.label()).set(plan.last_seq.as_i64());
        metrics.batches.inc_by(batches.len() as u64);
        self.note(None, false);
        Ok(Step::Published)
    }

    /// Records the certificate, unless another one was recorded first, which then counts.
    async fn record(&self, plan: &Plan, blob: BlobRecord) -> Result<(), DaError> {
        let name = names::certificate(self.partition, plan.first_seq);
        match put_once(&self.shared.store, &name, &blob.encode(), &self.shared.patience).await? {
            Placed::Ours => {
                self.shared.metrics.blobs.inc();
                self.shared.metrics.payload_bytes.inc_by(blob.certificate.payload_bytes);
            }
            Placed::Theirs(bytes) => {
                self.shared.metrics.certificates_lost.inc();
                let theirs = BlobRecord::decode(self.partition, plan.first_seq, &bytes)?;
                if !theirs.carries_out(plan) {
                    return Err(DaError::corrupt(name, "it certifies something else than its plan"));
                }
            }
        }
        self.shared.certificates.wake();
        Ok(())
    }

    async fn read(&self, first: Seq, last: Seq) -> Result<Vec<SealedBatch>, DaError> {
        if self.shared.journal.head(self.partition).is_none_or(|head| head.seq < last) {
            // Planned by another process, which has seen batches that this one has not.
            self.shared.journal.refresh(self.partition).await?;
        }
        let mut batches = Vec::new();
        for seq in (first.get()..=last.get()).filter_map(Seq::new) {
            batches.push(self.shared.journal.read(self.partition, seq).await?);
        }
        Ok(batches)
    }

    async fn permit(&self) -> Permit<'_> {
        let permit = self.shared.in_flight.acquire().await;
        let permit = permit.expect("the semaphore lives as long as the lanes and is never closed");
        self.publishing.send_replace(true);
        Permit { _permit: permit, publishing: &self.publishing }
    }

    pub(crate) fn note(&self, last_error: Option<String>, stopped: bool) {
        self.shared.metrics.stopped.get_or_create(&self.label()).set(i64::from(stopped));
        self.state.send_modify(|state| {
            state.last_error = last_error;
            state.stopped = stopped;
        });
    }

    fn label(&self) -> PartitionLabel {
        self.partition.into()
    }
}

fn encoded_bytes(header: &Header) -> usize {
    Header::BYTES + header.body_bytes as usize
}

fn waits_since(header: &Header, now: Timestamp) -> Waiting {
    Waiting { bytes: encoded_bytes(header), age: age(header.sealed_at, now) }
}

/// How long ago that was. A clock behind the sealer's makes nobody wait longer than the whole age.
pub(crate) fn age(sealed_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.micros().saturating_sub(sealed_at.micros())).unwrap_or(0))
}

fn is_retry(error: &DaError) -> bool {
    match error {
        DaError::Retry { .. } | DaError::Down { .. } | DaError::OutcomeUnknown { .. } | DaError::UnderWay { .. } => true,
        // What expires between its dispersal and its record is dispersed again.
        DaError::Expired { .. } | DaError::Late { .. } => true,
        DaError::Journal(JournalError::Retry { .. }) => true,
        DaError::Reject { .. } | DaError::Corrupt { .. } | DaError::Journal(_) => false,
    }
}
