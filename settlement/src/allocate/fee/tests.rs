#![allow(clippy::unwrap_used)]

use super::super::{Contribution, Model, Models, Policy, Review};
use super::*;
use tributary_schemas::event::Verdict;

fn account(number: u8) -> Address {
    let mut bytes = [0; 20];
    bytes[19] = number;
    Address::from_bytes(bytes).unwrap()
}

const TREASURY: u8 = 0xfe;
const NODE: u8 = 0x0e;

fn registry(contributions: &[(&str, u8)], reviews: &[(&str, u8, Verdict)]) -> Registry {
    let mut registry = Registry {
        models: Models::new(vec![Model { model_id: "m".into(), owner: account(0x30), parents: vec![] }]),
        ..Registry::default()
    };
    for (id, contributor) in contributions {
        registry.contributions.insert((*id).into(), Contribution { contributor: account(*contributor) });
    }
    for (id, validator, verdict) in reviews {
        registry.reviews.insert((*id).into(), Review { validator: account(*validator), verdict: *verdict });
    }
    registry
}

fn entries<'a>(weights: &[(&'a str, u64)]) -> Vec<Entry<'a>> {
    weights.iter().map(|(id, weight)| Entry { contribution_id: id, weight: Weight::new(*weight).unwrap() }).collect()
}

/// (role, last byte of the account, amount, through)
fn lines(registry: &Registry, model_id: &str, fee: u128, entries: Option<&[Entry<'_>]>) -> Vec<(Role, u8, u128, String)> {
    let due = Due { inference_id: "i", model_id, node: account(NODE), fee: Wei::new(fee).unwrap(), entries };
    let lines = share_fee(registry, account(TREASURY), &due).unwrap();
    let through = |line: &Line<'_>| line.contribution_id.or(line.model_id).unwrap_or_default().to_owned();
    lines.iter().map(|line| (line.role, line.account.bytes()[19], line.amount, through(line))).collect()
}

fn line(role: Role, account: u8, amount: u128, through: &str) -> (Role, u8, u128, String) {
    (role, account, amount, through.to_owned())
}

#[test]
fn a_fee_goes_to_every_role_by_the_default_policy() {
    let registry = registry(&[("a", 1), ("b", 2)], &[("b", 9, Verdict::Accepted)]);
    let entries = entries(&[("a", 1), ("b", 2)]);
    assert_eq!(
        lines(&registry, "m", 10_000, Some(&entries)),
        [
            line(Role::Contributor, 1, 2000, "a"),
            line(Role::Contributor, 2, 4000, "b"),
            line(Role::Model, 0x30, 2000, "m"),
            line(Role::Node, NODE, 1000, ""),
            line(Role::Validator, 9, 500, "b"),
            line(Role::Protocol, TREASURY, 500, ""),
        ]
    );
}

#[test]
fn a_rejected_or_unregistered_contribution_is_not_paid_nor_is_its_validator() {
    let registry =
        registry(&[("a", 1), ("b", 2)], &[("a", 8, Verdict::Accepted), ("b", 9, Verdict::Rejected), ("z", 7, Verdict::Accepted)]);
    let entries = entries(&[("a", 1), ("b", 100), ("z", 100)]);
    assert_eq!(
        lines(&registry, "m", 10_000, Some(&entries)),
        [
            line(Role::Contributor, 1, 6000, "a"),
            line(Role::Model, 0x30, 2000, "m"),
            line(Role::Node, NODE, 1000, ""),
            line(Role::Validator, 8, 500, "a"),
            line(Role::Protocol, TREASURY, 500, ""),
        ]
    );
}

#[test]
fn pools_that_nobody_can_be_paid_from_go_to_the_protocol() {
    let registry = registry(&[], &[]);
    let expected = [line(Role::Node, NODE, 1000, ""), line(Role::Protocol, TREASURY, 9000, "")];
    assert_eq!(lines(&registry, "unregistered", 10_000, None), expected);
    let entries = entries(&[("ghost", 5)]);
    assert_eq!(lines(&registry, "unregistered", 10_000, Some(&entries)), expected);
}

#[test]
fn one_wei_goes_to_the_largest_share_and_zero_to_nobody() {
    let registry = registry(&[("a", 1)], &[]);
    let entries = entries(&[("a", 1)]);
    assert_eq!(lines(&registry, "m", 1, Some(&entries)), [line(Role::Contributor, 1, 1, "a")]);
    assert_eq!(lines(&registry, "m", 0, Some(&entries)), []);
}

#[test]
fn the_models_own_policy_splits_its_fees() {
    let mut registry = registry(&[("a", 1)], &[]);
    registry.policies.set("m", Policy::new([0, 0, 10_000, 0, 0], 0).unwrap());
    let entries = entries(&[("a", 1)]);
    assert_eq!(lines(&registry, "m", 77, Some(&entries)), [line(Role::Node, NODE, 77, "")]);
}

#[test]
fn the_largest_fee_is_shared_to_the_wei() {
    let registry = registry(&[("a", 1), ("b", 2)], &[("a", 8, Verdict::Accepted), ("b", 9, Verdict::Accepted)]);
    let entries = entries(&[("a", (1 << 31) - 1), ("b", 1)]);
    let lines = lines(&registry, "m", Wei::LIMIT - 1, Some(&entries));
    assert_eq!(lines.iter().map(|line| line.2).sum::<u128>(), Wei::LIMIT - 1);
    assert_eq!(lines.len(), 7);
}

#[test]
#[should_panic(expected = "sorted")]
fn unsorted_entries_stop_everything() {
    let registry = registry(&[("a", 1), ("b", 2)], &[]);
    lines(&registry, "m", 1, Some(&entries(&[("b", 1), ("a", 1)])));
}
