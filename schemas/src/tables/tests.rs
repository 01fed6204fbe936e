#![allow(clippy::unwrap_used)]
use super::*;

/// The specification of the SQL tables, word for word, for those that are stored.
const SPECIFIED: &str = "\
    events | type, key, traceparent, attributes map (one row for every event)
    datanets | datanet_id, owner, name, license
    contributions | contribution_id, datanet_id, contributor, content_hash, bytes, tokens
    reviews | contribution_id, validator, verdict, score
    models | model_id, kind, owner, parents list, datanets list, weights_hash
    model_updates | model_id, version, weights_hash, method, datanets list, steps, previous_version
    policies | scope, contributors_bps, model_bps, node_bps, validators_bps, protocol_bps, upstream_bps
    inferences | inference_id, model_id, node, requester, agent_id, parents list, input_hash, output_hash, \
        input_tokens, output_tokens, latency_us, fee
    attributions | inference_id, method, contribution_id, weight (one row per entry)
    feedback | inference_id, actor, score, label
    agent_actions | agent_id, action, inferences list, chain_id, tx_hash, counterparty, value
    grants | producer_id, roles list, types list, revoked
    reward_lines | epoch, inference_id, account, role, amount, contribution_id, model_id
    rewards | epoch, account, role, amount (amount > 0)
    cumulative | epoch, account, cumulative (every account above 0, in every epoch)
    settled | epoch, inference_id, fee, attributed boolean (one row for each settled inference, fee 0 too)
    epochs | epoch, cut, closed_at, treasury, rules_version, inferences, unattributed, fees, accounts, \
        cumulative_total, root";

const SPECIFIED_EVENT_COLUMNS: [&str; 8] =
    ["event_id", "source", "producer", "event_time", "accepted_at", "_partition", "_seq", "_ordinal"];

#[test]
fn every_table_has_the_specified_columns_in_the_specified_order() {
    let rows: Vec<(&str, &str)> = SPECIFIED.lines().map(|row| row.trim().split_once(" | ").unwrap()).collect();
    assert_eq!(rows.len(), Table::ALL.len());
    for ((name, columns), table) in rows.into_iter().zip(Table::ALL) {
        assert_eq!(name, table.name());
        let columns = columns.split(" (").next().unwrap();
        let mut expected: Vec<&str> = columns.split(", ").map(|column| column.split(' ').next().unwrap()).collect();
        if table.is_event_table() {
            expected.extend(SPECIFIED_EVENT_COLUMNS);
        }
        let schema = table.schema();
        let actual: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(actual, expected, "{name}");
        for column in columns.split(", ") {
            let (column, kind) = column.split_once(' ').unwrap_or((column, ""));
            let actual = schema.field_with_name(column).unwrap().data_type();
            assert_eq!(matches!(actual, DataType::List(_)), kind == "list", "{name}.{column}");
            assert_eq!(matches!(actual, DataType::Map(..)), kind == "map", "{name}.{column}");
            assert!(kind != "boolean" || *actual == DataType::Boolean, "{name}.{column}");
        }
    }
}

#[test]
fn amounts_are_decimals_and_instants_are_microseconds_in_utc() {
    for table in Table::ALL {
        for field in table.schema().fields() {
            let amount = ["fee", "amount", "value", "cumulative", "fees", "cumulative_total"].contains(&field.name().as_str());
            assert_eq!(*field.data_type() == DataType::Decimal128(38, 0), amount, "{}.{}", table.name(), field.name());
            let instant = ["event_time", "accepted_at", "closed_at"].contains(&field.name().as_str());
            let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            assert_eq!(*field.data_type() == utc, instant, "{}.{}", table.name(), field.name());
        }
    }
}

#[test]
fn a_table_is_found_by_its_name_and_every_type_has_its_own() {
    for (i, table) in Table::ALL.iter().enumerate() {
        assert_eq!(*table as usize, i);
        assert_eq!(Table::parse(table.name()), Some(*table));
    }
    assert_eq!(Table::parse("Events"), None);
    let mut of_types: Vec<Table> = EventType::ALL.iter().map(|kind| Table::of(*kind)).collect();
    of_types.dedup();
    assert_eq!(of_types, Table::EVENT_TABLES[1..]);
    assert_eq!(Table::SETTLEMENT_TABLES.last(), Some(&Table::Epochs));
    for table in Table::ALL {
        assert_eq!(table.key_column().is_some(), table.is_event_table());
        assert!(table.key_column().is_none_or(|key| table.schema().field_with_name(key).is_ok()), "{}", table.name());
    }
}
