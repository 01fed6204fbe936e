#![allow(clippy::unwrap_used)]

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::sync::Arc;
use tributary_schemas::event::*;
use tributary_schemas::units::{Address, Bps, Hash, Score, Wei};

use super::*;
use crate::tests::support::{attribution, event, journal, name, seal};

fn address(byte: u8) -> Address {
    Address::from_bytes([byte; 20]).unwrap()
}

fn hash_of(byte: u8) -> Hash {
    Hash::repeat_byte(byte)
}

fn count(n: u64) -> Count {
    Count::new(n).unwrap()
}

async fn sealed(events: &[Event]) -> SealedBatch {
    let store = Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
    seal(&*journal(&store, 1).await, 0, events).await
}

async fn rows_in(table: Table, data: EventData) -> RecordBatch {
    let rows = rows_of(&sealed(&[event("e-1", data)]).await).unwrap();
    assert_eq!(rows.len(), 2, "one row in events and one in its own table");
    assert_eq!(rows[0].0, Table::Events);
    assert_eq!((rows[1].0, rows[1].1.num_rows(), rows[1].1.schema()), (table, 1, table.schema()));
    rows[1].1.clone()
}

/// A cell as text, `null`, or a list of texts.
fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    use arrow::datatypes::DataType;
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value(row).to_string(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            format!("{:?}", items.as_string::<i32>().iter().map(Option::unwrap).collect::<Vec<_>>())
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            let pairs = keys.iter().zip(values).map(|(k, v)| format!("{}={}", k.unwrap(), v.unwrap()));
            pairs.collect::<Vec<_>>().join(",")
        }
        other => panic!("{other}"),
    }
}

/// The cells of the table's own columns, without the eight that all have.
fn payload_of(rows: &RecordBatch) -> Vec<String> {
    rows.columns()[..rows.num_columns() - 8].iter().map(|column| cell(column, 0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_one_row_in_events_with_its_attributes_in_order() {
    let mut sent = event("e-1", attribution(1, 1).draft.data);
    sent.draft.traceparent = Some("00-1".to_owned());
    sent.draft.tracestate = Some("b=2".to_owned());
    sent.draft.sig = Some("0xaa".to_owned());
    sent.draft.extensions = [("zone".to_owned(), "eu".to_owned()), ("answer".to_owned(), "42".to_owned())].into();
    let rows = rows_of(&sealed(&[attribution(0, 1), sent]).await).unwrap();
    let (table, events) = &rows[0];
    assert_eq!((*table, events.num_rows()), (Table::Events, 2));
    let second: Vec<String> = events.columns().iter().map(|column| cell(column, 1)).collect();
    assert_eq!(
        second,
        [
            "tributary.attribution.traced.v1",
            "inference-1",
            "00-1",
            "answer=42,sig=0xaa,tracestate=b=2,zone=eu",
            "e-1",
            "/tests",
            "dev",
            "1790812800000001",
            "1790812801000000",
            "0",
            "0",
            "1"
        ]
    );
    assert_eq!(cell(events.column(2), 0), "null");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribution_has_one_row_for_every_entry() {
    let rows = rows_of(&sealed(&[attribution(5, 3)]).await).unwrap();
    let (table, rows) = &rows[1];
    assert_eq!((*table, rows.num_rows()), (Table::Attributions, 3));
    for row in 0..3 {
        let cells: Vec<String> = rows.columns().iter().map(|column| cell(column, row)).collect();
        assert_eq!(cells[..5], ["inference-5", "influence", &format!("contribution-{row}"), &(row + 1).to_string(), "event-5"]);
        assert_eq!(cells[9..], ["0", "0", "0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datanets_contributions_and_reviews_have_their_columns() {
    let data = DatanetRegistered { datanet_id: name("d"), owner: address(1), name: name("n"), license: None };
    let rows = rows_in(Table::Datanets, EventData::DatanetRegistered(data)).await;
    assert_eq!(payload_of(&rows), ["d", &format!("0x{}", "01".repeat(20)), "n", "null"]);
    let data = ContributionSubmitted {
        contribution_id: name("c"),
        datanet_id: name("d"),
        contributor: address(0xab),
        content_hash: hash_of(0xcd),
        bytes: count(Count::MAX),
        tokens: Some(count(0)),
    };
    let rows = rows_in(Table::Contributions, EventData::ContributionSubmitted(data)).await;
    let (contributor, content) = (format!("0x{}", "ab".repeat(20)), format!("0x{}", "cd".repeat(32)));
    assert_eq!(payload_of(&rows), ["c", "d", &contributor, &content, "9007199254740991", "0"]);
    let data = ContributionReviewed {
        contribution_id: name("c"),
        validator: address(2),
        verdict: Verdict::Rejected,
        score: Score::from_millionths(-1_000_000),
    };
    let rows = rows_in(Table::Reviews, EventData::ContributionReviewed(data)).await;
    assert_eq!(payload_of(&rows)[2..], ["rejected", "-1000000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_their_updates_tell_an_absent_list_from_an_empty_one() {
    let data = ModelRegistered {
        model_id: name("m"),
        kind: ModelKind::FineTune,
        owner: address(1),
        parents: vec![name("p1"), name("p2")],
        datanets: Vec::new(),
        weights_hash: None,
    };
    let rows = rows_in(Table::Models, EventData::ModelRegistered(data)).await;
    assert_eq!(payload_of(&rows)[3..], ["[\"p1\", \"p2\"]", "[]", "null"]);
    for (datanets, expected) in [(None, "null"), (Some(vec![]), "[]"), (Some(vec![name("d")]), "[\"d\"]")] {
        let data = ModelUpdated {
            model_id: name("m"),
            version: name("2"),
            weights_hash: hash_of(1),
            method: Some(name("lora")),
            datanets,
            steps: Some(count(3)),
            previous_version: None,
        };
        let rows = rows_in(Table::ModelUpdates, EventData::ModelUpdated(data)).await;
        assert_eq!(payload_of(&rows)[3..], ["lora", expected, "3", "null"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_inferences_have_their_columns() {
    let bps = |n| Bps::new(n).unwrap();
    let split_bps = SplitBps { contributors: bps(1), model: bps(2), node: bps(3), validators: bps(4), protocol: bps(9_990) };
    let data = PolicySet { scope: name("global"), split_bps, upstream_bps: bps(77) };
    let rows = rows_in(Table::Policies, EventData::PolicySet(data)).await;
    assert_eq!(payload_of(&rows), ["global", "1", "2", "3", "4", "9990", "77"]);
    let data = InferenceCompleted {
        inference_id: name("i"),
        model_id: name("m"),
        node: address(1),
        requester: address(2),
        agent_id: None,
        parents: Some(vec![name("i0")]),
        input_hash: hash_of(3),
        output_hash: hash_of(4),
        input_tokens: count(5),
        output_tokens: count(6),
        latency_us: count(7),
        fee: Wei::new(Wei::LIMIT - 1).unwrap(),
    };
    let rows = rows_in(Table::Inferences, EventData::InferenceCompleted(data)).await;
    let cells = payload_of(&rows);
    assert_eq!(cells[4..6], ["null", "[\"i0\"]"]);
    assert_eq!(cells[8..], ["5", "6", "7", "79228162514264337593543950335"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_agent_actions_and_grants_have_their_columns() {
    let data = FeedbackRecorded {
        inference_id: name("i"),
        actor: address(1),
        score: Score::from_millionths(500_000).unwrap(),
        label: Some(name("good")),
    };
    let rows = rows_in(Table::Feedback, EventData::FeedbackRecorded(data)).await;
    assert_eq!(payload_of(&rows)[2..], ["500000", "good"]);
    let data = AgentActed {
        agent_id: name("a"),
        action: name("pay"),
        inferences: vec![name("i")],
        chain_id: Some(count(10)),
        tx_hash: Some(hash_of(9)),
        counterparty: None,
        value: Wei::new(12),
    };
    let rows = rows_in(Table::AgentActions, EventData::AgentActed(data)).await;
    assert_eq!(payload_of(&rows)[2..], ["[\"i\"]", "10", &format!("0x{}", "09".repeat(32)), "null", "12"]);
    let data = GrantSet {
        producer: name("p"),
        roles: vec![GrantRole::Tracer, GrantRole::Governor],
        types: vec![EventType::PolicySet],
        revoked: Some(true),
    };
    let rows = rows_in(Table::Grants, EventData::GrantSet(data)).await;
    assert_eq!(payload_of(&rows), ["p", "[\"tracer\", \"governor\"]", "[\"tributary.policy.set.v1\"]", "true"]);
}
