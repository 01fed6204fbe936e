//! Which batches make the next blob: the plan in place, or one that is made when enough of them wait.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use tributary_journal::batch::SealedBatch;
use tributary_journal::header::Header;
use tributary_schemas::ids::{Seq, Timestamp};
use tributary_schemas::units::keccak256;

use super::stretch::{Ended, Stretch, guarded};
use super::{Lane, Permit, age};
use crate::blob;
use crate::bundle::{Bundle, Limits, Waiting, bundle};
use crate::error::DaError;
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::plan::Plan;

/// A plan in place, and what is in hand of its blob.
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// Whether it was found: another publisher's, or our own from before a crash.
    pub(super) is_adopted: bool,
    /// With what the first attempt is made; `None`: it may not be needed.
    pub(super) hand: Option<Hand>,
}

/// What an attempt is made with.
pub(super) struct Hand {
    pub(super) permit: Permit,
    pub(super) payload: Option<Payload>,
}

/// A blob's payload.
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    /// When its first batch was sealed.
    pub(super) sealed_at: Timestamp,
}

/// What waits to be planned.
enum Ripeness {
    /// Those up to this batch make a blob now.
    Ripe { end: Seq },
    /// There are batches up to `last`, but neither enough nor old enough for a blob.
    Young { last: Seq, remaining: Duration },
    /// All up to here is planned.
    Idle { after: Option<Seq> },
}

impl Stretch<'_> {
    /// The plans from this batch on, in their order, each when it lies in the store: the next one is decided while the blobs of those
    /// before it are still under way. They end with the target, when the stretch is stopped, or with the first error.
    pub(super) fn plans(&self, first: Seq) -> impl Stream<Item = Result<Planned, Ended>> {
        stream::try_unfold(first, move |next| async move {
            if self.target.is_some_and(|target| next > target) {
                return Ok(None);
            }
            let planned = self.until_stopped(self.persist(|| self.next_plan(next)));
            match guarded(async { planned.await.flatten() }).await {
                Ok(planned) => {
                    let after = planned.plan.last_seq.next();
                    Ok(Some((planned, after)))
                }
                Err(Ended::Stopped) => Ok(None),
                Err(ended) => Err(ended),
            }
        })
    }

    /// The plan from this batch on: the one in place, or the one that is made once enough batches wait.
    async fn next_plan(&self, next: Seq) -> Result<Planned, DaError> {
        let lane = self.lane;
        let mut flush = self.target.is_some();
        loop {
            if let Some(plan) = lane.plan_in_place(next).await? {
                return self.adopt(plan).await;
            }
            flush = match lane.ripeness(next, flush).await? {
                Ripeness::Ripe { .. } => {
                    let permit = self.free_permit().await;
                    // More may wait by now: the fuller a blob, the cheaper is a byte.
                    if let Ripeness::Ripe { end } = lane.ripeness(next, flush).await? {
                        return lane.place_plan(next, end, permit).await;
                    }
                    flush
                }
                Ripeness::Young { last, remaining } => tokio::select! {
                    () = tokio::time::sleep(remaining) => true,
                    grown = lane.shared.journal.wait_beyond(lane.partition, Some(last)) => grown.map(|_| self.target.is_some())?,
                },
                Ripeness::Idle { after } => {
                    lane.shared.journal.wait_beyond(lane.partition, after).await?;
                    self.target.is_some()
                }
            };
        }
    }

    /// A permit for the blob, unless there may be nothing to do for it: what another publisher is at may take minutes.
    async fn adopt(&self, plan: Plan) -> Result<Planned, DaError> {
        let needs_none = self.lane.is_recorded(&plan).await? || self.lane.under_way(&plan).await?.is_some();
        let hand = match needs_none {
            true => None,
            false => Some(Hand { permit: self.free_permit().await, payload: None }),
        };
        Ok(Planned { plan, is_adopted: true, hand })
    }

    /// A permit to begin with another blob. While what was begun gets nowhere, there is none: it would get nowhere either, and later there
    /// will be more to fill it.
    async fn free_permit(&self) -> Permit {
        let mut works = self.works.subscribe();
        loop {
            works.wait_for(|works| *works).await.expect("the sender is this stretch's own, which is borrowed meanwhile");
            let permit = self.lane.permit().await;
            if *works.borrow() {
                return permit;
            }
        }
    }
}

impl Lane {
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

    /// Whether the batches from `next` on make a blob now; any of them do when `flush` is set.
    async fn ripeness(&self, next: Seq, flush: bool) -> Result<Ripeness, DaError> {
        let waiting = self.waiting(next).await?;
        let Some(last) = waiting.last().map(|header| header.seq) else { return Ok(Ripeness::Idle { after: next.previous() }) };
        let now = self.shared.clock.now();
        let batches: Vec<Waiting> = waiting.iter().map(|header| waits_since(header, now)).collect();
        Ok(match bundle(&batches, &self.limits(), flush) {
            Bundle::Wait(remaining) => Ripeness::Young { last, remaining },
            Bundle::Close(count) => Ripeness::Ripe { end: waiting[count - 1].seq },
        })
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

    fn limits(&self) -> Limits {
        let settings = &self.shared.settings;
        let payload_bytes_max = settings.blob_bytes_max.min(self.shared.client.payload_bytes_max());
        Limits { payload_bytes_max, age_max: settings.blob_age_max }
    }

    /// Decides the next blob: our proposal, unless another publisher's plan was there first.
    async fn place_plan(&self, first: Seq, end: Seq, permit: Permit) -> Result<Planned, DaError> {
        let batches = self.read(first, end).await?;
        let payload = Payload::of(&batches);
        drop(batches);
        let ours = Plan {
            deployment: self.shared.journal.genesis().deployment,
            partition: self.partition,
            first_seq: first,
            last_seq: end,
            payload_hash: keccak256(&payload.bytes),
            payload_bytes: payload.bytes.len() as u64,
            planned_at: self.shared.clock.now(),
        };
        self.shared.place_genesis().await?;
        let name = names::plan(self.partition, first);
        Ok(match put_once(&self.shared.store, &name, &ours.encode(), &self.shared.patience).await? {
            Placed::Ours => Planned { plan: ours, is_adopted: false, hand: Some(Hand { permit, payload: Some(payload) }) },
            Placed::Theirs(bytes) => {
                let plan = self.known_plan(first, &bytes)?;
                let payload = (plan.payload_hash == ours.payload_hash).then_some(payload);
                Planned { plan, is_adopted: true, hand: Some(Hand { permit, payload }) }
            }
        })
    }

    /// The batches of a blob.
    pub(super) async fn read(&self, first: Seq, last: Seq) -> Result<Vec<SealedBatch>, DaError> {
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
}

impl Payload {
    pub(super) fn of(batches: &[SealedBatch]) -> Self {
        let first = batches.first().expect("a run has at least one batch");
        Self { bytes: blob::encode(batches), sealed_at: first.header.sealed_at }
    }
}

fn encoded_bytes(header: &Header) -> usize {
    Header::BYTES + header.body_bytes as usize
}

fn waits_since(header: &Header, now: Timestamp) -> Waiting {
    Waiting { bytes: encoded_bytes(header), age: age(header.sealed_at, now) }
}
