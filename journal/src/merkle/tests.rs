#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn numbered(leaves: u32) -> Vec<Hash> {
    (0..leaves).map(|n| event_leaf(n, b"event")).collect()
}

/// `address(n)`: the 20-byte big-endian n.
fn address(n: u64) -> Address {
    let mut bytes = [0; 20];
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    Address::from_bytes(bytes).unwrap()
}

#[test]
fn a_tree_of_100_000_accounts_has_the_root_that_openzeppelin_computes() {
    let leaf = |i: u64| reward_leaf(&address(i + 1), 10_u128.pow(18) + u128::from(i));
    let leaves: Vec<Hash> = (0..100_000).map(leaf).collect();
    let tree = Tree::new(leaves.clone());
    assert_eq!(format!("{:#x}", tree.root()), "0xeb722d0fbc437997a9b7ed6b10248a6ab310f3224fc6c7da5a3b7d3e1b7396e9");
    for index in [0, 1, 65_535, 99_999] {
        assert!(verify(tree.root(), leaves[index], &tree.proof(index)));
    }
}

#[test]
fn the_recorded_flywheel_has_the_roots_that_openzeppelin_computes() {
    for (epoch, root) in [
        (1, "0xbb8c5557b41c04ab0b8ab374f0860c9b26a261f3e11467aabf06eb13540a829b"),
        (2, "0xe4cda2d4a268b4a89c3283230315bb9cba711fb59a77093c454cad2a48e1355f"),
        (3, "0x9cc5ef3273e0de81cc10459a534c04ac8267aaca1e630b29593aab39eaa009f7"),
    ] {
        let file = format!("{}/../examples/flywheel/expected/cumulative-{epoch}.csv", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).expect(&file);
        let leaf = |line: &str| {
            let (account, cumulative) = line.split_once(',').unwrap();
            reward_leaf(&Address::parse(account).unwrap(), cumulative.parse().unwrap())
        };
        let tree = Tree::new(text.lines().skip(1).map(leaf).collect());
        assert_eq!(format!("{:#x}", tree.root()), root, "epoch {epoch}");
    }
}

#[test]
fn no_leaf_gives_the_zero_root_and_one_leaf_is_its_own_root() {
    assert_eq!(Tree::new(Vec::new()).root(), Hash::ZERO);
    let leaf = event_leaf(0, b"alone");
    let tree = Tree::new(vec![leaf]);
    assert_eq!((tree.root(), tree.proof(0)), (leaf, Vec::new()));
    assert!(verify(leaf, leaf, &[]));
}

#[test]
fn the_order_of_events_changes_the_root_but_the_order_of_leaves_does_not() {
    let ab = Tree::new(vec![event_leaf(0, b"a"), event_leaf(1, b"b")]);
    let ba = Tree::new(vec![event_leaf(0, b"b"), event_leaf(1, b"a")]);
    let ab_shuffled = Tree::new(vec![event_leaf(1, b"b"), event_leaf(0, b"a")]);
    assert_ne!(ab.root(), ba.root());
    assert_eq!(ab.root(), ab_shuffled.root());
}

#[test]
fn equal_leaves_each_have_a_proof() {
    let leaves = vec![event_leaf(7, b"same"); 5];
    let tree = Tree::new(leaves.clone());
    for (index, leaf) in leaves.iter().enumerate() {
        assert!(verify(tree.root(), *leaf, &tree.proof(index)));
    }
}

/// Prints the speed; the bound is loose, for machines under load.
#[test]
fn a_million_leaves_take_seconds() {
    let began = std::time::Instant::now();
    let leaves = (0..1_000_000).map(|i| reward_leaf(&address(i + 1), u128::from(i))).collect();
    let tree = Tree::new(leaves);
    let took = began.elapsed();
    println!("1,000,000 leaves hashed, sorted and made a tree in {took:?}, root {}", tree.root());
    assert!(took.as_secs() < 60, "{took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_proof_verifies_and_any_flipped_bit_fails(
        count in 1_u32..200,
        pick in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
    ) {
        let leaves = numbered(count);
        let tree = Tree::new(leaves.clone());
        for (index, leaf) in leaves.iter().enumerate() {
            prop_assert!(verify(tree.root(), *leaf, &tree.proof(index)));
        }
        let index = pick.index(leaves.len());
        let (leaf, proof) = (leaves[index], tree.proof(index));
        // One bit of root, leaf and proof together.
        let bit = bit.index((2 + proof.len()) * 256);
        let mut parts = [vec![tree.root(), leaf], proof].concat();
        parts[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify(parts[0], parts[1], &parts[2..]));
    }

    #[test]
    fn a_proof_of_another_leaf_or_of_another_length_fails(count in 2_u32..100, pick in any::<prop::sample::Index>()) {
        let leaves = numbered(count);
        let tree = Tree::new(leaves.clone());
        let index = pick.index(leaves.len());
        let proof = tree.proof(index);
        prop_assert!(!verify(tree.root(), leaves[(index + 1) % leaves.len()], &proof));
        prop_assert!(!verify(tree.root(), leaves[index], &proof[..proof.len() - 1]));
        prop_assert!(!verify(tree.root(), leaves[index], &[proof.as_slice(), &[tree.root()]].concat()));
        prop_assert!(proof.len() <= 1 + (32 - count.leading_zeros()) as usize);
    }
}
