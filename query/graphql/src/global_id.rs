//! Global ids: what `node` finds things by. Opaque to clients: base64url of the type's name and the thing's own id.

use async_graphql::ID;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tributary_schemas::ids::{Epoch, Partition, Seq};
use tributary_schemas::units::Address;

/// Where an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its partition.
    pub partition: Partition,
    /// Its batch.
    pub seq: Seq,
    /// Its place in the batch, from 0.
    pub ordinal: u32,
}

/// A thing that has a global id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GlobalId {
    /// By the id that its events name it with.
    Datanet(String),
    /// The same.
    Contribution(String),
    /// The same.
    Model(String),
    /// The same.
    Inference(String),
    /// The same.
    Agent(String),
    /// By its address.
    Account(Address),
    /// By its number.
    Epoch(Epoch),
    /// By its place in the journal.
    Event(Place),
    /// By its place in the journal.
    Batch(Partition, Seq),
    /// By its first batch.
    Blob(Partition, Seq),
}

impl GlobalId {
    /// The text.
    pub fn encode(&self) -> ID {
        let text = match self {
            Self::Datanet(id) => format!("Datanet:{id}"),
            Self::Contribution(id) => format!("Contribution:{id}"),
            Self::Model(id) => format!("Model:{id}"),
            Self::Inference(id) => format!("Inference:{id}"),
            Self::Agent(id) => format!("Agent:{id}"),
            Self::Account(address) => format!("Account:{address}"),
            Self::Epoch(number) => format!("Epoch:{number}"),
            Self::Event(Place { partition, seq, ordinal }) => format!("Event:{partition}:{seq}:{ordinal}"),
            Self::Batch(partition, seq) => format!("Batch:{partition}:{seq}"),
            Self::Blob(partition, seq) => format!("Blob:{partition}:{seq}"),
        };
        ID(URL_SAFE_NO_PAD.encode(text))
    }

    /// `None` for a text that is no id: nothing has it.
    pub fn decode(id: &ID) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_bytes()).ok()?).ok()?;
        let (kind, id) = text.split_once(':')?;
        let batch = |text: &str| {
            let (partition, seq) = text.split_once(':')?;
            Some((Partition::new(partition.parse().ok()?)?, Seq::new(seq.parse().ok()?)?))
        };
        Some(match kind {
            "Datanet" => Self::Datanet(id.to_owned()),
            "Contribution" => Self::Contribution(id.to_owned()),
            "Model" => Self::Model(id.to_owned()),
            "Inference" => Self::Inference(id.to_owned()),
            "Agent" => Self::Agent(id.to_owned()),
            "Account" => Self::Account(Address::parse_any_case(id).ok()?),
            "Epoch" => Self::Epoch(Epoch::new(id.parse().ok()?)?),
            "Event" => {
                let (place, ordinal) = id.rsplit_once(':')?;
                let (partition, seq) = batch(place)?;
                Self::Event(Place { partition, seq, ordinal: ordinal.parse().ok()? })
            }
            "Batch" => batch(id).map(|(partition, seq)| Self::Batch(partition, seq))?,
            "Blob" => batch(id).map(|(partition, seq)| Self::Blob(partition, seq))?,
            _ => return None,
        })
    }
}
