//! What earlier attempts at a payload left, and what is to be made of those that did not end.

use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::Hash;

use super::failures::Failures;
use super::{Attempt, Entry, FRESH_PART, Known, Outbox, State, after};
use crate::client::Certificate;
use crate::error::DaError;

/// What earlier attempts left.
#[derive(Default)]
pub(super) struct Past {
    /// The number of the next.
    pub(super) next: u32,
    /// Certificates that arrived.
    pub(super) certificates: Vec<Certificate>,
    /// Those that ended and may be billed.
    pub(super) failures: Failures,
    /// Those that did not end and will not.
    pub(super) dead: Vec<Entry>,
    /// Until when one that did not end is waited for.
    pub(super) awaited: Option<Timestamp>,
}

impl Outbox {
    /// What came of the attempts, of which those that are known to be over are not read again.
    pub(super) async fn past(&self, payload_hash: Hash) -> Result<Past, DaError> {
        let known = self.known.lock().get(&payload_hash).copied();
        let (number, failures) = known.map_or((1, Failures::default()), |known| (known.number, known.failures));
        let mut past = Past { next: number, failures, ..Past::default() };
        loop {
            let attempt = Attempt { payload_hash, number: past.next };
            let Some(sent) = self.entry(&attempt, State::Sent).await? else { return Ok(past) };
            let certified = self.entry(&attempt, State::Certified).await?;
            if let Some(certificate) = certified.and_then(|entry| entry.certificate) {
                past.failures = past.failures.and(1, certificate.certified_at);
                past.certificates.push(certificate);
            } else if self.entry(&attempt, State::Unsent).await?.is_none() {
                match self.ended(&attempt).await? {
                    Some(ended) => past.failures = past.failures.and(1, ended.at),
                    None => self.judge(sent, &mut past),
                }
            }
            past.next += 1;
        }
    }

    /// What somebody said of its end without a certificate.
    pub(super) async fn ended(&self, attempt: &Attempt) -> Result<Option<Entry>, DaError> {
        match self.entry(attempt, State::Failed).await? {
            Some(failed) => Ok(Some(failed)),
            None => self.entry(attempt, State::Unknown).await,
        }
    }

    /// Of an attempt that did not end: whether it will. Our own that nobody here is making died with whoever made it; another's
    /// has its time. A clock that is ahead of ours makes nobody wait longer than that from when we first saw it.
    fn judge(&self, sent: Entry, past: &mut Past) {
        let (attempt, now) = (sent.attempt, self.clock.now());
        let is_ours = sent.publisher == self.settings.publisher;
        if is_ours && !self.in_hand.lock().contains(&attempt) {
            past.dead.push(sent);
            return;
        }
        let known = self.known.lock().get(&attempt.payload_hash).copied().unwrap_or(Known::next(1, Failures::default()));
        let until = match known.awaited {
            Some((number, until)) if number == attempt.number => until,
            _ => {
                let attempt_max = self.settings.attempt_max;
                let until = after(sent.at.min(now), attempt_max + attempt_max / FRESH_PART);
                self.remember(attempt.payload_hash, Known { awaited: Some((attempt.number, until)), ..known });
                until
            }
        };
        if now < until {
            past.awaited = past.awaited.max(Some(until));
        } else {
            past.dead.push(sent);
        }
    }
}
