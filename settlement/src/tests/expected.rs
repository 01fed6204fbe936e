//! Roots, rewards and what accounts have earned equal what an independent program computed, on both ways.

use std::collections::BTreeMap;

use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};

use super::stack::{Stack, epoch};
use super::world::{EDGE_WORLDS, Expected, World, edge, flywheel, shuffled_and_repeated, treasury};
use crate::ledger::{Cumulative, Tally};
use crate::replay::State;
use crate::{Settings, SettleRequest};

/// Folds each epoch's events as batch `epoch` of one partition.
fn replay(world: &World) {
    let mut state = State::default();
    let mut earned = Cumulative::default();
    let place = |n: usize| (Partition::new(0).unwrap(), Seq::new(n as u64).unwrap());
    for (i, events) in world.epochs.iter().enumerate() {
        for event in events {
            state.fold(place(i), event);
        }
        let previous: Cut = i.checked_sub(1).map(place).into_iter().collect();
        let due = state.due(&previous);
        let mut rewards: BTreeMap<(String, String), u128> = BTreeMap::new();
        let mut tally = Tally::new(earned.clone(), Default::default());
        for id in due.ids() {
            due.share(id, treasury(), |due, lines| {
                for line in lines {
                    *rewards.entry((line.account.to_string(), line.role.to_string())).or_default() += line.amount;
                }
                tally.add(due, lines)
            })
            .unwrap()
            .unwrap();
        }
        let settled: Vec<Box<str>> = due.ids().iter().map(|id| (*id).into()).collect();
        state.settle(settled);
        let record = crate::EpochRecord {
            number: epoch(i as u64 + 1),
            cut: [place(i)].into_iter().collect(),
            treasury: treasury(),
            rules_version: 1,
            closed_at: tributary_schemas::ids::Timestamp::from_micros(0).unwrap(),
            previous_hash: Default::default(),
            previous_root: Default::default(),
        };
        let closed = tally.close(&record).unwrap();
        earned = closed.cumulative;
        let found = Expected {
            inferences: closed.row.inferences,
            unattributed: closed.row.unattributed,
            fees: closed.row.fees.to_string(),
            accounts: closed.row.accounts,
            cumulative_total: closed.row.cumulative_total.to_string(),
            root: format!("{:#x}", closed.row.root),
            rewards: rewards.into_iter().map(|(key, amount)| (key, amount.to_string())).collect(),
            cumulative: earned.iter().map(|(account, amount)| (account.to_string(), amount.to_string())).collect(),
        };
        assert_eq!(found, world.expected(i + 1), "{} epoch {}", world.name, i + 1);
    }
}

#[test]
fn a_replay_of_the_flywheel_gives_the_expected_rewards_and_roots() {
    replay(&flywheel());
}

#[test]
fn a_replay_of_every_edge_world_gives_the_expected_rewards_and_roots() {
    EDGE_WORLDS.for_each(|number| replay(&edge(number)));
}

/// Settles a world epoch by epoch, checks each against the expected files, and verifies the whole.
async fn settles_as_expected(world: &World, partitions: u32, seed: Option<u64>, settings: Settings) {
    let stack = Stack::new(partitions).await;
    let job = stack.settlement_with(settings);
    for (i, events) in world.epochs.iter().enumerate() {
        match seed {
            Some(seed) => stack.take(&shuffled_and_repeated(events, seed + i as u64)).await,
            None => stack.take(events).await,
        }
        let what = format!("{}, {partitions} partitions, seed {seed:?}, epoch {}", world.name, i + 1);
        let outcome = job.settle(SettleRequest::default()).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(outcome.closed, "{what}");
        assert_eq!(stack.outcome(epoch(i as u64 + 1)).await, world.expected(i + 1), "{what}");
    }
    let again = job.settle(SettleRequest::default()).await.unwrap();
    assert_eq!((again.closed, again.epoch.epoch), (false, 3));
    let report = stack.verify().await.unwrap_or_else(|e| panic!("{}, {partitions} partitions: {e}", world.name));
    assert_eq!(report.epochs.len(), 3);
    assert_eq!(report.lines, u64::try_from(stack.count("reward_lines").await).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flywheel_settles_to_the_expected_tables_and_roots() {
    settles_as_expected(&flywheel(), 4, None, Stack::settings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flywheel_too_large_to_be_kept_in_memory_is_computed_twice_to_the_same_tables() {
    let settings = Settings { window_inferences: 1_000, parts_kept_max: 0, ..Stack::settings() };
    settles_as_expected(&flywheel(), 1, Some(1), settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edge_world_settles_the_same_on_1_4_and_16_partitions_reordered_and_repeated() {
    for number in EDGE_WORLDS {
        let world = edge(number);
        for partitions in [1, 4, 16] {
            settles_as_expected(&world, partitions, Some(u64::from(number * 100 + partitions)), Stack::settings()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_world_settles_the_same_in_windows_of_three_inferences() {
    let settings = Settings { window_inferences: 3, ..Stack::settings() };
    settles_as_expected(&edge(3), 4, None, settings).await;
}
