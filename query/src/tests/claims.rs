//! Claims, and which epochs a query sees.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use serde_json::json;
use tributary_journal::merkle::{Tree, reward_leaf, verify};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Address, Hash};

use super::fixture::{World, address, inference};
use crate::error::Code;
use crate::{AsOf, claim};

fn wei(amounts: impl IntoIterator<Item = u128>) -> ArrayRef {
    let amounts: Decimal128Array = amounts.into_iter().map(|amount| Some(i128::try_from(amount).unwrap())).collect();
    Arc::new(amounts.with_precision_and_scale(38, 0).unwrap())
}

fn text(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}

fn bigint(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

/// The root over accounts 1 … `accounts`, account n having earned n · epoch.
fn root(epoch: u64, accounts: u64) -> Hash {
    let leaf = |n: u64| reward_leaf(&Address::parse_any_case(&address(n)).unwrap(), u128::from(n * epoch));
    Tree::new((1..=accounts).map(leaf).collect()).root()
}

/// Writes the tables of an epoch, except its row in `epochs`.
async fn write_cumulative(world: &World, epoch: u64, accounts: u64) {
    let number = i64::try_from(epoch).unwrap();
    let columns = vec![
        bigint((0..accounts).map(|_| number)),
        text((1..=accounts).map(address)),
        wei((1..=accounts).map(|n| u128::from(n * epoch))),
    ];
    append(world, Table::Cumulative, columns, number).await;
    let columns =
        vec![bigint([number]), text([format!("i{epoch}")]), wei([5]), Arc::new(BooleanArray::from(vec![true])) as ArrayRef];
    append(world, Table::Settled, columns, number).await;
}

/// Writes the first of several parts of `settled`, as a job does that is stopped before it writes the next.
async fn write_first_part(world: &World, epoch: u64) {
    let number = i64::try_from(epoch).unwrap();
    let columns =
        vec![bigint([number]), text([format!("i{epoch}")]), wei([5]), Arc::new(BooleanArray::from(vec![true])) as ArrayRef];
    let rows = RecordBatch::try_new(Table::Settled.schema(), columns).unwrap();
    world.lake.append(Table::Settled, vec![rows], &[("settlement/0".to_owned(), number)]).await.unwrap();
}

async fn write_epoch(world: &World, epoch: u64, cut: &Cut, root: Hash) {
    let number = i64::try_from(epoch).unwrap();
    let columns: Vec<ArrayRef> = vec![
        bigint([number]),
        text([cut.to_string()]),
        Arc::new(TimestampMicrosecondArray::from(vec![number]).with_timezone("UTC")),
        text([address(0xfee01)]),
        Arc::new(Int32Array::from(vec![1])),
        bigint([1]),
        bigint([0]),
        wei([5]),
        bigint([3]),
        wei([5]),
        text([format!("{root:#x}")]),
    ];
    append(world, Table::Epochs, columns, number).await;
}

async fn append(world: &World, table: Table, columns: Vec<ArrayRef>, epoch: i64) {
    let rows = RecordBatch::try_new(table.schema(), columns).unwrap();
    world.lake.append(table, vec![rows], &[("settlement".to_owned(), epoch)]).await.unwrap();
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn account(n: u64) -> Address {
    Address::parse_any_case(&address(n)).unwrap()
}

#[tokio::test]
async fn every_account_gets_a_proof_that_leads_to_the_root_of_the_epoch() {
    let world = World::new(2).await;
    assert_eq!(claim(&world.engine, account(1), None).await.unwrap_err().code, Code::EpochNotFound);
    let cut = world.add([inference("i1", "dev", "5")]).await;
    write_cumulative(&world, 1, 7).await;
    write_epoch(&world, 1, &cut, root(1, 7)).await;
    for n in 1..=7 {
        let claim = claim(&world.engine, account(n), Some(epoch(1))).await.unwrap();
        assert_eq!((claim.cumulative, claim.root), (u128::from(n), root(1, 7)));
        assert!(verify(claim.root, reward_leaf(&claim.account, claim.cumulative), &claim.proof));
    }
    assert_eq!(claim(&world.engine, account(8), None).await.unwrap_err().code, Code::AccountNotFound);
    assert_eq!(claim(&world.engine, account(1), Some(epoch(2))).await.unwrap_err().code, Code::EpochNotFound);
    assert_eq!(world.engine.metrics().trees_built.get(), 1, "the tree is kept");
    let shown = serde_json::to_value(claim(&world.engine, account(1), None).await.unwrap()).unwrap();
    assert_eq!((&shown["epoch"], &shown["account"], &shown["cumulative"]), (&json!(1), &json!(address(1)), &json!("1")));
    assert_eq!(shown["root"], json!(format!("{:#x}", root(1, 7))));
}

#[tokio::test]
async fn an_epoch_is_seen_once_its_row_in_epochs_is_written_and_from_its_cut_on() {
    let world = World::new(2).await;
    let first = world.add([inference("i1", "dev", "5")]).await;
    write_cumulative(&world, 1, 3).await;
    let seen =
        "SELECT (SELECT count(*) FROM cumulative) AS c, (SELECT count(*) FROM settled) AS s, (SELECT count(*) FROM epochs) AS e";
    assert_eq!(world.ask(seen).await, [json!({"c": 0, "s": 0, "e": 0})], "not closed yet");
    write_epoch(&world, 1, &first, root(1, 3)).await;
    assert_eq!(world.ask(seen).await, [json!({"c": 3, "s": 1, "e": 1})]);
    let second = world.add((0..9).map(|n| inference(&format!("j{n}"), "dev", "5"))).await;
    write_cumulative(&world, 2, 4).await;
    assert_eq!(world.ask(seen).await, [json!({"c": 3, "s": 1, "e": 1})], "the second is half written");
    write_epoch(&world, 2, &second, root(2, 4)).await;
    assert_eq!(world.ask(seen).await, [json!({"c": 7, "s": 2, "e": 2})]);
    assert_eq!(world.ask_at(&first, seen).await, [json!({"c": 3, "s": 1, "e": 1})], "as of the first cut");
    assert_eq!(world.ask_at(&Cut::empty(), seen).await, [json!({"c": 0, "s": 0, "e": 0})]);
    assert_eq!(world.engine.resolve(&AsOf::Epoch(epoch(1))).await.unwrap().cut, first);
    assert_eq!(claim(&world.engine, account(4), None).await.unwrap().epoch, epoch(2));
    assert_eq!(claim(&world.engine, account(4), Some(epoch(1))).await.unwrap_err().code, Code::AccountNotFound);
    let shown = world.ask("SELECT epoch, status, transaction FROM epochs ORDER BY epoch").await;
    assert_eq!(shown[1], json!({"epoch": 2, "status": "CLOSED", "transaction": null}));
}

#[tokio::test]
async fn the_first_part_of_an_epoch_that_was_not_finished_is_not_seen() {
    let world = World::new(1).await;
    let first = world.add([inference("i1", "dev", "5")]).await;
    write_first_part(&world, 1).await;
    let seen = "SELECT count(*) AS s FROM settled";
    assert_eq!(world.ask(seen).await, [json!({"s": 0})], "the first epoch began");
    write_cumulative(&world, 1, 3).await;
    write_epoch(&world, 1, &first, root(1, 3)).await;
    assert_eq!(world.ask(seen).await, [json!({"s": 2})]);
    world.add([inference("i2", "dev", "5")]).await;
    write_first_part(&world, 2).await;
    assert_eq!(world.ask(seen).await, [json!({"s": 2})], "the second epoch began");
}

#[tokio::test]
async fn a_table_that_does_not_give_the_root_is_corrupt() {
    let world = World::new(1).await;
    let cut = world.add([inference("i1", "dev", "5")]).await;
    write_cumulative(&world, 1, 3).await;
    write_epoch(&world, 1, &cut, root(1, 4)).await;
    assert_eq!(claim(&world.engine, account(1), None).await.unwrap_err().code, Code::Corrupt);
}
