//! What is noted of every dispersal that may be billed, before it is asked for and after.
//!
//! A dispersal is not idempotent: who is killed between sending a payload and recording its certificate does not know whether it is
//! stored and paid for. So each attempt at a payload is an object in the store before it is made, and another one says how it ended.

mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use parking_lot::Mutex;
use tributary_schemas::ids::Clock;
use tributary_schemas::units::{Hash, keccak256};

use crate::client::{Certificate, DaClient};
use crate::error::DaError;
use crate::metrics::{BackendMetrics, Metrics};
use crate::names;
use crate::placement::{Placed, put_once, read};
use crate::retry::Patience;
use crate::settings::Settings;

pub use entry::{Attempt, Entry, PublisherId, State};

/// The most attempts at one payload.
const ATTEMPTS_MAX: u32 = 99_999;
/// How many payloads that failed are remembered.
const REMEMBERED_MAX: usize = 1024;
/// How often the store is asked.
const ASKED_MAX: u32 = 3;

/// A [`DaClient`] that keeps an outbox in front of one that is paid.
///
/// Before a payload is sent, what came of earlier attempts at it is read. A certificate that arrived and was not recorded is used,
/// if its payload still comes back, instead of paying again. An attempt of which nobody said how it ended is one whose outcome is
/// unknown: it is marked and counted, and the payload is sent again. It may be another publisher's that is still under way:
/// of two at once each pays, and the certificate that is recorded first counts.
pub struct Outbox {
    behind: Arc<dyn DaClient>,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    publisher: PublisherId,
    metrics: BackendMetrics,
    patience: Patience,
    /// What this process knows of payloads that it could not publish, so that a long row of failures is read and written once.
    known: Mutex<BTreeMap<Hash, Known>>,
}

/// What is known of the attempts at a payload.
#[derive(Clone, Copy)]
enum Known {
    /// This one is ours and noted, and certainly nothing was sent under it.
    Unsent(Attempt),
    /// All before this number are over.
    Next(u32),
}

/// What earlier attempts left.
struct Past {
    /// The number of the next.
    next: u32,
    /// Certificates that arrived.
    certificates: Vec<Certificate>,
}

/// Where a dispersal begins.
enum Begun {
    /// With a certificate of an earlier attempt: there is nothing to do.
    Found(Certificate),
    /// With an attempt that is noted.
    Noted(Attempt),
}

impl Outbox {
    /// An outbox of this publisher in this store.
    pub fn new(
        behind: Arc<dyn DaClient>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        publisher: PublisherId,
        metrics: BackendMetrics,
    ) -> Self {
        let patience = Patience::new(&Settings { attempts_max: ASKED_MAX, ..Settings::default() }, Metrics::default());
        Self { behind, store, clock, publisher, metrics, patience, known: Mutex::default() }
    }

    /// What came of the attempts from this number on. Those of which nobody knows are marked so.
    async fn past(&self, number: u32, payload_hash: Hash, payload: &Bytes) -> Result<Past, DaError> {
        let (mut attempt, mut certificates) = (Attempt { payload_hash, number }, Vec::new());
        while self.entry(&attempt, State::Sent).await?.is_some() {
            let certified = self.entry(&attempt, State::Certified).await?;
            if let Some(certificate) = certified.and_then(|entry| entry.certificate) {
                certificates.push(certificate);
            } else if !self.is_over(&attempt).await? {
                self.mark_unknown(attempt, payload).await?;
            }
            attempt.number += 1;
        }
        Ok(Past { next: attempt.number, certificates })
    }

    async fn is_over(&self, attempt: &Attempt) -> Result<bool, DaError> {
        Ok(self.entry(attempt, State::Failed).await?.is_some() || self.entry(attempt, State::Unknown).await?.is_some())
    }

    async fn mark_unknown(&self, attempt: Attempt, payload: &Bytes) -> Result<(), DaError> {
        let what = "its publisher ended, or was still waiting, when another came to this payload";
        let entry = self.entry_of(attempt, State::Unknown, payload, Some(what.to_owned()));
        // Only one counts it.
        if self.put(&entry).await? == Placed::Ours {
            self.metrics.outcomes_unknown.inc();
            self.metrics.possibly_paid.inc();
            tracing::warn!(payload = %attempt.payload_hash, attempt = attempt.number, "a dispersal whose outcome is unknown");
        }
        Ok(())
    }

    /// A certificate of before that is good: it has not expired, and its payload comes back.
    async fn usable(&self, certificates: Vec<Certificate>) -> Result<Option<Certificate>, DaError> {
        let now = self.clock.now();
        for certificate in certificates {
            if certificate.expires_at.is_some_and(|at| at <= now) || !self.behind.serves(&certificate.backend) {
                continue;
            }
            let retrieved = self.patience.run(|| self.behind.retrieve(&certificate)).await;
            match retrieved {
                Ok(_) => return Ok(Some(certificate)),
                Err(DaError::Reject { .. } | DaError::Corrupt { .. } | DaError::Expired { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Notes that the payload is about to be sent, under the first number that nobody else took meanwhile.
    async fn open(&self, next: u32, payload_hash: Hash, payload: &Bytes) -> Result<Attempt, DaError> {
        for number in next..=ATTEMPTS_MAX {
            let attempt = Attempt { payload_hash, number };
            if self.put(&self.entry_of(attempt, State::Sent, payload, None)).await? == Placed::Ours {
                return Ok(attempt);
            }
        }
        Err(DaError::reject(names::payload(&payload_hash), format!("it was sent {ATTEMPTS_MAX} times, and nothing came of it")))
    }

    /// Notes how it ended. Where that fails the attempt stays open, and counts as unknown to whoever comes next.
    async fn close(&self, attempt: Attempt, payload: &Bytes, answer: &Result<Certificate, DaError>) {
        let mut entry = match answer {
            Ok(_) => self.entry_of(attempt, State::Certified, payload, None),
            Err(error @ DaError::OutcomeUnknown { .. }) => {
                self.entry_of(attempt, State::Unknown, payload, Some(error.to_string()))
            }
            Err(error) => self.entry_of(attempt, State::Failed, payload, Some(error.to_string())),
        };
        entry.certificate = answer.as_ref().ok().cloned();
        if let Err(error) = self.put(&entry).await {
            tracing::warn!(object = %entry.name(), code = error.code(), %error, "how a dispersal ended is not noted");
        }
    }

    /// Remembers what is known now. Whatever finds no room is read from the store again.
    fn remember(&self, payload_hash: Hash, now_known: Known) {
        let mut known = self.known.lock();
        known.remove(&payload_hash);
        if known.len() < REMEMBERED_MAX {
            known.insert(payload_hash, now_known);
        }
    }

    /// A certificate of an earlier attempt, or the attempt to make now, which is noted.
    async fn begin(&self, payload: &Bytes) -> Result<Begun, DaError> {
        let payload_hash = keccak256(payload);
        let known = self.known.lock().get(&payload_hash).copied();
        let number = match known {
            Some(Known::Unsent(attempt)) => return Ok(Begun::Noted(attempt)),
            Some(Known::Next(number)) => number,
            None => 1,
        };
        let past = self.past(number, payload_hash, payload).await?;
        if let Some(certificate) = self.usable(past.certificates).await? {
            self.metrics.certificates_found.inc();
            return Ok(Begun::Found(certificate));
        }
        self.open(past.next, payload_hash, payload).await.map(Begun::Noted)
    }

    fn entry_of(&self, attempt: Attempt, state: State, payload: &Bytes, what: Option<String>) -> Entry {
        let (publisher, at, payload_bytes) = (self.publisher, self.clock.now(), payload.len() as u64);
        Entry { attempt, state, payload_bytes, publisher, at, what, certificate: None }
    }

    async fn put(&self, entry: &Entry) -> Result<Placed, DaError> {
        put_once(&self.store, &entry.name(), &entry.encode(), &self.patience).await
    }

    async fn entry(&self, attempt: &Attempt, state: State) -> Result<Option<Entry>, DaError> {
        let name = names::outbox(attempt, state);
        let bytes = self.patience.run(|| read(&self.store, &name)).await?;
        bytes.map(|bytes| Entry::decode(attempt, state, &bytes)).transpose()
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
        let attempt = match self.begin(&payload).await? {
            Begun::Found(certificate) => return Ok(certificate),
            Begun::Noted(attempt) => attempt,
        };
        // From here on, and should this be cut off, nobody knows what is sent.
        self.known.lock().remove(&attempt.payload_hash);
        let answer = self.behind.disperse(payload.clone()).await;
        if let Err(DaError::Retry { .. } | DaError::Down { billed: false, .. }) = answer {
            self.remember(attempt.payload_hash, Known::Unsent(attempt));
            return answer;
        }
        self.close(attempt, &payload, &answer).await;
        if answer.is_err() {
            self.remember(attempt.payload_hash, Known::Next(attempt.number + 1));
        }
        answer
    }

    async fn retrieve(&self, certificate: &Certificate) -> Result<Bytes, DaError> {
        self.behind.retrieve(certificate).await
    }
}

#[cfg(test)]
mod tests;
