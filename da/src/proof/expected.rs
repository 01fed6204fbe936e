//! Which event a proof was asked for. Without that a proof of any other event of the blob looks the same.

use tributary_schemas::event::EventType;
use tributary_schemas::protobuf::Label;

use super::text::printable;
use super::{ProofError, Proved};

/// The event that must be the proved one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its source.
    pub source: String,
    /// Its id.
    pub id: String,
    /// Its type, where several share source and id.
    pub event_type: Option<EventType>,
    /// Its key, where several share source, id and type.
    pub key: Option<String>,
}

impl Proved {
    /// Checks that the proved bytes call themselves what is expected.
    ///
    /// # Errors
    /// [`ProofError::Unnamed`] if they do not say who they are, [`ProofError::OtherEvent`] with the first difference.
    pub fn expect(&self, expected: &Expected) -> Result<(), ProofError> {
        let Label { event_type, source, id, key } = self.label.as_ref().ok_or(ProofError::Unnamed)?;
        let expected_type = expected.event_type.unwrap_or(*event_type).as_str();
        let members = [
            ("source", source.as_str(), expected.source.as_str()),
            ("id", id, &expected.id),
            ("type", event_type.as_str(), expected_type),
            ("key", key, expected.key.as_ref().unwrap_or(key)),
        ];
        match members.into_iter().find(|(_, proved, expected)| proved != expected) {
            None => Ok(()),
            Some((what, proved, expected)) => {
                Err(ProofError::OtherEvent { what, proved: printable(proved), expected: printable(expected) })
            }
        }
    }
}
