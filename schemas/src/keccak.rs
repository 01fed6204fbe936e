//! keccak-256 of many messages at once: the leaves and levels of a tree, the identities of a read.
//!
//! One message is a chain of permutations that wait for each other. Eight messages in the eight lanes of AVX-512 registers take about the
//! time of one.

use crate::units::{Hash, keccak256_of};

#[cfg(target_arch = "x86_64")]
mod lanes;

/// keccak-256 of each message, whose parts are hashed as if they were put together.
pub fn keccak256_each<const PARTS: usize>(messages: &[[&[u8]; PARTS]]) -> Vec<Hash> {
    #[cfg(target_arch = "x86_64")]
    if let Some(hashes) = lanes::keccak256_each(messages) {
        return hashes;
    }
    messages.iter().map(|message| keccak256_of(message)).collect()
}

#[cfg(test)]
mod tests;
