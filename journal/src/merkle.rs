//! The one Merkle tree, of events and of rewards: the layout of OpenZeppelin's `StandardMerkleTree`, so that its proofs
//! check on chain and in JavaScript with audited code.
//!
//! Leaves are sorted by hash; n leaves make an array of 2n − 1 nodes with leaf i at 2n − 2 − i and the root at 0; the
//! children of node i are 2i + 1 and 2i + 2, and a node is the keccak-256 of its children in sorted order.

use bytes::Bytes;
use tributary_schemas::keccak::keccak256_each;
use tributary_schemas::units::{Address, Hash, keccak256, keccak256_of};

/// How many nodes are hashed together: enough to keep the lanes busy, few enough for a processor's cache.
const PARENTS_AT_ONCE: usize = 1024;

/// A whole tree, kept as its array of nodes, so that a proof is a walk from leaf to root.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Empty without leaves.
    nodes: Vec<Hash>,
    /// Where in `nodes` the leaf lies that was given at this index.
    places: Vec<u32>,
}

impl Tree {
    /// The most leaves of one tree; at 100 bytes each they are far beyond a machine's memory before that.
    pub const LEAVES_MAX: usize = 1 << 30;

    /// Builds the tree: one hash per leaf after the sort.
    ///
    /// # Panics
    /// With more than [`Self::LEAVES_MAX`] leaves.
    pub fn new(leaves: Vec<Hash>) -> Self {
        let count = leaves.len();
        assert!(count <= Self::LEAVES_MAX, "a tree has at most 2^30 leaves");
        if count == 0 {
            return Self { nodes: Vec::new(), places: Vec::new() };
        }
        let mut sorted: Vec<(Hash, u32)> = leaves.into_iter().zip(0..).collect();
        sorted.sort_unstable();
        let mut nodes = vec![Hash::ZERO; 2 * count - 1];
        let mut places = vec![0; count];
        for ((leaf, given_at), place) in sorted.into_iter().zip((count - 1..2 * count - 1).rev()) {
            nodes[place] = leaf;
            places[given_at as usize] = u32::try_from(place).expect("2 × 2^30 nodes have 32-bit indices");
        }
        // Runs of parents whose children are all there: of one level, and not too many at once.
        let mut end = count - 1;
        while end > 0 {
            let level_begins = (1 << end.ilog2()) - 1;
            let begin = level_begins.max(end.saturating_sub(PARENTS_AT_ONCE));
            let parents = parents(&nodes[2 * begin + 1..2 * end + 1]);
            nodes[begin..end].copy_from_slice(&parents);
            end = begin;
        }
        Self { nodes, places }
    }

    /// The root; 32 zero bytes without leaves.
    pub fn root(&self) -> Hash {
        self.nodes.first().copied().unwrap_or_default()
    }

    /// How many leaves it has.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has no leaf.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The siblings from the leaf given at `index` up to the root.
    ///
    /// # Panics
    /// If there is no such leaf.
    pub fn proof(&self, index: usize) -> Vec<Hash> {
        let mut place = self.places[index] as usize;
        let mut proof = Vec::new();
        while place > 0 {
            // The left child has the odd index.
            let sibling = if place % 2 == 1 { place + 1 } else { place - 1 };
            proof.push(self.nodes[sibling]);
            place = (place - 1) / 2;
        }
        proof
    }
}

/// Whether the proof leads from the leaf to the root.
pub fn verify(root: Hash, leaf: Hash, proof: &[Hash]) -> bool {
    proof.iter().fold(leaf, |node, sibling| parent(&node, sibling)) == root
}

/// The leaf of an event: keccak256(keccak256(ordinal as 4 bytes big-endian ‖ event bytes)), so that the root commits to
/// the order too.
pub fn event_leaf(ordinal: u32, event: &[u8]) -> Hash {
    keccak256(keccak256_of(&[&ordinal.to_be_bytes(), event]))
}

/// The leaves of events, whose ordinals begin at 0: hashed together, they take a fraction of the time.
///
/// # Panics
/// With more events than ordinals have numbers.
pub fn event_leaves(events: &[Bytes]) -> Vec<Hash> {
    let ordinals = 0..u32::try_from(events.len()).expect("a batch has fewer events than bytes");
    let ordinals: Vec<[u8; 4]> = ordinals.map(u32::to_be_bytes).collect();
    let inner: Vec<[&[u8]; 2]> = ordinals.iter().zip(events).map(|(ordinal, event)| [ordinal, &event[..]]).collect();
    let hashes = keccak256_each(&inner);
    let outer: Vec<[&[u8]; 1]> = hashes.iter().map(|hash| [hash.as_slice()]).collect();
    keccak256_each(&outer)
}

/// The leaf of an account: keccak256(keccak256(abi.encode(address account, uint256 cumulative))).
pub fn reward_leaf(account: &Address, cumulative: u128) -> Hash {
    let mut words = [0; 64];
    words[12..32].copy_from_slice(account.bytes());
    words[48..].copy_from_slice(&cumulative.to_be_bytes());
    keccak256(keccak256(words))
}

fn parent(a: &Hash, b: &Hash) -> Hash {
    keccak256_of(&sorted(a, b))
}

/// The parents of children that lie in pairs.
fn parents(children: &[Hash]) -> Vec<Hash> {
    let (pairs, alone) = children.as_chunks::<2>();
    assert!(alone.is_empty(), "each parent has two children");
    let messages: Vec<[&[u8]; 2]> = pairs.iter().map(|[a, b]| sorted(a, b)).collect();
    keccak256_each(&messages)
}

fn sorted<'h>(a: &'h Hash, b: &'h Hash) -> [&'h [u8]; 2] {
    if a <= b { [a.as_slice(), b.as_slice()] } else { [b.as_slice(), a.as_slice()] }
}

#[cfg(test)]
mod tests;
