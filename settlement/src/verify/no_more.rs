//! S3 from the other side: the tables of settlement hold nothing that follows from no record.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_indexer::lake::Snapshot;
use tributary_schemas::ids::Epoch;
use tributary_schemas::tables::Table;

use super::Sources;
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::metrics::Metrics;
use crate::parts::APPLICATION;
use crate::records::EpochRecords;

/// How many rows the epochs that were replayed have in each table of settlement.
#[derive(Debug, Default)]
pub(super) struct RowCounts(BTreeMap<Table, u64>);

impl RowCounts {
    /// Of one table.
    pub(super) fn of(&self, table: Table) -> u64 {
        self.0.get(&table).copied().unwrap_or_default()
    }

    /// Adds rows of one more epoch.
    pub(super) fn add(&mut self, table: Table, rows: usize) {
        *self.0.entry(table).or_default() += rows as u64;
    }
}

/// Compares how many rows each table has with how many the replay gave; every row of a recorded epoch was compared before,
/// so that whatever is too much belongs to no record. `last` is the latest record.
///
/// A job that runs beside the check may close an epoch meanwhile. Its record comes before its rows, so the record is looked
/// for after the rows; if it is there, this check says nothing, and the next one covers that epoch.
pub(super) async fn check(sources: &Sources, last: Option<Epoch>, replayed: &RowCounts) -> Result<(), SettlementError> {
    // `epochs` first: it names the epoch if there is one.
    for table in Table::SETTLEMENT_TABLES.iter().rev() {
        let snapshot = sources.lake.snapshot(*table).await?;
        let Some(what) = surplus(&snapshot, last, replayed.of(*table)) else { continue };
        let records = EpochRecords::new(Arc::clone(&sources.store), Metrics::default());
        if records.get(last.map_or(Epoch::FIRST, Epoch::next)).await?.is_some() {
            return Ok(());
        }
        return Err(Invariant::S3.broken(format!("table {}", table.name()), what));
    }
    Ok(())
}

fn surplus(snapshot: &Snapshot, last: Option<Epoch>, expected: u64) -> Option<String> {
    let written = snapshot.versions_of(APPLICATION).max();
    if let Some(written) = written.filter(|written| *written > last.map_or(0, Epoch::as_i64)) {
        let next = crate::records::path(last.map_or(Epoch::FIRST, Epoch::next));
        return Some(format!("it was written for epoch {written}, but no record closed that epoch: {next} is missing"));
    }
    let found = snapshot.rows();
    (found != expected).then(|| format!("it has {found} rows, the recorded epochs have {expected}"))
}
