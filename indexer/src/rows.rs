//! Events into the rows of the tables: a pure function of a sealed batch.

mod columns;
#[cfg(test)]
mod tests;

use arrow::record_batch::RecordBatch;
use tributary_journal::SealedBatch;
use tributary_schemas::event::{AttributionTraced, Draft, Event, EventData};
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Count, Hash, Name};

use crate::error::{Error, Result};
use columns::Rows;

/// The rows of a batch, per table with any, in the order of [`Table::EVENT_TABLES`]. The same batch always gives the same
/// rows in the same order.
///
/// Errors: the batch holds bytes that are no events.
pub fn rows_of(batch: &SealedBatch) -> Result<Vec<(Table, RecordBatch)>> {
    let mut builder = RowsBuilder::new();
    builder.add(batch, |_| true)?;
    builder.finish()
}

/// Where an event is.
#[derive(Clone, Copy)]
struct Place {
    partition: Partition,
    seq: Seq,
    ordinal: i32,
}

/// Rows of all tables of events under construction.
pub(crate) struct RowsBuilder {
    tables: Vec<(Table, Rows)>,
}

impl RowsBuilder {
    pub(crate) fn new() -> Self {
        Self { tables: Table::EVENT_TABLES.iter().map(|table| (*table, Rows::new(*table))).collect() }
    }

    /// Adds the rows of a batch for the tables that are wanted.
    pub(crate) fn add(&mut self, batch: &SealedBatch, wanted: impl Fn(Table) -> bool) -> Result<()> {
        let (partition, seq) = (batch.header.partition, batch.header.seq);
        let failed = |problem: String| Error::Batch { partition, seq, problem };
        let wanted = Table::EVENT_TABLES.iter().copied().filter(|table| wanted(*table)).collect::<Vec<_>>();
        for (ordinal, bytes) in batch.events().map_err(|e| failed(e.to_string()))?.into_iter().enumerate() {
            let event = protobuf::decode(&bytes).map_err(|e| failed(format!("event {ordinal}: {e}")))?;
            let ordinal = i32::try_from(ordinal).map_err(|e| failed(e.to_string()))?;
            self.add_event(&event, Place { partition, seq, ordinal }, &wanted);
        }
        Ok(())
    }

    /// The rows so far, leaving none.
    pub(crate) fn finish(&mut self) -> Result<Vec<(Table, RecordBatch)>> {
        let mut finished = Vec::new();
        for (table, rows) in &mut self.tables {
            let batch = rows.finish().map_err(Error::format("building rows", *table))?;
            finished.extend(batch.map(|batch| (*table, batch)));
        }
        Ok(finished)
    }

    fn table(&mut self, table: Table) -> &mut Rows {
        let found = self.tables.iter_mut().find(|(name, _)| *name == table);
        &mut found.expect("every table of events has its rows here").1
    }

    fn add_event(&mut self, event: &Event, place: Place, wanted: &[Table]) {
        if wanted.contains(&Table::Events) {
            let rows = self.table(Table::Events);
            rows.text(event.draft.event_type().as_str());
            rows.text(event.draft.key());
            rows.optional_text(event.draft.traceparent.as_deref());
            rows.map(attributes(&event.draft));
            end_row(rows, event, place);
        }
        let table = Table::of(event.draft.event_type());
        if wanted.contains(&table) {
            let rows = self.table(table);
            match &event.draft.data {
                EventData::AttributionTraced(data) => add_entries(rows, data, event, place),
                data => {
                    payload(rows, data);
                    end_row(rows, event, place);
                }
            }
        }
    }
}

/// One row for every entry.
fn add_entries(rows: &mut Rows, data: &AttributionTraced, event: &Event, place: Place) {
    for entry in &data.entries {
        rows.text(data.inference_id.as_str());
        rows.text(data.method.as_str());
        rows.text(entry.contribution_id.as_str());
        rows.bigint(entry.weight.get().into());
        end_row(rows, event, place);
    }
}

/// What was sent besides the attributes that have a column: named ones under their CloudEvents names, then extensions, all in
/// ascending order of name.
fn attributes(draft: &Draft) -> Vec<(&str, &str)> {
    let named =
        [("dataschema", &draft.dataschema), ("sig", &draft.sig), ("signer", &draft.signer), ("tracestate", &draft.tracestate)];
    let mut all: Vec<(&str, &str)> = named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    all.extend(draft.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.sort_unstable();
    all
}

/// The columns that every table of events has after its own.
fn end_row(rows: &mut Rows, event: &Event, place: Place) {
    rows.text(&event.draft.id);
    rows.text(&event.draft.source);
    rows.text(event.producer.as_str());
    rows.instant(event.draft.time.micros());
    rows.instant(event.accepted_at.micros());
    rows.int(place.partition.as_i32());
    rows.bigint(place.seq.as_i64());
    rows.int(place.ordinal);
}

fn names(list: &[Name]) -> impl Iterator<Item = &str> {
    list.iter().map(Name::as_str)
}

fn hash(hash: Option<&Hash>) -> Option<&[u8]> {
    hash.map(|h| h.as_slice())
}

fn payload(rows: &mut Rows, data: &EventData) {
    match data {
        EventData::DatanetRegistered(d) => {
            rows.text(d.datanet_id.as_str());
            rows.hex(d.owner.bytes());
            rows.text(d.name.as_str());
            rows.optional_text(d.license.as_ref().map(Name::as_str));
        }
        EventData::ContributionSubmitted(d) => {
            rows.text(d.contribution_id.as_str());
            rows.text(d.datanet_id.as_str());
            rows.hex(d.contributor.bytes());
            rows.hex(d.content_hash.as_slice());
            rows.bigint(d.bytes.as_i64());
            rows.optional_bigint(d.tokens.map(Count::as_i64));
        }
        EventData::ContributionReviewed(d) => {
            rows.text(d.contribution_id.as_str());
            rows.hex(d.validator.bytes());
            rows.text(d.verdict.as_str());
            rows.optional_bigint(d.score.map(|s| s.millionths().into()));
        }
        EventData::FeedbackRecorded(d) => {
            rows.text(d.inference_id.as_str());
            rows.hex(d.actor.bytes());
            rows.bigint(d.score.millionths().into());
            rows.optional_text(d.label.as_ref().map(Name::as_str));
        }
        EventData::AgentActed(d) => {
            rows.text(d.agent_id.as_str());
            rows.text(d.action.as_str());
            rows.list(names(&d.inferences));
            rows.optional_bigint(d.chain_id.map(Count::as_i64));
            rows.optional_hex(hash(d.tx_hash.as_ref()));
            rows.optional_hex(d.counterparty.as_ref().map(|a| a.bytes().as_slice()));
            rows.optional_amount(d.value.map(|w| w.get().cast_signed()));
        }
        EventData::GrantSet(d) => {
            rows.text(d.producer.as_str());
            rows.list(d.roles.iter().map(|r| r.as_str()));
            rows.list(d.types.iter().map(|t| t.as_str()));
            rows.optional_boolean(d.revoked);
        }
        EventData::AttributionTraced(_) => unreachable!("it has a row for every entry"),
        EventData::ModelRegistered(_)
        | EventData::ModelUpdated(_)
        | EventData::PolicySet(_)
        | EventData::InferenceCompleted(_) => {
            payload_of_models(rows, data);
        }
    }
}

fn payload_of_models(rows: &mut Rows, data: &EventData) {
    match data {
        EventData::ModelRegistered(d) => {
            rows.text(d.model_id.as_str());
            rows.text(d.kind.as_str());
            rows.hex(d.owner.bytes());
            rows.list(names(&d.parents));
            rows.list(names(&d.datanets));
            rows.optional_hex(hash(d.weights_hash.as_ref()));
        }
        EventData::ModelUpdated(d) => {
            rows.text(d.model_id.as_str());
            rows.text(d.version.as_str());
            rows.hex(d.weights_hash.as_slice());
            rows.optional_text(d.method.as_ref().map(Name::as_str));
            rows.optional_list(d.datanets.as_deref().map(names));
            rows.optional_bigint(d.steps.map(Count::as_i64));
            rows.optional_text(d.previous_version.as_ref().map(Name::as_str));
        }
        EventData::PolicySet(d) => {
            rows.text(d.scope.as_str());
            let split = &d.split_bps;
            for share in [split.contributors, split.model, split.node, split.validators, split.protocol, d.upstream_bps] {
                rows.int(share.get().into());
            }
        }
        EventData::InferenceCompleted(d) => {
            rows.text(d.inference_id.as_str());
            rows.text(d.model_id.as_str());
            rows.hex(d.node.bytes());
            rows.hex(d.requester.bytes());
            rows.optional_text(d.agent_id.as_ref().map(Name::as_str));
            rows.optional_list(d.parents.as_deref().map(names));
            rows.hex(d.input_hash.as_slice());
            rows.hex(d.output_hash.as_slice());
            for count in [d.input_tokens, d.output_tokens, d.latency_us] {
                rows.bigint(count.as_i64());
            }
            rows.optional_amount(Some(d.fee.get().cast_signed()));
        }
        _ => unreachable!("only what concerns models comes here"),
    }
}
