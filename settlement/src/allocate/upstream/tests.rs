#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn owner(number: usize) -> Address {
    let mut bytes = [0; 20];
    bytes[12..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    Address::from_bytes(bytes).unwrap()
}

fn models(edges: &[(&str, &[&str])]) -> Models {
    let model = |(number, (id, parents)): (usize, &(&str, &[&str]))| Model {
        model_id: (*id).into(),
        owner: owner(number),
        parents: parents.iter().map(|p| (*p).into()).collect(),
    };
    Models::new(edges.iter().enumerate().map(model).collect())
}

fn shares(models: &Models, served: &str, pool: u128, upstream_bps: u16) -> Vec<(String, u128)> {
    let shares = share_upstream(models, models.find(served).unwrap(), pool, upstream_bps).unwrap();
    shares.into_iter().map(|s| (models.model_id(s.model).to_owned(), s.amount)).collect()
}

fn of(pairs: &[(&str, u128)]) -> Vec<(String, u128)> {
    pairs.iter().map(|(id, amount)| ((*id).to_owned(), *amount)).collect()
}

#[test]
fn a_base_model_keeps_all() {
    assert_eq!(shares(&models(&[("a", &[])]), "a", 1000, 3000), of(&[("a", 1000)]));
}

#[test]
fn unregistered_and_repeated_parents_do_not_count() {
    let models = models(&[("a", &["ghost", "b", "b"]), ("b", &[])]);
    assert_eq!(shares(&models, "a", 1000, 3000), of(&[("a", 700), ("b", 300)]));
}

#[test]
fn what_reaches_a_model_from_several_children_is_added_up() {
    let models = models(&[("s", &["x", "y"]), ("x", &["base"]), ("y", &["base"]), ("base", &[])]);
    assert_eq!(shares(&models, "s", 1000, 5000), of(&[("s", 500), ("x", 125), ("y", 125), ("base", 250)]));
}

#[test]
fn a_loop_pays_each_model_once() {
    let models = models(&[("a", &["b"]), ("b", &["c"]), ("c", &["a", "c"])]);
    assert_eq!(shares(&models, "a", 1000, 5000), of(&[("a", 500), ("b", 250), ("c", 250)]));
}

#[test]
fn a_parent_on_the_same_level_was_reached_and_gets_nothing_more() {
    let models = models(&[("s", &["a", "b"]), ("a", &["b", "z"]), ("b", &[]), ("z", &[])]);
    assert_eq!(shares(&models, "s", 1000, 5000), of(&[("s", 500), ("a", 125), ("b", 250), ("z", 125)]));
}

#[test]
fn a_model_that_would_receive_nothing_is_reached_but_its_parents_are_not_looked_at() {
    // 1 wei upstream over two parents: x gets it, y counts as reached with 0 and so is not paid as x's parent either.
    let models = models(&[("s", &["x", "y"]), ("x", &["y", "z"]), ("y", &["w"]), ("z", &[]), ("w", &[])]);
    assert_eq!(shares(&models, "s", 1, 10_000), of(&[("s", 0), ("x", 0), ("z", 1)]));
}

#[test]
fn the_sixteenth_level_passes_nothing_on() {
    let ids: Vec<String> = (0..20).map(|i| format!("m{i:02}")).collect();
    let chain = |i: usize| Model {
        model_id: ids[i].as_str().into(),
        owner: owner(i),
        parents: ids.get(i + 1).map(|p| p.as_str().into()).into_iter().collect(),
    };
    let models = Models::new((0..20).map(chain).collect());
    let shares = shares(&models, "m00", 1 << 20, 5000);
    assert_eq!(shares.len(), 16);
    assert_eq!(shares[14].1, 1 << 5);
    assert_eq!(shares[15], ("m15".to_owned(), 1 << 5));
}

/// A served model, `first` parents, each with `each` parents of its own.
fn fan(first: usize, each: usize) -> Models {
    let child = |i: usize| format!("p{i:03}");
    let grand = |i: usize, j: usize| format!("q{i:03}-{j:03}");
    let mut all = vec![Model { model_id: "a".into(), owner: owner(0), parents: (0..first).map(|i| child(i).into()).collect() }];
    for i in 0..first {
        let parents = (0..each).map(|j| grand(i, j).into()).collect();
        all.push(Model { model_id: child(i).into(), owner: owner(i), parents });
        all.extend((0..each).map(|j| Model { model_id: grand(i, j).into(), owner: owner(j), parents: vec![] }));
    }
    Models::new(all)
}

#[test]
fn a_level_up_to_256_models_is_opened_and_one_beyond_is_not() {
    // 1 + 15 + 15 · 16 = 256.
    let shares_256 = shares(&fan(15, 16), "a", 1_000_000, 5000);
    assert_eq!(shares_256.len(), 256);
    // 1 + 16 + 16 · 15 = 257: the second level keeps what reached it.
    let shares_257 = shares(&fan(16, 15), "a", 1_000_000, 5000);
    assert_eq!(shares_257.len(), 17);
    assert_eq!(shares_257[1].1, 31_250);
}

#[test]
fn a_level_is_ordered_by_the_bytes_of_the_ids() {
    let models = models(&[("s", &["é", "Z", "a"]), ("é", &[]), ("Z", &[]), ("a", &[])]);
    assert_eq!(shares(&models, "s", 2, 10_000), of(&[("s", 0), ("Z", 1), ("a", 1)]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn shares_of_any_graph_add_up_to_the_pool_and_name_each_model_once(
        edges in prop::collection::vec(prop::collection::vec(0..40_usize, 0..8), 1..40),
        pool in prop_oneof![0..100_u128, 0..(1_u128 << 96)],
        upstream_bps in 0..=10_000_u16,
    ) {
        let model = |(i, parents): (usize, &Vec<usize>)| Model {
            model_id: format!("m{i}").into(),
            owner: owner(i),
            parents: parents.iter().map(|p| format!("m{p}").into()).collect(),
        };
        let models = Models::new(edges.iter().enumerate().map(model).collect());
        let shares = share_upstream(&models, models.find("m0").unwrap(), pool, upstream_bps).unwrap();
        prop_assert_eq!(shares.iter().map(|s| s.amount).sum::<u128>(), pool);
        let distinct: BTreeSet<ModelIndex> = shares.iter().map(|s| s.model).collect();
        prop_assert_eq!(distinct.len(), shares.len());
        prop_assert!(shares.len() <= MODELS_MAX);
    }
}
