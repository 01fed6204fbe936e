//! One blob's way from its plan to its recorded certificate, beside those of other blobs.

use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::keccak256;

use super::planning::{Hand, Payload, Planned};
use super::stretch::{Ended, Stretch};
use super::{Lane, Permit, age};
use crate::client::Certificate;
use crate::error::DaError;
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::plan::Plan;
use crate::record::BlobRecord;

/// How one attempt at a blob ended.
enum Round {
    Certified(Certified),
    /// A certificate is recorded already.
    Recorded,
    /// Another publisher is at it, until this time at most.
    UnderWay(Timestamp),
}

/// A certificate, to be recorded.
struct Certified {
    certificate: Certificate,
    /// When the first batch was sealed.
    sealed_at: Timestamp,
    permit: Permit,
}

impl Stretch<'_> {
    /// Archive, payload, read-back, exactly as planned; then, in its turn, the certificate.
    pub(super) async fn deliver(&self, planned: Planned) -> Result<(), Ended> {
        let plan = planned.plan.clone();
        let certified = self.certified(planned).await;
        // Also where another backend or publisher certified it: what was noted and not sent keeps nobody waiting.
        self.lane.shared.dispersal.release(&plan.payload_hash).await;
        match certified? {
            Some(certified) => self.record(&plan, certified).await?,
            None => self.order.reach(plan.first_seq).await?,
        }
        self.lane.shared.metrics.certified_seq.get_or_create(&self.lane.label()).set(plan.last_seq.as_i64());
        self.lane.note(None, false);
        self.order.pass(plan.first_seq, plan.last_seq.next());
        Ok(())
    }

    /// Records the certificate when all before it are.
    async fn record(&self, plan: &Plan, certified: Certified) -> Result<(), Ended> {
        let Certified { certificate, sealed_at, permit } = certified;
        // Whoever has to wait for its turn leaves its place to another blob; so with one place they come one after the other.
        let _permit = self.order.is_at(plan.first_seq).then_some(permit);
        self.order.reach(plan.first_seq).await?;
        let blob = BlobRecord::new(plan, certificate);
        self.persist(|| self.lane.record(plan, &blob)).await?;
        let shared = &self.lane.shared;
        shared.metrics.lag_seconds.observe(age(sealed_at, shared.clock.now()).as_secs_f64());
        shared.metrics.batches.inc_by(plan.last_seq.get() - plan.first_seq.get() + 1);
        Ok(())
    }

    /// Tries until there is a certificate, pausing after failures and while another publisher is at the blob; `None` if one is recorded
    /// already.
    async fn certified(&self, planned: Planned) -> Result<Option<Certified>, Ended> {
        let Planned { plan, mut is_adopted, mut hand } = planned;
        let (mut failures, mut looks) = (0, 0);
        loop {
            let ended = self.round(&plan, hand.take(), &mut is_adopted).await;
            if ended.is_ok() {
                self.works.send_replace(true);
            }
            match ended {
                Ok(Round::Certified(certified)) => return Ok(Some(certified)),
                Ok(Round::Recorded) => return Ok(None),
                Ok(Round::UnderWay(until)) => {
                    self.lane.note_awaited(until);
                    self.pause_for_other(&mut looks).await?;
                }
                Err(Ended::Failed(error)) if self.goes_on_after(&error) => {
                    self.works.send_replace(false);
                    self.pause_after(&error, &mut failures).await?;
                }
                Err(ended) => return Err(ended),
            }
        }
    }

    /// Lets the other publisher go on for a while, the longer the more often it was looked. That ends when its certificate is recorded,
    /// or when it is waited for no longer, which the outbox knows.
    async fn pause_for_other(&self, looks: &mut u32) -> Result<(), Ended> {
        if *looks == 0 {
            self.lane.shared.metrics.waits.inc();
        }
        *looks = looks.saturating_add(1);
        self.pause(*looks).await
    }

    /// One attempt. The permit for it is given back unless it succeeds: whoever pauses holds neither a payload nor a place.
    async fn round(&self, plan: &Plan, hand: Option<Hand>, is_adopted: &mut bool) -> Result<Round, Ended> {
        let lane = self.lane;
        let Hand { permit, payload } = match hand {
            Some(hand) => hand,
            None if lane.is_recorded(plan).await? => return Ok(Round::Recorded),
            None => match lane.under_way(plan).await? {
                Some(until) => return Ok(Round::UnderWay(until)),
                None => Hand { permit: self.until_stopped(lane.permit()).await?, payload: None },
            },
        };
        // Whoever waited for a permit may have been overtaken.
        if lane.is_recorded(plan).await? {
            return Ok(Round::Recorded);
        }
        if std::mem::take(is_adopted) {
            lane.shared.metrics.plans_adopted.inc();
        }
        let payload = self.until_stopped(lane.archived(plan, payload)).await??;
        match lane.shared.dispersal.send(&payload.bytes).await {
            Ok(certificate) => Ok(Round::Certified(Certified { certificate, sealed_at: payload.sealed_at, permit })),
            Err(DaError::UnderWay { until, .. }) => Ok(Round::UnderWay(until)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Lane {
    /// Whether the blob has its recorded certificate, whoever recorded it.
    pub(super) async fn is_recorded(&self, plan: &Plan) -> Result<bool, DaError> {
        let name = names::certificate(self.partition, plan.first_seq);
        let bytes = self.shared.patience.run(|| read(&self.shared.store, &name)).await?;
        bytes.map_or(Ok(false), |bytes| self.check_recorded(plan, &bytes).map(|()| true))
    }

    fn check_recorded(&self, plan: &Plan, bytes: &[u8]) -> Result<(), DaError> {
        match BlobRecord::decode(self.partition, plan.first_seq, bytes)?.carries_out(plan) {
            true => Ok(()),
            false => {
                let name = names::certificate(self.partition, plan.first_seq);
                Err(DaError::corrupt(name, "it certifies something else than its plan"))
            }
        }
    }

    /// The payload of a plan, which lies in the archive now.
    async fn archived(&self, plan: &Plan, payload: Option<Payload>) -> Result<Payload, DaError> {
        let payload = match payload {
            Some(payload) => payload,
            None => Payload::of(&self.read(plan.first_seq, plan.last_seq).await?),
        };
        if keccak256(&payload.bytes) != plan.payload_hash || payload.bytes.len() as u64 != plan.payload_bytes {
            let what = "the batches that it names do not make the payload that it names";
            return Err(DaError::corrupt(names::plan(self.partition, plan.first_seq), what));
        }
        self.shared.dispersal.archive(&payload.bytes).await?;
        Ok(payload)
    }

    /// Records the certificate, unless another one was recorded first, which then counts.
    async fn record(&self, plan: &Plan, blob: &BlobRecord) -> Result<(), DaError> {
        let name = names::certificate(self.partition, plan.first_seq);
        match put_once(&self.shared.store, &name, &blob.encode(), &self.shared.patience).await? {
            Placed::Ours => {
                self.shared.metrics.blobs.inc();
                self.shared.metrics.payload_bytes.inc_by(blob.certificate.payload_bytes);
            }
            Placed::Theirs(bytes) => {
                self.shared.metrics.certificates_lost.inc();
                self.check_recorded(plan, &bytes)?;
            }
        }
        self.shared.certificates.wake();
        Ok(())
    }
}
