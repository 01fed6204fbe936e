//! What earlier attempts at a payload left, and what is to be made of those that did not end.

use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::Hash;

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
    /// Whether one that ended may be billed.
    pub(super) billed: bool,
    /// Those that did not end and will not.
    pub(super) dead: Vec<Entry>,
    /// Until when one that did not end is waited for.
    pub(super) awaited: Option<Timestamp>,
}

impl Outbox {
    /// What came of the attempts, of which those that are known to be over are not read again.
    pub(super) async fn past(&self, payload_hash: Hash) -> Result<Past, DaError> {
        let known = self.known.lock().get(&payload_hash).copied();
        let (number, billed) = known.map_or((1, false), |known| (known.number, known.billed));
        let mut past = Past { next: number, billed, ..Past::default() };
        loop {
            let attempt = Attempt { payload_hash, number: past.next };
            let Some(sent) = self.entry(&attempt, State::Sent).await? else { return Ok(past) };
            let certified = self.entry(&attempt, State::Certified).await?;
            if let Some(certificate) = certified.and_then(|entry| entry.certificate) {
                past.certificates.push(certificate);
                past.billed = true;
            } else if self.entry(&attempt, State::Unsent).await?.is_none() {
                match self.is_over(&attempt).await? {
                    true => past.billed = true,
                    false => self.judge(sent, &mut past),
                }
            }
            past.next += 1;
        }
    }

    /// Whether somebody said that it ended without a certificate.
    pub(super) async fn is_over(&self, attempt: &Attempt) -> Result<bool, DaError> {
        Ok(self.entry(attempt, State::Failed).await?.is_some() || self.entry(attempt, State::Unknown).await?.is_some())
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
        let known = self.known.lock().get(&attempt.payload_hash).copied().unwrap_or(Known::next(1, false));
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
