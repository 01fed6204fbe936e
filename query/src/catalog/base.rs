//! The stored tables at one cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionState;
use futures::FutureExt;
use tokio::sync::OnceCell;
use tributary_da::{Blobs, Certificates};
use tributary_indexer::{LakeFile, Snapshot};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::tables::Table;

use super::batches::BatchesTable;
use super::blobs::BlobsTable;
use super::by_place::ByPlace;
use super::cut_filter::{CutBounds, Place};
use super::epochs::ClosedEpochs;
use super::lake_table::{FileSpan, LakeTable, RowTest};
use super::sources::Sources;
use crate::error::{Code, QueryError};
use crate::places::{Places, Rule};
use crate::point::Point;
use crate::tail::TailRows;

const BATCHES: &str = "batches";
const BLOBS: &str = "blobs";
/// The application id under which settlement commits a table's last rows of an epoch; the parts before have this with `/` and
/// a number.
const SETTLEMENT: &str = "settlement";

/// The stored tables as every query of a session sees them. A table's files are listed when it is first named, and stay.
///
/// Order makes the cut complete: the indexer commits `events` last of a round, so what `events` covers at the beginning, all
/// tables listed later hold. Settlement commits `epochs` last, so the epochs listed first are whole in the other tables.
#[derive(Debug)]
pub(crate) struct BaseTables {
    sources: Arc<Sources>,
    point: Point,
    tail: TailRows,
    /// Where it covers the cut.
    places: Option<Arc<Places>>,
    bounds: CutBounds,
    snapshots: BTreeMap<Table, OnceCell<Arc<Snapshot>>>,
    closed: OnceCell<Arc<ClosedEpochs>>,
    blobs: OnceCell<Arc<Blobs>>,
    /// Plans the reading of `epochs`.
    reader: Arc<SessionState>,
}

impl BaseTables {
    /// The tables at a point, of which `events`, the snapshot of that table, and the tail together must hold everything.
    pub(crate) fn new(sources: Arc<Sources>, at: (Point, TailRows), events: Arc<Snapshot>, reader: Arc<SessionState>) -> Self {
        let mut snapshots: BTreeMap<Table, OnceCell<_>> = Table::ALL.iter().map(|table| (*table, OnceCell::new())).collect();
        snapshots.insert(Table::Events, OnceCell::new_with(Some(events)));
        let (point, tail) = at;
        let bounds = CutBounds::of(&point.cut);
        Self { sources, point, tail, places: None, bounds, snapshots, closed: OnceCell::new(), blobs: OnceCell::new(), reader }
    }

    /// The same with an index that covers the cut.
    pub(crate) fn with_places(self, places: Option<Arc<Places>>) -> Self {
        Self { places, ..self }
    }

    /// Whether there is an index that covers the cut.
    pub(crate) fn has_places(&self) -> bool {
        self.places.is_some()
    }

    /// The fresh batches.
    pub(crate) fn tail(&self) -> &TailRows {
        &self.tail
    }

    /// The cut.
    pub(crate) fn cut(&self) -> &Cut {
        &self.point.cut
    }

    /// The last epoch that is seen, 0 for none.
    ///
    /// # Errors
    /// `epoch_not_found` if the point names an epoch that is not closed within its cut.
    pub(crate) async fn last_epoch(&self) -> Result<i64, QueryError> {
        let last = self.closed_epochs().await?.last_within(&self.point.cut);
        match self.point.epoch {
            Some(named) if named > last => {
                Err(QueryError::new(Code::EpochNotFound, format!("epoch {named} is not closed within {}", self.point.cut)))
            }
            named => Ok(named.unwrap_or(last)),
        }
    }

    /// The closed epochs when a table of settlement was first named.
    pub(crate) async fn closed_epochs(&self) -> Result<&Arc<ClosedEpochs>, QueryError> {
        self.closed.get_or_try_init(|| self.read_epochs().boxed()).await
    }

    async fn read_epochs(&self) -> Result<Arc<ClosedEpochs>, QueryError> {
        let snapshot = self.snapshot(Table::Epochs).await?;
        let known = Arc::clone(&self.sources.closed.lock());
        if known.version == snapshot.version {
            return Ok(known);
        }
        let all = LakeTable::new(Table::Epochs.schema(), snapshot.files.iter().map(span_of), RowTest::All);
        let rows = SessionContext::new_with_state(self.reader.as_ref().clone()).read_table(Arc::new(all))?;
        let rows = rows.select_columns(&["epoch", "cut"])?.collect().await?;
        let read = ClosedEpochs::from_rows(snapshot.version, &rows)?;
        let mut known = self.sources.closed.lock();
        if known.version < read.version {
            *known = Arc::clone(&read);
        }
        Ok(read)
    }

    async fn snapshot(&self, table: Table) -> Result<&Arc<Snapshot>, QueryError> {
        let cell = self.snapshots.get(&table).ok_or_else(|| QueryError::new(Code::Internal, "every table has its cell"))?;
        cell.get_or_try_init(|| async { Ok(self.sources.lake.snapshot(table).await?) }).await
    }

    /// The certificates of blobs.
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.sources.certificates
    }

    /// The blobs that hold batches of the cut, when they were first asked for.
    pub(crate) async fn blob_index(&self) -> Result<&Arc<Blobs>, QueryError> {
        let read = || async { Ok::<_, QueryError>(Arc::new(self.sources.certificates.blobs().await?.within(self.cut()))) };
        self.blobs.get_or_try_init(read).await
    }

    /// A table of the lake; with a rule and an index, the rows of it that count.
    pub(crate) async fn lake_table(&self, table: Table, rule: Option<Rule>) -> Result<LakeTable, QueryError> {
        let test = if table.is_event_table() {
            RowTest::InCut(self.bounds.clone())
        } else {
            RowTest::UpToEpoch(self.last_epoch().await?)
        };
        let snapshot = self.snapshot(table).await?;
        let senseless = || format!("table {}: a transaction of the indexer makes no sense", table.name());
        let stored = cut_of(snapshot).ok_or_else(|| QueryError::new(Code::Corrupt, senseless()))?;
        let whole = match &test {
            RowTest::InCut(_) => self.cut().is_at_least(&stored),
            // The rows of a later epoch may be there in part: the job writes them before it closes, and may have died on the way.
            RowTest::UpToEpoch(last) => snapshot.versions_of(SETTLEMENT).all(|epoch| epoch <= *last),
            RowTest::All => true,
        };
        // The seam lies where this table's own transactions say, which may be beyond those of `events`.
        let fresh = if table.is_event_table() { self.tail.of(table, &stored) } else { Vec::new() };
        let files = snapshot.files.iter().map(span_of);
        let rows = LakeTable::new(table.schema(), files, if whole { RowTest::All } else { test }).with_fresh(fresh);
        Ok(match &self.places {
            Some(places) if table.is_event_table() => {
                rows.with_index(ByPlace::new(Arc::clone(places), (table, rule), self.bounds.clone()))
            }
            _ => rows,
        })
    }

    async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, QueryError> {
        Ok(match name {
            BATCHES => {
                let blobs = Arc::clone(self.blob_index().await?);
                Some(Arc::new(BatchesTable::new(Arc::clone(&self.sources.headers), blobs, self.cut().clone())))
            }
            BLOBS => {
                let blobs = Arc::clone(self.blob_index().await?);
                Some(Arc::new(BlobsTable::new(blobs, Arc::clone(&self.sources.certificates))))
            }
            name => match Table::parse(name) {
                Some(table) => Some(Arc::new(self.lake_table(table, None).await?)),
                None => None,
            },
        })
    }
}

#[async_trait]
impl SchemaProvider for BaseTables {
    fn table_names(&self) -> Vec<String> {
        Table::ALL.iter().map(|table| table.name()).chain([BATCHES, BLOBS]).map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.provider(name).await?)
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(name, BATCHES | BLOBS) || Table::parse(name).is_some()
    }
}

/// What the transactions of the indexer say that a table of events holds; `None` if one of them makes no sense.
pub(crate) fn cut_of(snapshot: &Snapshot) -> Option<Cut> {
    let batches = snapshot.txns.iter().filter_map(|(id, last)| Some((id.strip_prefix("p-")?, *last)));
    batches
        .map(|(partition, last)| Some((Partition::new(partition.parse().ok()?)?, Seq::new(u64::try_from(last).ok()?)?)))
        .collect()
}

/// The stored rows of a table of events up to `to`, without the files that hold nothing beyond `from`.
pub(crate) fn lake_rows(table: Table, snapshot: &Snapshot, from: &CutBounds, to: &CutBounds) -> LakeTable {
    let spans = snapshot.files.iter().map(span_of);
    let beyond = spans.filter(|file| {
        let span = file.partitions.zip(file.seqs);
        span.is_none_or(|(partitions, seqs)| from.place(partitions, seqs) != Place::Inside)
    });
    LakeTable::new(table.schema(), beyond, RowTest::InCut(to.clone()))
}

fn span_of(file: &LakeFile) -> FileSpan {
    FileSpan {
        path: file.path.to_string(),
        size: file.size,
        rows: file.rows,
        partitions: file.range.map(|range| (range.partition_min.as_i32(), range.partition_max.as_i32())),
        seqs: file.range.map(|range| (range.seq_min.as_i64(), range.seq_max.as_i64())),
    }
}
