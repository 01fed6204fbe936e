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

use super::Places;
use super::index::{EventPlace, EventRow, Hashed, Hashers, Index, Prepared, Unfit};
use crate::catalog::{CutBounds, Sources, cut_of, lake_rows};
use crate::error::{Code, QueryError};
use crate::tail::{Place, TailRows, places};

/// Events added while readers wait: some milliseconds.
const EVENTS_AT_ONCE: usize = 4_096;

impl Places {
    /// Adds what the cut has beyond what is covered, if the tail has all of it.
    ///
    /// What another question adds meanwhile is not added twice, and each adds the events of a partition in their order.
    pub(super) async fn fill_from_tail(&self, cut: &Cut, tail: &TailRows) -> bool {
        let missing = places(&self.inner.read().covered, cut);
        if !missing.iter().all(|place| tail.has(*place)) {
            return false;
        }
        for place in missing {
            if self.add_of_tail(tail, place).await.is_err() {
                return false;
            }
        }
        self.cover(cut).is_ok()
    }

    async fn add_of_tail(&self, tail: &TailRows, place: Place) -> Result<(), Unfit> {
        for rows in tail.at(place, Table::Events) {
            for from in (0..rows.num_rows()).step_by(EVENTS_AT_ONCE) {
                let rows = rows.slice(from, EVENTS_AT_ONCE.min(rows.num_rows() - from));
                let events = self.prepare(&rows)?;
                self.write(|inner| events.into_iter().try_for_each(|event| inner.index.add(event)))?;
                tokio::task::yield_now().await;
            }
        }
        tail.at(place, Table::Grants).try_for_each(|rows| self.write(|inner| add_grants(&mut inner.index, rows)))
    }

    /// Hashes rows of `events`. They are not added yet.
    fn prepare(&self, rows: &RecordBatch) -> Result<Vec<Prepared>, Unfit> {
        let hashed = hashed(&self.hashers, rows);
        let mut prepared = Vec::with_capacity(rows.num_rows());
        self.write(|inner| {
            prepared.extend(hashed?.into_iter().map(|event| inner.index.prepare(event)));
            Ok(())
        })?;
        Ok(prepared)
    }

    /// Says that everything up to the cut was added.
    fn cover(&self, cut: &Cut) -> Result<(), Unfit> {
        self.write(|inner| {
            inner.covered = inner.covered.join(cut);
            Ok(())
        })
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
            let of_batch = self.prepare(&batch).map_err(given_up)?;
            prepared.extend(of_batch.into_iter().filter(|event| !event.place().is_in(&covered)));
            self.write(|inner| inner.index.has_room_for(prepared.len())).map_err(given_up)?;
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
        self.cover(&to).map_err(given_up)
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
fn hashed<'r>(hashers: &Hashers, rows: &'r RecordBatch) -> Result<Vec<Hashed<'r>>, Unfit> {
    let column = |name| rows.column_by_name(name).ok_or(Unfit::Unreadable);
    let texts = |name| column(name)?.as_string_opt::<i32>().ok_or(Unfit::Unreadable);
    let (types, keys, sources) = (texts("type")?, texts("key")?, texts("source")?);
    let (ids, producers, places) = (texts("event_id")?, texts("producer")?, places_of(rows)?);
    let hash = |(row, place)| {
        Ok(hashers.event(EventRow {
            event_type: EventType::parse(types.value(row)).ok_or(Unfit::Unreadable)?,
            key: keys.value(row),
            source: sources.value(row),
            event_id: ids.value(row),
            producer: producers.value(row),
            place,
        }))
    };
    places.into_iter().enumerate().map(hash).collect()
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
