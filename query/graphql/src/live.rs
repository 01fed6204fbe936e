//! Live events: the journal, followed batch by batch from a position that a cursor names.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt, stream};
use tributary_journal::Journal;
use tributary_schemas::event::EventType;
use tributary_schemas::ids::{Partition, Seq};

use super::batches::OpenBatch;
use super::reader::{Reader, Request};
use super::types::event::Event;
use tributary_query::error::{Code, QueryError};

/// The most types and keys of one subscription.
const NAMES_MAX: usize = 1000;

/// The cursor before everything.
const START: &str = "start";

/// What comes next of each partition: a batch, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position(BTreeMap<Partition, (Seq, u32)>);

impl Position {
    /// Behind everything sealed now.
    pub(crate) fn at_head(journal: &Journal) -> Self {
        let next = |partition| journal.head(partition).map_or(Seq::FIRST, |header| header.seq.next());
        Self(journal.partitions().map(|partition| (partition, (next(partition), 0))).collect())
    }

    pub(crate) fn encode(&self) -> String {
        let parts = self.0.iter().map(|(partition, (seq, ordinal))| format!("{partition}:{seq}:{ordinal}"));
        URL_SAFE_NO_PAD.encode(format!("live1|{}", parts.collect::<Vec<_>>().join(",")))
    }

    /// Reads a cursor of a live event, or [`START`].
    ///
    /// # Errors
    /// `bad_cursor`; so is one that lies beyond what is sealed, for it was given by another deployment.
    pub(crate) fn decode(text: &str, journal: &Journal) -> Result<Self, QueryError> {
        let bad = || QueryError::new(Code::BadCursor, "`after` is no cursor of a live event of this deployment");
        if text == START {
            return Ok(Self(journal.partitions().map(|partition| (partition, (Seq::FIRST, 0))).collect()));
        }
        let text = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
        let parts = text.strip_prefix("live1|").ok_or_else(bad)?.split(',').map(|part| {
            let mut numbers = part.split(':');
            let partition = numbers.next()?.parse().ok().and_then(Partition::new)?;
            let seq = numbers.next()?.parse().ok().and_then(Seq::new)?;
            let ordinal = numbers.next()?.parse().ok()?;
            numbers.next().is_none().then_some((partition, (seq, ordinal)))
        });
        let position: BTreeMap<_, _> = parts.collect::<Option<_>>().ok_or_else(bad)?;
        let sealed = |(partition, (seq, _)): (&Partition, &(Seq, u32))| {
            seq.previous().is_none_or(|last| journal.head(*partition).is_some_and(|head| head.seq >= last))
        };
        let ours = position.keys().copied().eq(journal.partitions()) && position.iter().all(sealed);
        if ours { Ok(Self(position)) } else { Err(bad()) }
    }
}

/// Which events are wanted.
pub(crate) struct Wanted {
    types: Option<HashSet<EventType>>,
    keys: Option<HashSet<String>>,
}

impl Wanted {
    /// # Errors
    /// `bad_filter` for a type that does not exist, or too many names.
    pub(crate) fn parse(types: Option<Vec<String>>, keys: Option<Vec<String>>) -> Result<Self, QueryError> {
        let bad = |message: String| QueryError::new(Code::BadFilter, message);
        if types.as_ref().map_or(0, Vec::len).max(keys.as_ref().map_or(0, Vec::len)) > NAMES_MAX {
            return Err(bad(format!("at most {NAMES_MAX} types and {NAMES_MAX} keys are taken")));
        }
        let parse = |name: String| EventType::parse(&name).ok_or_else(|| bad(format!("`{name}` is no type of event")));
        let types = types.map(|types| types.into_iter().map(parse).collect::<Result<_, _>>()).transpose()?;
        Ok(Self { types, keys: keys.map(|keys| keys.into_iter().collect()) })
    }

    fn takes(&self, event: &Event) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&event.event_type))
            && self.keys.as_ref().is_none_or(|keys| keys.contains(&event.key))
    }
}

/// Follows the journal. It holds one batch at a time, however far behind its reader is.
pub(crate) struct Follower {
    request: Arc<Request>,
    wanted: Wanted,
    position: Position,
    open: Option<(Arc<Reader>, Arc<OpenBatch>)>,
    /// The partition that was read last; the next in turn comes first.
    last: Option<Partition>,
}

impl Follower {
    pub(crate) fn new(request: Arc<Request>, wanted: Wanted, position: Position) -> Self {
        Self { request, wanted, position, open: None, last: None }
    }

    /// The events from the position on, each with the position behind it.
    pub(crate) fn events(self) -> impl Stream<Item = Result<(Event, String), QueryError>> {
        stream::unfold(Some(self), |follower| async move {
            let mut follower = follower?;
            match follower.next().await {
                Ok(event) => Some((Ok(event), Some(follower))),
                // After a failure the client resumes from the last cursor that it has.
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<(Event, String), QueryError> {
        loop {
            if let Some((reader, batch)) = self.open.clone() {
                match self.next_in(&reader, &batch)? {
                    Some(event) => return Ok((event, self.position.encode())),
                    None => self.open = None,
                }
            }
            let (partition, seq) = self.next_batch().await?;
            let batch = self.request.batches().open(partition, seq).await?;
            self.last = Some(partition);
            self.open = Some((self.request.fresh().await?, batch));
        }
    }

    /// The next wanted event of the open batch; moves the position past what is not wanted, and past the batch at its end.
    fn next_in(&mut self, reader: &Arc<Reader>, batch: &OpenBatch) -> Result<Option<Event>, QueryError> {
        reader.begin_answer();
        let (partition, seq) = (batch.header.partition, batch.header.seq);
        let missing = || QueryError::new(Code::Internal, "a position names every partition");
        let slot = self.position.0.get_mut(&partition).ok_or_else(missing)?;
        // Behind its last event the position is already in the next batch.
        while slot.0 == seq && slot.1 < batch.header.events {
            let event = Event::of_batch(reader, batch, slot.1)?;
            slot.1 += 1;
            if slot.1 == batch.header.events {
                *slot = (seq.next(), 0);
            }
            if self.wanted.takes(&event) {
                return Ok(Some(event));
            }
        }
        *slot = (seq.next(), 0);
        Ok(None)
    }

    /// Waits for a batch to read: of the partitions that have one, that which was read longest ago.
    async fn next_batch(&self) -> Result<(Partition, Seq), QueryError> {
        let journal = self.request.engine().journal();
        let behind = self.position.0.iter().filter(|(partition, _)| Some(**partition) > self.last);
        let before = self.position.0.iter().filter(|(partition, _)| Some(**partition) <= self.last);
        let mut in_turn = behind.chain(before).map(|(partition, (seq, _))| (*partition, *seq));
        let sealed = |(partition, seq): &(Partition, Seq)| journal.head(*partition).is_some_and(|head| head.seq >= *seq);
        if let Some(ready) = in_turn.find(sealed) {
            return Ok(ready);
        }
        let wait = |(partition, (seq, _)): (&Partition, &(Seq, u32))| {
            let (partition, seq) = (*partition, *seq);
            async move { journal.wait_beyond(partition, seq.previous()).await.map(|_| (partition, seq)) }
        };
        let mut waits: FuturesUnordered<_> = self.position.0.iter().map(wait).collect();
        match waits.next().await {
            Some(ready) => Ok(ready?),
            None => Err(QueryError::new(Code::Internal, "a deployment has partitions")),
        }
    }
}
