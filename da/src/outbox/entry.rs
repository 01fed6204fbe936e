//! What the outbox keeps of one dispersal.

use std::fmt;

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::{Hash, keccak256};

use crate::canonical;
use crate::client::Certificate;
use crate::error::DaError;
use crate::names;
use crate::plan;

/// Which publisher wrote something. No two that run at once have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherId(pub [u8; 16]);

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&canonical::hex(&Bytes::copy_from_slice(&self.0)))
    }
}

impl PublisherId {
    /// That of a publisher with a name that outlives its process: the first half of the keccak-256 of the name.
    pub fn named(name: &str) -> Self {
        let hash = keccak256(name);
        Self(*hash.first_chunk().expect("a hash has 32 bytes, and so a first half"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let bytes = canonical::parse_hex(text)?;
        <[u8; 16]>::try_from(bytes.as_ref()).map(Self).map_err(|_| format!("`{text}` is no publisher: it has not 16 bytes"))
    }
}

/// What an entry says. Each state of an attempt is an object of its own, which is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The payload is about to be sent.
    Sent,
    /// Certainly nothing was sent under this number: the backend was busy, or not there.
    Unsent,
    /// A certificate arrived.
    Certified,
    /// Nobody knows whether the payload is published.
    Unknown,
    /// The backend did not certify it.
    Failed,
}

impl State {
    /// Every state, in the order of docs/da.md.
    pub const ALL: [Self; 5] = [Self::Sent, Self::Unsent, Self::Certified, Self::Unknown, Self::Failed];

    /// Its name, in the record and in the object's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Unsent => "unsent",
            Self::Certified => "certified",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The attempt that an entry is of: the payload, and its number among the attempts at that payload, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// keccak-256 of the payload.
    pub payload_hash: Hash,
    /// Its number.
    pub number: u32,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The attempt.
    pub attempt: Attempt,
    /// What is said of it.
    pub state: State,
    /// The length of the payload.
    pub payload_bytes: u64,
    /// Who says so.
    pub publisher: PublisherId,
    /// When.
    pub at: Timestamp,
    /// Why nothing was sent, or it is unknown or failed.
    pub what: Option<String>,
    /// The certificate, if it is certified.
    pub certificate: Option<Certificate>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    state: String,
    payload_hash: String,
    payload_bytes: u64,
    attempt: u32,
    publisher: String,
    at: String,
    what: Option<String>,
    certificate: Option<CertificateText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateText {
    backend: String,
    commitment: String,
    certified_at: String,
    expires_at: Option<String>,
    certificate: String,
}

impl Entry {
    /// The name of its object.
    pub fn name(&self) -> Path {
        names::outbox(&self.attempt, self.state)
    }

    /// The canonical record.
    pub fn encode(&self) -> Bytes {
        let certificate = self.certificate.as_ref().map(|certificate| CertificateText {
            backend: certificate.backend.clone(),
            commitment: canonical::hex(&certificate.commitment),
            certified_at: certificate.certified_at.to_string(),
            expires_at: certificate.expires_at.map(|at| at.to_string()),
            certificate: canonical::hex(&certificate.bytes),
        });
        canonical::encode(&Text {
            format: plan::FORMAT,
            state: self.state.name().to_owned(),
            payload_hash: self.attempt.payload_hash.to_string(),
            payload_bytes: self.payload_bytes,
            attempt: self.attempt.number,
            publisher: self.publisher.to_string(),
            at: self.at.to_string(),
            what: self.what.clone(),
            certificate,
        })
    }

    /// Reads the entry that lies under the name of this attempt and state. [`DaError::Corrupt`] names it.
    pub fn decode(attempt: &Attempt, state: State, bytes: &[u8]) -> Result<Self, DaError> {
        let parsed = canonical::decode(bytes).and_then(Self::of_text);
        let right = parsed.and_then(|entry| match entry.attempt == *attempt && entry.state == state {
            true => Ok(entry),
            false => Err(format!("it says `{}` of attempt {}", entry.state.name(), entry.attempt.number)),
        });
        right.map_err(|what| DaError::corrupt(names::outbox(attempt, state), what))
    }

    fn of_text(text: Text) -> Result<Self, String> {
        plan::check_format(text.format)?;
        let attempt = Attempt { payload_hash: canonical::parse_canonical_hash(&text.payload_hash)?, number: text.attempt };
        let state = State::named(&text.state).ok_or_else(|| format!("`{}` is no state", text.state))?;
        let certificate = text.certificate.map(|certificate| certificate.read(&attempt, text.payload_bytes)).transpose()?;
        let with_reason = matches!(state, State::Unsent | State::Unknown | State::Failed);
        if certificate.is_some() != (state == State::Certified) || text.what.is_some() != with_reason {
            return Err(format!("it has other members than `{}` has", state.name()));
        }
        Ok(Self {
            attempt,
            state,
            payload_bytes: text.payload_bytes,
            publisher: PublisherId::parse(&text.publisher)?,
            at: plan::parse_time(&text.at)?,
            what: text.what,
            certificate,
        })
    }
}

impl CertificateText {
    fn read(self, attempt: &Attempt, payload_bytes: u64) -> Result<Certificate, String> {
        let certificate = Certificate {
            bytes: canonical::parse_hex(&self.certificate)?,
            content_hash: attempt.payload_hash,
            commitment: canonical::parse_hex(&self.commitment)?,
            backend: self.backend,
            certified_at: plan::parse_time(&self.certified_at)?,
            expires_at: self.expires_at.as_deref().map(plan::parse_time).transpose()?,
            payload_bytes,
        };
        certificate.check_bytes()?;
        Ok(certificate)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::client::DaClient;
    use crate::fixture::World;

    async fn entries() -> Vec<Entry> {
        let certificate = World::new(1).await.client().disperse(Bytes::from_static(b"payload")).await.unwrap();
        let attempt = Attempt { payload_hash: certificate.content_hash, number: 7 };
        let at = Timestamp::from_micros(1_790_000_000_000_000).unwrap();
        let with = |state, what: Option<&str>, certificate| Entry {
            attempt,
            state,
            payload_bytes: 7,
            publisher: PublisherId([1; 16]),
            at,
            what: what.map(str::to_owned),
            certificate,
        };
        vec![
            with(State::Sent, None, None),
            with(State::Unsent, Some("the backend was busy"), None),
            with(State::Certified, None, Some(certificate)),
            with(State::Unknown, Some("it was cut off"), None),
            with(State::Failed, Some("\"no\""), None),
        ]
    }

    #[tokio::test]
    async fn an_entry_of_every_state_is_read_back_and_every_flipped_bit_is_found() {
        for entry in entries().await {
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&entry.attempt, entry.state, &bytes).unwrap(), entry);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Entry::decode(&entry.attempt, entry.state, &flipped).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_name_gives_the_same_publisher_wherever_it_runs() {
        assert_eq!(PublisherId::named("tributary-0").to_string(), &keccak256("tributary-0").to_string()[..34]);
        assert_ne!(PublisherId::named("tributary-0"), PublisherId::named("tributary-1"));
    }

    #[tokio::test]
    async fn an_entry_lies_under_its_own_name_and_has_the_members_of_its_state() {
        for entry in entries().await {
            assert_eq!(names::parse_outbox(&entry.name()), Some((entry.attempt, entry.state)));
            let next = Attempt { number: 8, ..entry.attempt };
            assert!(Entry::decode(&next, entry.state, &entry.encode()).is_err());
            for state in State::ALL.into_iter().filter(|state| *state != entry.state) {
                assert!(Entry::decode(&entry.attempt, state, &entry.encode()).is_err());
                let confused = Entry { state, ..entry.clone() };
                let with_reason = |state| matches!(state, State::Unsent | State::Unknown | State::Failed);
                let alike = with_reason(entry.state) && with_reason(state);
                assert_eq!(Entry::decode(&entry.attempt, state, &confused.encode()).is_ok(), alike, "{state:?}");
            }
        }
    }
}
