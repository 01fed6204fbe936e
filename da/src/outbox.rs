//! What is noted of every dispersal that may be billed, before it is asked for and after.
//!
//! A dispersal is not idempotent: who is killed between sending a payload and recording its certificate does not know whether it is
//! stored and paid for. So each attempt at a payload is an object in the store before it is made, and another one says how it ended.
//! It is also how publishers keep out of each other's way: a payload that another one has sent is left to it for a while.

mod entry;
mod failures;
mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use parking_lot::Mutex;
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use crate::bundle::symbols_billed;
use crate::client::{Certificate, DaClient, Wanted};
use crate::error::DaError;
use crate::metrics::{BackendMetrics, Metrics};
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;
use crate::settings::Settings;

pub use entry::{Attempt, Entry, PublisherId, State};
use failures::Failures;
use past::Past;

/// The most attempts at one payload.
const ATTEMPTS_MAX: u32 = 99_999;
/// How many payloads that are not published yet are remembered.
const REMEMBERED_MAX: usize = 1024;
/// How often the store is asked.
const ASKED_MAX: u32 = 3;
/// How often another publisher may come first to the next attempt before the payload is left for later.
const OPENED_MAX: u32 = 8;
/// A certificate whose payload has not come back for so long is given up, and the payload is sent again.
const READ_BACK_MAX: Duration = Duration::from_secs(60 * 60);
/// A note may be as old as this part of the time that an attempt takes when something is sent under it. After that another one is
/// made, so that others know how long to wait for its end.
const FRESH_PART: u32 = 10;

/// Who keeps the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxSettings {
    /// The publisher. Its attempts of before are known by it, and no other publisher's: two that run at once under one name pay
    /// twice.
    pub publisher: PublisherId,
    /// How long an attempt takes at most. One that has not ended a tenth later is taken over.
    pub attempt_max: Duration,
    /// The longest pause between attempts at one payload that may have been paid for and gave nothing.
    pub paid_pause_max: Duration,
}

/// A [`DaClient`] that keeps an outbox in front of one that is paid.
///
/// Before a payload is sent, what came of earlier attempts at it is read. A certificate that arrived and was not recorded is used,
/// if its payload still comes back, instead of paying again. An attempt of another publisher that has not ended is left to it
/// ([`DaError::UnderWay`]) for as long as one takes; after that, and at once if this publisher made it before it died, its outcome
/// is unknown: it is marked and counted, and the payload is sent again.
///
/// What fails and may be paid all the same is not tried as often as it can be: after the first attempts at a payload that gave nothing
/// there is a pause, twice as long each time, of which the store knows too, whoever comes next ([`OutboxSettings::paid_pause_max`]).
///
/// **Promise**: of publishers whose clocks agree, one at a time sends a payload.
pub struct Outbox {
    behind: Arc<dyn DaClient>,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    settings: OutboxSettings,
    metrics: BackendMetrics,
    patience: Patience,
    /// What this process knows of payloads that are not published yet, so that a long row of failures is read and written once.
    known: Mutex<BTreeMap<Hash, Known>>,
    /// The attempts of this process that are being made.
    in_hand: Mutex<BTreeSet<Attempt>>,
}

/// What is known of the attempts at a payload.
#[derive(Clone, Copy)]
struct Known {
    /// All before this number are over, and left nothing that can be used.
    number: u32,
    /// Those of them that may be billed.
    failures: Failures,
    /// Attempt `number` is ours, and certainly nothing was sent under it.
    unsent: Option<Unsent>,
    /// The attempt of this number is another publisher's, for whom we wait until this time.
    awaited: Option<(u32, Timestamp)>,
}

/// An attempt under which nothing was sent.
#[derive(Clone, Copy)]
struct Unsent {
    /// When it was noted.
    at: Timestamp,
    payload_bytes: u64,
}

impl Known {
    /// Nothing of this number and those after it.
    fn next(number: u32, failures: Failures) -> Self {
        Self { number, failures, unsent: None, awaited: None }
    }
}

/// Where a dispersal begins.
enum Begun {
    /// With a certificate of an earlier attempt: there is nothing to do.
    Found(Certificate),
    /// With an attempt that is noted.
    Noted(Noted),
}

/// An attempt that is ours to make.
#[derive(Clone, Copy)]
struct Noted {
    attempt: Attempt,
    at: Timestamp,
    /// Earlier attempts that may be billed too.
    failures: Failures,
}

impl Outbox {
    /// An outbox of this publisher in this store.
    pub fn new(
        behind: Arc<dyn DaClient>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        settings: OutboxSettings,
        metrics: BackendMetrics,
    ) -> Self {
        let patience = Patience::new(&Settings { attempts_max: ASKED_MAX, ..Settings::default() }, Metrics::default());
        let (known, in_hand) = (Mutex::default(), Mutex::default());
        Self { behind, store, clock, settings, metrics, patience, known, in_hand }
    }

    /// A certificate of an earlier attempt, or the attempt to make now, which is noted.
    async fn begin(&self, payload: &Bytes) -> Result<Begun, DaError> {
        let payload_hash = keccak256(payload);
        if let Some(noted) = self.still_unsent(payload_hash, payload).await? {
            return Ok(Begun::Noted(noted));
        }
        for _ in 0..OPENED_MAX {
            let past = self.past(payload_hash).await?;
            if let Some(certificate) = self.usable(&past.certificates).await? {
                self.metrics.certificates_found.inc();
                return Ok(Begun::Found(certificate));
            }
            self.take_over(&past, payload).await?;
            if let Some(until) = past.awaited {
                return Err(DaError::UnderWay { object: format!("payload {payload_hash}"), until });
            }
            let now = self.clock.now();
            let failures = past.failures.and(past.dead.len(), now).seen_at(now);
            self.check_pause(payload_hash, past.next, failures)?;
            let Some(at) = self.open(past.next, payload).await? else { continue };
            let attempt = Attempt { payload_hash, number: past.next };
            if self.is_fresh(at) {
                return Ok(Begun::Noted(Noted { attempt, at, failures }));
            }
            self.begin_anew(attempt, payload, failures).await?;
        }
        Err(DaError::retry(format!("payload {payload_hash}"), "other publishers were faster each time"))
    }

    /// That the pause after what was paid for in vain is over. All attempts before this number are.
    fn check_pause(&self, payload_hash: Hash, number: u32, failures: Failures) -> Result<(), DaError> {
        let now = self.clock.now();
        match failures.pause_until(self.settings.paid_pause_max).filter(|until| now < *until) {
            Some(until) => {
                self.remember(payload_hash, Known::next(number, failures));
                let what = format!("{failures} may have been paid for in vain, so the next one is not made before {until}");
                Err(DaError::retry(format!("payload {payload_hash}"), what))
            }
            None => Ok(()),
        }
    }

    /// The attempt that this process has noted and under which nothing was sent yet, if it can still be made.
    async fn still_unsent(&self, payload_hash: Hash, payload: &Bytes) -> Result<Option<Noted>, DaError> {
        let known = self.known.lock().get(&payload_hash).copied();
        let Some(Known { number, failures, unsent: Some(Unsent { at, .. }), .. }) = known else { return Ok(None) };
        let attempt = Attempt { payload_hash, number };
        // Nobody who takes it over may find it being made, nor we make it beside them.
        if self.ended(&attempt).await?.is_some() {
            self.remember(payload_hash, Known::next(number, failures));
            return Ok(None);
        }
        if self.is_fresh(at) {
            return Ok(Some(Noted { attempt, at, failures }));
        }
        self.begin_anew(attempt, payload, failures).await?;
        Ok(None)
    }

    /// Whether something may still be sent under a note of this time: others count from it how long to wait.
    fn is_fresh(&self, at: Timestamp) -> bool {
        self.clock.now() < after(at, self.settings.attempt_max / FRESH_PART)
    }

    /// Notes that nothing was sent under an attempt whose note is too old by now.
    async fn begin_anew(&self, attempt: Attempt, payload: &Bytes, failures: Failures) -> Result<(), DaError> {
        let what = "the backend or the store was busy or away for so long that the attempt begins anew";
        self.put(&self.entry_of(attempt, State::Unsent, payload.len() as u64, Some(what.to_owned()))).await?;
        self.remember(attempt.payload_hash, Known::next(attempt.number + 1, failures));
        Ok(())
    }

    /// Notes that the payload is about to be sent, and when; `None` if another publisher noted it first.
    async fn open(&self, number: u32, payload: &Bytes) -> Result<Option<Timestamp>, DaError> {
        let payload_hash = keccak256(payload);
        if number > ATTEMPTS_MAX {
            let what = format!("it was sent {ATTEMPTS_MAX} times, and nothing came of it");
            return Err(DaError::reject(format!("payload {payload_hash}"), what));
        }
        let entry = self.entry_of(Attempt { payload_hash, number }, State::Sent, payload.len() as u64, None);
        Ok((self.put(&entry).await? == Placed::Ours).then_some(entry.at))
    }

    /// Marks the attempts of which nobody will say how they ended.
    async fn take_over(&self, past: &Past, payload: &Bytes) -> Result<(), DaError> {
        for dead in &past.dead {
            let what = "its publisher ended, or did not say in time how it ended";
            let entry = self.entry_of(dead.attempt, State::Unknown, payload.len() as u64, Some(what.to_owned()));
            // Only one counts it.
            if self.put(&entry).await? == Placed::Ours {
                self.metrics.outcomes_unknown.inc();
                self.metrics.possibly_paid.inc();
                self.metrics.symbols_possibly_billed.inc_by(symbols_billed(payload.len()));
                self.metrics.taken_over.inc();
                let (payload, attempt) = (dead.attempt.payload_hash, dead.attempt.number);
                tracing::warn!(%payload, attempt, publisher = %dead.publisher, "a dispersal whose outcome is unknown");
            }
        }
        Ok(())
    }

    /// A certificate of before that is good: it has not expired, and its payload comes back. As long as the backend does not answer, it
    /// does not work; but not for ever.
    async fn usable(&self, certificates: &[Certificate]) -> Result<Option<Certificate>, DaError> {
        let now = self.clock.now();
        for certificate in certificates {
            if certificate.expires_at.is_some_and(|at| at <= now) || !self.behind.serves(&certificate.backend) {
                continue;
            }
            let wanted = certificate.wanted();
            let retrieved = self.patience.run(|| self.behind.retrieve(&wanted)).await;
            match retrieved.and_then(|payload| certificate.check_payload(&payload)) {
                Ok(()) => return Ok(Some(certificate.clone())),
                Err(DaError::Retry { object, source }) if now < after(certificate.certified_at, READ_BACK_MAX) => {
                    return Err(DaError::Down { object, billed: false, source });
                }
                Err(DaError::Retry { .. } | DaError::Reject { .. } | DaError::Expired { .. }) => {}
                Err(DaError::Corrupt { .. } | DaError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Notes how it ended. Where that fails the attempt stays open, and counts as unknown to whoever comes next.
    async fn close(&self, attempt: Attempt, payload: &Bytes, answer: &Result<Certificate, DaError>) {
        let (state, what) = match answer {
            Ok(_) => (State::Certified, None),
            Err(error @ DaError::OutcomeUnknown { .. }) => (State::Unknown, Some(error.to_string())),
            Err(error) => (State::Failed, Some(error.to_string())),
        };
        if let Err(error) = answer {
            let (payload, attempt) = (attempt.payload_hash, attempt.number);
            tracing::warn!(%payload, attempt, code = error.code(), %error, "a dispersal that may be paid for gave no certificate");
        }
        let mut entry = self.entry_of(attempt, state, payload.len() as u64, what);
        entry.certificate = answer.as_ref().ok().cloned();
        self.note_end(&entry).await;
    }

    async fn note_end(&self, entry: &Entry) {
        if let Err(error) = self.put(entry).await {
            tracing::warn!(object = %entry.name(), code = error.code(), %error, "how a dispersal ended is not noted");
        }
    }

    /// Remembers what is known now. Of the payload that makes room the store is asked again; so it is one, if there is one, of which
    /// the store knows all: that nothing was sent under an attempt of ours is known here alone.
    fn remember(&self, payload_hash: Hash, now_known: Known) {
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&payload_hash) {
            let in_store = known.iter().find(|(_, known)| known.unsent.is_none()).map(|(payload, _)| *payload);
            match in_store {
                Some(payload) => drop(known.remove(&payload)),
                None => drop(known.pop_first()),
            }
        }
        known.insert(payload_hash, now_known);
    }

    fn entry_of(&self, attempt: Attempt, state: State, payload_bytes: u64, what: Option<String>) -> Entry {
        let (publisher, at) = (self.settings.publisher, self.clock.now());
        Entry { attempt, state, payload_bytes, publisher, at, what, certificate: None }
    }

    async fn put(&self, entry: &Entry) -> Result<Placed, DaError> {
        put_once(&self.store, &entry.name(), &entry.encode(), &self.patience).await
    }

    async fn entry(&self, attempt: &Attempt, state: State) -> Result<Option<Entry>, DaError> {
        let name = crate::names::outbox(attempt, state);
        let bytes = self.patience.run(|| read(&self.store, &name)).await?;
        bytes.map(|bytes| Entry::decode(attempt, state, &bytes)).transpose()
    }
}

/// An attempt while it is being made: until then nobody of this process takes it for one that died.
struct InHand<'a> {
    outbox: &'a Outbox,
    attempt: Attempt,
}

impl<'a> InHand<'a> {
    fn take(outbox: &'a Outbox, attempt: Attempt) -> Self {
        outbox.in_hand.lock().insert(attempt);
        Self { outbox, attempt }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.outbox.in_hand.lock().remove(&self.attempt);
    }
}

#[async_trait]
impl DaClient for Outbox {
    fn backend(&self) -> &'static str {
        self.behind.backend()
    }

    fn serves(&self, backend: &str) -> bool {
        self.behind.serves(backend)
    }

    fn payload_bytes_max(&self) -> usize {
        self.behind.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        let Noted { attempt, at, failures } = match self.begin(&payload).await? {
            Begun::Found(certificate) => return Ok(certificate),
            Begun::Noted(noted) => noted,
        };
        let _in_hand = InHand::take(self, attempt);
        // From here on, and should this be cut off, nobody knows what is sent.
        self.known.lock().remove(&attempt.payload_hash);
        let answer = self.behind.disperse(payload.clone()).await;
        if let Err(DaError::Retry { .. } | DaError::Down { billed: false, .. }) = answer {
            let unsent = Some(Unsent { at, payload_bytes: payload.len() as u64 });
            self.remember(attempt.payload_hash, Known { unsent, ..Known::next(attempt.number, failures) });
            return answer;
        }
        self.metrics.puts_again.inc_by(u64::from(!failures.is_none()));
        self.close(attempt, &payload, &answer).await;
        if answer.is_err() {
            let failures = failures.and(1, self.clock.now());
            self.remember(attempt.payload_hash, Known::next(attempt.number + 1, failures));
        }
        answer
    }

    async fn release(&self, content_hash: &Hash) {
        let known = self.known.lock().get(content_hash).copied();
        let Some(Known { number, failures, unsent: Some(unsent), .. }) = known else { return };
        let attempt = Attempt { payload_hash: *content_hash, number };
        let what = "nothing was sent before its publisher gave it up";
        self.note_end(&self.entry_of(attempt, State::Unsent, unsent.payload_bytes, Some(what.to_owned()))).await;
        self.remember(*content_hash, Known::next(number + 1, failures));
    }

    async fn under_way(&self, content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        if self.known.lock().get(content_hash).is_some_and(|known| known.unsent.is_some()) {
            return Ok(None);
        }
        let past = self.past(*content_hash).await?;
        // A certificate is to be looked at, whatever else is under way.
        Ok(past.awaited.filter(|_| past.certificates.is_empty()))
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        self.behind.retrieve(wanted).await
    }
}

/// So much later.
fn after(at: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_add(micros)).unwrap_or(at)
}

#[cfg(test)]
mod tests;
