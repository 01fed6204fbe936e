#![allow(clippy::unwrap_used)]

use super::*;
use tributary_schemas::units::Wei;

fn account(number: u8) -> Address {
    let mut bytes = [0; 20];
    bytes[19] = number;
    Address::from_bytes(bytes).unwrap()
}

fn record() -> EpochRecord {
    EpochRecord {
        number: Epoch::FIRST,
        cut: "0:1".parse().unwrap(),
        treasury: account(0xfe),
        rules_version: 1,
        closed_at: Timestamp::from_micros(0).unwrap(),
        previous_hash: Hash::ZERO,
        previous_root: Hash::ZERO,
    }
}

fn add(tally: &mut Tally, inference_id: &str, fee: u128) {
    let due = Due { inference_id, model_id: "m", node: account(1), fee: Wei::new(fee).unwrap(), entries: None };
    let line = Line { role: Role::Node, account: account(1), amount: fee, contribution_id: None, model_id: None };
    tally.add(&due, &[line]).unwrap();
}

fn refused(tally: Tally) -> (String, Vec<String>, u64) {
    match tally.close(&record()).unwrap_err() {
        SettlementError::Ceiling { limit, inferences, more } => (limit, inferences, more),
        other => panic!("{other}"),
    }
}

#[test]
fn fees_above_the_ceiling_are_named_and_at_it_are_taken() {
    let ceilings = Ceilings { max_fee: Some(100), ..Ceilings::default() };
    let mut tally = Tally::new(Cumulative::default(), ceilings);
    add(&mut tally, "fits", 100);
    assert_eq!(tally.clone().close(&record()).unwrap().row.fees, 100);
    for i in 0..12 {
        add(&mut tally, &format!("dear-{i}"), 101);
    }
    let (limit, inferences, more) = refused(tally);
    assert!(limit.contains("settlement.max_fee of 100 wei"), "{limit}");
    assert_eq!((inferences.len(), inferences[0].as_str(), more), (NAMED_MAX, "dear-0", 2));
}

#[test]
fn an_epoch_above_its_ceiling_names_the_dearest_inferences() {
    let ceilings = Ceilings { max_epoch_total: Some(1000), ..Ceilings::default() };
    let mut tally = Tally::new(Cumulative::default(), ceilings);
    for i in 0..20 {
        add(&mut tally, &format!("i{i}"), 50 + i);
    }
    let (limit, inferences, more) = refused(tally);
    assert!(limit.contains("1190 wei are above"), "{limit}");
    assert_eq!(inferences[0], "i19");
    assert_eq!((inferences.len(), more), (10, 10));
}

#[test]
fn an_account_above_what_tables_hold_stops_the_epoch_and_names_the_inference() {
    let mut before = Cumulative::default();
    before.add(account(1), AMOUNT_MAX - 10).unwrap();
    let mut tally = Tally::new(before, Ceilings::default());
    add(&mut tally, "fits", 10);
    assert_eq!(tally.clone().close(&record()).unwrap().row.cumulative_total, AMOUNT_MAX);
    add(&mut tally, "too-much", 1);
    assert_eq!(refused(tally).1, ["too-much"]);
}

#[test]
fn accounts_that_fit_alone_but_not_together_stop_the_epoch_and_the_dearest_inferences_are_named() {
    let mut before = Cumulative::default();
    before.add(account(2), AMOUNT_MAX).unwrap();
    let mut tally = Tally::new(before, Ceilings::default());
    add(&mut tally, "one", 1);
    add(&mut tally, "two", 2);
    let (limit, inferences, more) = refused(tally);
    assert!(limit.contains("all accounts earned together"), "{limit}");
    assert!(limit.contains("3 wei of it are the fees of this epoch"), "{limit}");
    assert_eq!((inferences, more), (vec!["two".to_owned(), "one".to_owned()], 0));
}

#[test]
fn a_fee_of_zero_is_settled_and_makes_no_account() {
    let mut tally = Tally::new(Cumulative::default(), Ceilings::default());
    let due = Due { inference_id: "i", model_id: "m", node: account(1), fee: Wei::new(0).unwrap(), entries: None };
    tally.add(&due, &[]).unwrap();
    let closed = tally.close(&record()).unwrap();
    assert_eq!((closed.row.inferences, closed.row.unattributed, closed.row.accounts), (1, 1, 0));
    assert_eq!(closed.row.root, Hash::ZERO);
}

#[test]
fn rows_that_differ_say_in_which_column() {
    let row = EpochRow::before_first(Timestamp::from_micros(0).unwrap(), account(1), 1);
    assert_eq!(row.difference(&row), None);
    let other = EpochRow { fees: 7, ..row.clone() };
    assert_eq!(row.difference(&other), Some(("fees", "0".to_owned(), "7".to_owned())));
}

#[test]
fn a_row_as_json_has_the_columns_of_the_table_and_amounts_as_strings() {
    let row = EpochRow { fees: 1 << 80, ..EpochRow::before_first(Timestamp::from_micros(0).unwrap(), account(1), 1) };
    let json = serde_json::to_value(&row).unwrap();
    let columns: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
    let mut expected: Vec<String> =
        tributary_schemas::tables::Table::Epochs.schema().fields().iter().map(|f| f.name().clone()).collect();
    expected.extend(["status".to_owned(), "transaction".to_owned()]);
    assert_eq!(columns.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
    assert_eq!(json["fees"], "1208925819614629174706176");
}
