//! The one Merkle tree, of events and of rewards: the layout of OpenZeppelin's `StandardMerkleTree`, so that its proofs
//! check on chain and in JavaScript with audited code.
//!
//! Leaves are sorted by hash; n leaves make an array of 2n − 1 nodes with leaf i at 2n − 2 − i and the root at 0; the
//! children of node i are 2i + 1 and 2i + 2, and a node is the keccak-256 of its children in sorted order.

use tributary_schemas::units::{Address, Hash, keccak256, keccak256_of};

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
        for node in (0..count - 1).rev() {
            nodes[node] = parent(&nodes[2 * node + 1], &nodes[2 * node + 2]);
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

/// The leaf of an account: keccak256(keccak256(abi.encode(address account, uint256 cumulative))).
pub fn reward_leaf(account: &Address, cumulative: u128) -> Hash {
    let mut words = [0; 64];
    words[12..32].copy_from_slice(account.bytes());
    words[48..].copy_from_slice(&cumulative.to_be_bytes());
    keccak256(keccak256(words))
}

fn parent(a: &Hash, b: &Hash) -> Hash {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut both = [0; 64];
    both[..32].copy_from_slice(low.as_slice());
    both[32..].copy_from_slice(high.as_slice());
    keccak256(both)
}

#[cfg(test)]
mod tests;
