//! How final a thing is.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::Enum;
use tributary_schemas::event::EventType;

use super::super::global_id::Place;
use super::super::reader::Reader;
use super::super::rows::rows;
use super::super::waves::Load;
use super::event::Event;
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};

/// AVAILABLE: its blob has a recorded certificate. SETTLED: a closed epoch shared out its fee (inferences) or covers it (others).
/// Whether that epoch's root is on chain is EpochStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Finality {
    /// In a sealed batch
    Sealed,
    /// Its blob has a recorded certificate
    Available,
    /// Shared out or covered by a closed epoch
    Settled,
}

/// Whether an inference is settled, by its id.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SettledOf(String);

impl Load for SettledOf {
    type Value = ();

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, ()>, QueryError> {
        let mut query = SqlText::new("SELECT r.inference_id FROM settled r WHERE r.inference_id IN (");
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(")");
        let found = reader.ask(query).await?;
        rows(&found).map(|row| Ok((Self(row.text("inference_id")?), ()))).collect()
    }
}

/// The finality of an inference whose event is at a place.
pub(crate) async fn finality_of_inference(reader: &Arc<Reader>, id: &str, place: Place) -> Result<Finality, QueryError> {
    reader.note_moving();
    match reader.get(SettledOf(id.to_owned())).await? {
        Some(()) => Ok(Finality::Settled),
        None => unsettled(reader, place).await,
    }
}

/// The finality of any event.
pub(crate) async fn finality_of_event(event: &Event) -> Result<Finality, QueryError> {
    if event.event_type == EventType::InferenceCompleted {
        return finality_of_inference(&event.reader, &event.key, event.place).await;
    }
    event.reader.note_moving();
    if event.reader.session().is_settled(event.place.partition, event.place.seq).await? {
        return Ok(Finality::Settled);
    }
    unsettled(&event.reader, event.place).await
}

async fn unsettled(reader: &Reader, place: Place) -> Result<Finality, QueryError> {
    let blob = reader.session().blob_of(place.partition, place.seq).await?;
    Ok(if blob.is_some() { Finality::Available } else { Finality::Sealed })
}
