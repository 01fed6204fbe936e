//! The tail: batches that are sealed and not yet in the lake, decoded into the rows that the lake will hold.
//!
//! A batch is decoded when a question first reaches it, once for all questions, and forgotten when the lake has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tributary_indexer::rows_of;
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::tables::Table;

use crate::error::{Code, QueryError};

/// Batches read and decoded at the same time.
const READS_AT_ONCE: usize = 4;

pub(crate) type Place = (Partition, Seq);

/// The rows of one batch, per table with any.
#[derive(Debug)]
struct BatchRows(Vec<(Table, RecordBatch)>);

impl BatchRows {
    fn of(&self, table: Table) -> impl Iterator<Item = &RecordBatch> {
        self.0.iter().filter(move |(name, _)| *name == table).map(|(_, rows)| rows)
    }
}

/// The fresh batches of one question, from what was indexed up to its cut. Holding it keeps the rows.
#[derive(Debug, Default)]
pub(crate) struct TailRows(BTreeMap<Place, Arc<BatchRows>>);

impl TailRows {
    /// The rows of a table beyond `after`, in the order of partition and batch.
    pub(crate) fn of(&self, table: Table, after: &Cut) -> Vec<RecordBatch> {
        let beyond = self.0.iter().filter(|((partition, seq), _)| !after.covers(*partition, *seq));
        beyond.flat_map(|(_, rows)| rows.of(table).cloned()).collect()
    }

    /// Whether it has the batch.
    pub(crate) fn has(&self, place: Place) -> bool {
        self.0.contains_key(&place)
    }

    /// The rows of a table in the batch.
    pub(crate) fn at(&self, place: Place, table: Table) -> impl Iterator<Item = &RecordBatch> {
        self.0.get(&place).into_iter().flat_map(move |rows| rows.of(table))
    }
}

/// Decodes fresh batches and keeps those that the lake does not have yet.
pub(crate) struct Tail {
    journal: Arc<Journal>,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<Place, Arc<OnceCell<Arc<BatchRows>>>>,
    /// What was last given as the head: a later head never lies behind it.
    served: Cut,
}

impl Tail {
    /// A tail of at most `bytes_max` bytes of events beyond what is indexed.
    pub(crate) fn new(journal: Arc<Journal>, bytes_max: usize) -> Self {
        Self { journal, bytes_max: bytes_max as u64, state: Mutex::default() }
    }

    /// The head, and the rows of what it includes beyond `indexed`: everything sealed, as far as the bound allows.
    ///
    /// A batch that cannot be read ends its partition's part of the head before it, unless an earlier head included it.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`, if what an earlier head included cannot be read any more.
    pub(crate) async fn at_head(&self, indexed: &Cut) -> Result<(Cut, TailRows), QueryError> {
        let heads = self.journal.heads();
        let mut cut = indexed.join(&self.state.lock().served.meet(&heads));
        let mut rows = self.load(indexed, &cut).await?;
        let mut bytes = self.bytes_between(indexed, &cut).await?;
        for (partition, head) in heads.iter() {
            let mut next = cut.get(partition).map_or(Seq::FIRST, Seq::next);
            while next <= head && bytes <= self.bytes_max {
                let place = (partition, next);
                let Ok(header) = self.journal.header(partition, next).await else { break };
                bytes += u64::from(header.raw_bytes);
                if bytes > self.bytes_max {
                    break;
                }
                let Ok(batch) = self.batch(place).await else { break };
                rows.0.insert(place, batch);
                cut.set(partition, next);
                next = next.next();
            }
        }
        let mut state = self.state.lock();
        state.kept.retain(|(partition, seq), _| !indexed.covers(*partition, *seq));
        state.served = state.served.join(&cut);
        Ok((cut, rows))
    }

    /// The rows of what `cut` includes beyond `indexed`.
    ///
    /// # Errors
    /// `cut_ahead` if not all of it is sealed, or more of it is not indexed yet than the bound allows;
    /// `store_unavailable`, `corrupt`.
    pub(crate) async fn at_cut(&self, indexed: &Cut, cut: &Cut) -> Result<TailRows, QueryError> {
        if indexed.is_at_least(cut) {
            return Ok(TailRows::default());
        }
        let heads = match self.journal.heads() {
            heads if heads.is_at_least(cut) => heads,
            _ => self.journal.refresh_all().await?,
        };
        let ahead = |of: &Cut| QueryError::new(Code::CutAhead, format!("the cut {cut} lies beyond what can be read now, {of}"));
        if !heads.is_at_least(cut) {
            return Err(ahead(&heads));
        }
        if self.bytes_between(indexed, cut).await? > self.bytes_max {
            return Err(ahead(indexed));
        }
        self.load(indexed, cut).await
    }

    async fn bytes_between(&self, from: &Cut, to: &Cut) -> Result<u64, QueryError> {
        let mut bytes = 0;
        for (partition, seq) in places(from, to) {
            bytes += u64::from(self.journal.header(partition, seq).await?.raw_bytes);
            if bytes > self.bytes_max {
                break;
            }
        }
        Ok(bytes)
    }

    async fn load(&self, from: &Cut, to: &Cut) -> Result<TailRows, QueryError> {
        let batches =
            stream::iter(places(from, to)).map(|place| async move { Ok::<_, QueryError>((place, self.batch(place).await?)) });
        Ok(TailRows(batches.buffered(READS_AT_ONCE).try_collect::<BTreeMap<_, _>>().await?))
    }

    /// The rows of a batch; of several questions that reach it at once, one decodes it.
    async fn batch(&self, place: Place) -> Result<Arc<BatchRows>, QueryError> {
        let cell = Arc::clone(self.state.lock().kept.entry(place).or_default());
        let read = || async {
            let batch = self.journal.read(place.0, place.1).await?;
            let decoded = tokio::task::spawn_blocking(move || rows_of(&batch)).await;
            let rows = decoded.map_err(|error| QueryError::new(Code::Internal, error.to_string()))??;
            Ok::<_, QueryError>(Arc::new(BatchRows(rows)))
        };
        cell.get_or_try_init(read).await.map(Arc::clone)
    }
}

/// The batches that `to` includes and `from` does not, in order.
pub(crate) fn places(from: &Cut, to: &Cut) -> Vec<Place> {
    let mut places = Vec::new();
    for (partition, last) in to.iter() {
        let mut next = from.get(partition).map_or(Seq::FIRST, Seq::next);
        while next <= last {
            places.push((partition, next));
            next = next.next();
        }
    }
    places
}
