//! Adding events to the index: from the tail's rows, and from the lake.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use tributary_indexer::Snapshot;
use tributary_schemas::cut::Cut;
use tributary_schemas::event::{EventType, GrantRole};
use tributary_schemas::ids::Seq;
use tributary_schemas::tables::Table;

use super::index::{EventPlace, EventRow, Index, Prepared, Unfit};
use super::{Inner, Places};
use crate::catalog::{CutBounds, Sources, cut_of, lake_rows};
use crate::error::{Code, QueryError};
use crate::tail::{TailRows, places};

/// Events added while readers wait.
const EVENTS_AT_ONCE: usize = 16_384;

impl Places {
    /// Adds what the cut has beyond what is covered, if the tail has all of it. All or nothing.
    pub(super) fn fill_from_tail(&self, cut: &Cut, tail: &TailRows) -> bool {
        let missing = places(&self.inner.read().covered, cut);
        if !missing.iter().all(|place| tail.has(*place)) {
            return false;
        }
        let added = self.write(|inner| {
            // Another question may have been first; what is there already is not added twice.
            for (partition, seq) in missing {
                for rows in tail.at((partition, seq), Table::Events) {
                    let prepared = prepare(&mut inner.index, rows)?;
                    prepared.into_iter().try_for_each(|event| inner.index.add(event))?;
                }
                for rows in tail.at((partition, seq), Table::Grants) {
                    add_grants(&mut inner.index, rows)?;
                }
            }
            inner.covered = inner.covered.join(cut);
            Ok(())
        });
        added.is_ok()
    }

    /// Adds what the lake has beyond what is covered.
    pub(super) async fn fill_from_lake(
        &self,
        sources: &Sources,
        events: &Arc<Snapshot>,
        reader: SessionState,
    ) -> Result<(), QueryError> {
        let _filling = self.filling.lock().await;
        let from = self.inner.read().covered.clone();
        let senseless = || QueryError::new(Code::Corrupt, "table events: a transaction of the indexer makes no sense");
        let to = cut_of(events).ok_or_else(senseless)?;
        if from.is_at_least(&to) {
            return Ok(());
        }
        let context = SessionContext::new_with_state(reader);
        let columns = ["type", "key", "source", "event_id", "producer", "_partition", "_seq", "_ordinal"];
        let (covered, target) = (CutBounds::of(&from), CutBounds::of(&to));
        let rows = lake_rows(Table::Events, events, &covered, &target);
        let rows = context.read_table(Arc::new(rows))?.filter(col("_seq").gt(lit(least_missing(&from, &to) - 1)))?;
        let mut rows = rows.select_columns(&columns)?.execute_stream().await?;
        let mut prepared: Vec<Prepared> = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            let mut of_batch = Vec::new();
            self.write(|inner| {
                of_batch = prepare(&mut inner.index, &batch)?;
                if inner.index.bytes_with(prepared.len() + of_batch.len()) > inner.index.bytes_max() {
                    return Err(Unfit::Full);
                }
                Ok(())
            })
            .map_err(given_up)?;
            prepared.extend(of_batch.into_iter().filter(|event| !event.place().is_in(&covered)));
        }
        prepared.sort_unstable_by_key(Prepared::place);
        let has_grants = prepared.iter().any(Prepared::is_grant);
        for chunk in prepared.chunks(EVENTS_AT_ONCE) {
            self.write(|inner| chunk.iter().try_for_each(|event| inner.index.add(*event))).map_err(given_up)?;
            tokio::task::yield_now().await;
        }
        if has_grants {
            let snapshot = sources.lake.snapshot(Table::Grants).await?;
            let rows = lake_rows(Table::Grants, &snapshot, &covered, &target);
            for batch in context.read_table(Arc::new(rows))?.collect().await? {
                self.write(|inner| add_grants(&mut inner.index, &batch)).map_err(given_up)?;
            }
        }
        self.write(|inner: &mut Inner| {
            inner.covered = inner.covered.join(&to);
            Ok(())
        })
        .map_err(given_up)
    }
}

fn given_up(unfit: Unfit) -> QueryError {
    QueryError::new(Code::Internal, format!("it was given up: {unfit:?}"))
}

/// The least batch that some partition lacks.
fn least_missing(from: &Cut, to: &Cut) -> i64 {
    let missing = to.iter().filter(|(partition, seq)| !from.covers(*partition, *seq));
    missing.map(|(partition, _)| from.get(partition).map_or(Seq::FIRST, Seq::next).as_i64()).min().unwrap_or(0)
}

/// Rows of `events`, hashed. The columns are found by name.
fn prepare(index: &mut Index, rows: &RecordBatch) -> Result<Vec<Prepared>, Unfit> {
    let column = |name| rows.column_by_name(name).ok_or(Unfit::Unreadable);
    let texts = |name| column(name)?.as_string_opt::<i32>().ok_or(Unfit::Unreadable);
    let (types, keys, sources) = (texts("type")?, texts("key")?, texts("source")?);
    let (ids, producers, places) = (texts("event_id")?, texts("producer")?, places_of(rows)?);
    let mut prepared = Vec::with_capacity(rows.num_rows());
    for (row, place) in places.into_iter().enumerate() {
        prepared.push(index.prepare(EventRow {
            event_type: EventType::parse(types.value(row)).ok_or(Unfit::Unreadable)?,
            key: keys.value(row),
            source: sources.value(row),
            event_id: ids.value(row),
            producer: producers.value(row),
            place,
        }));
    }
    Ok(prepared)
}

/// Rows of `grants`.
fn add_grants(index: &mut Index, rows: &RecordBatch) -> Result<(), Unfit> {
    let column = |name| rows.column_by_name(name).ok_or(Unfit::Unreadable);
    let producers = column("producer_id")?.as_string_opt::<i32>().ok_or(Unfit::Unreadable)?;
    let roles = column("roles")?.as_list_opt::<i32>().ok_or(Unfit::Unreadable)?;
    let revoked = column("revoked")?.as_boolean_opt().ok_or(Unfit::Unreadable)?;
    for (row, place) in places_of(rows)?.into_iter().enumerate() {
        let roles = roles.value(row);
        let roles = roles.as_string_opt::<i32>().ok_or(Unfit::Unreadable)?;
        let is_revoked = revoked.is_valid(row) && revoked.value(row);
        let is_tracer = !is_revoked && roles.iter().flatten().any(|role| role == GrantRole::Tracer.as_str());
        index.add_grant(producers.value(row), place, is_tracer);
    }
    Ok(())
}

/// The places of rows of a table of events.
fn places_of(rows: &RecordBatch) -> Result<Vec<EventPlace>, Unfit> {
    let column = |name| rows.column_by_name(name).ok_or(Unfit::Unreadable);
    let partitions = column("_partition")?.as_primitive_opt::<Int32Type>().ok_or(Unfit::Unreadable)?;
    let seqs = column("_seq")?.as_primitive_opt::<Int64Type>().ok_or(Unfit::Unreadable)?;
    let ordinals = column("_ordinal")?.as_primitive_opt::<Int32Type>().ok_or(Unfit::Unreadable)?;
    let place = |row| EventPlace::new(partitions.value(row), seqs.value(row), ordinals.value(row));
    (0..rows.num_rows()).map(|row| place(row).ok_or(Unfit::Unreadable)).collect()
}
