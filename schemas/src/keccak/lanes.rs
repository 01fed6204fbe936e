//! Eight sponges side by side. A lane whose message ends takes the next one at once, so that messages of different lengths keep all
//! lanes busy.
//!
//! The permutation is Keccak-f[1600] as of FIPS 202, section 3.3; the padding is that of Ethereum (0x01 … 0x80), not of SHA-3.

use pulp::NullaryFnOnce;
use pulp::u64x8;
use pulp::x86::V4;

use crate::units::Hash;

const LANES: usize = 8;
const WORDS: usize = 25;
/// Bytes of a message that one permutation takes in.
const RATE: usize = 136;
/// Below this the lanes are mostly empty, and hashing one by one is faster.
const MESSAGES_MIN: usize = 3;

const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// As [`super::keccak256_each`]; `None` for few messages, and on a processor without AVX-512.
pub(super) fn keccak256_each<const PARTS: usize>(messages: &[[&[u8]; PARTS]]) -> Option<Vec<Hash>> {
    if messages.len() < MESSAGES_MIN {
        return None;
    }
    let v4 = V4::try_new()?;
    let mut hashes = vec![Hash::ZERO; messages.len()];
    let mut state = State([[0; LANES]; WORDS]);
    let mut waiting = messages.iter().zip(&mut hashes);
    let mut lanes: [_; LANES] = std::array::from_fn(|_| waiting.next().map(Sponge::new));
    // Each round takes in at least one block of a message.
    while lanes.iter().any(Option::is_some) {
        let mut ended = [false; LANES];
        for (lane, sponge) in lanes.iter_mut().enumerate() {
            if let Some(sponge) = sponge {
                ended[lane] = sponge.absorb(&mut state, lane);
            }
        }
        v4.vectorize(Permutation { v4, state: &mut state });
        for (lane, _) in ended.iter().enumerate().filter(|(_, ended)| **ended) {
            if let Some(sponge) = lanes[lane].take() {
                *sponge.hash = state.squeeze(lane);
            }
            lanes[lane] = waiting.next().map(Sponge::new);
        }
    }
    Some(hashes)
}

/// Word by word, the words of the eight lanes side by side.
#[repr(align(64))]
struct State([[u64; LANES]; WORDS]);

impl State {
    fn absorb(&mut self, lane: usize, block: &[u8; RATE]) {
        let (words, _) = block.as_chunks::<8>();
        for (state, word) in self.0.iter_mut().zip(words) {
            state[lane] ^= u64::from_le_bytes(*word);
        }
    }

    /// The hash of the lane, which is empty then.
    fn squeeze(&mut self, lane: usize) -> Hash {
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut::<8>().0.iter_mut().zip(&self.0) {
            *bytes = word[lane].to_le_bytes();
        }
        self.0.iter_mut().for_each(|word| word[lane] = 0);
        Hash::from(hash)
    }
}

/// A message on its way through a lane.
struct Sponge<'m, const PARTS: usize> {
    message: &'m [&'m [u8]; PARTS],
    /// The part and the place in it where the next block begins.
    part: usize,
    at: usize,
    hash: &'m mut Hash,
}

impl<'m, const PARTS: usize> Sponge<'m, PARTS> {
    fn new((message, hash): (&'m [&'m [u8]; PARTS], &'m mut Hash)) -> Self {
        Self { message, part: 0, at: 0, hash }
    }

    /// Takes in the next block. True if it was the last, the one with the padding.
    fn absorb(&mut self, state: &mut State, lane: usize) -> bool {
        if let Some(block) = self.message.get(self.part).and_then(|part| part[self.at..].first_chunk::<RATE>()) {
            self.at += RATE;
            state.absorb(lane, block);
            return false;
        }
        let mut block = [0; RATE];
        let mut filled = 0;
        while let Some(part) = self.message.get(self.part) {
            let rest = &part[self.at..];
            let taken = rest.len().min(RATE - filled);
            block[filled..filled + taken].copy_from_slice(&rest[..taken]);
            filled += taken;
            self.at += taken;
            if filled == RATE {
                state.absorb(lane, &block);
                return false;
            }
            (self.part, self.at) = (self.part + 1, 0);
        }
        block[filled] = 0x01;
        block[RATE - 1] |= 0x80;
        state.absorb(lane, &block);
        true
    }
}

/// One permutation of all lanes.
struct Permutation<'s> {
    v4: V4,
    state: &'s mut State,
}

/// Words 1 to 24 move along one cycle: `place by rotation`, in the order of the cycle that begins at word 1.
macro_rules! rho_pi {
    ($v4:ident, $words:ident, $($place:literal by $rotation:literal),*) => {
        let mut moved = $words[1];
        $(
            let next = $words[$place];
            $words[$place] = pulp::cast($v4.avx512f._mm512_rol_epi64::<$rotation>(pulp::cast(moved)));
            moved = next;
        )*
        let _ = moved;
    };
}

impl NullaryFnOnce for Permutation<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let v4 = self.v4;
        let mut words = [v4.splat_u64x8(0); WORDS];
        for (word, lanes) in words.iter_mut().zip(&self.state.0) {
            *word = pulp::cast(*lanes);
        }
        for constant in ROUND_CONSTANTS {
            let mut sums = [v4.splat_u64x8(0); 5];
            for x in 0..5 {
                sums[x] = xor_three(v4, words[x], words[x + 5], xor_three(v4, words[x + 10], words[x + 15], words[x + 20]));
            }
            for x in 0..5 {
                let turned: u64x8 = pulp::cast(v4.avx512f._mm512_rol_epi64::<1>(pulp::cast(sums[(x + 1) % 5])));
                for y in 0..5 {
                    words[x + 5 * y] = xor_three(v4, words[x + 5 * y], sums[(x + 4) % 5], turned);
                }
            }
            rho_pi!(
                v4, words, 10 by 1, 7 by 3, 11 by 6, 17 by 10, 18 by 15, 3 by 21, 5 by 28, 16 by 36, 8 by 45, 21 by 55, 24 by 2,
                4 by 14, 15 by 27, 23 by 41, 19 by 56, 13 by 8, 12 by 25, 2 by 43, 20 by 62, 14 by 18, 22 by 39, 9 by 61, 6 by 20,
                1 by 44
            );
            for y in 0..5 {
                let row = [words[5 * y], words[5 * y + 1], words[5 * y + 2], words[5 * y + 3], words[5 * y + 4]];
                for x in 0..5 {
                    words[5 * y + x] = chi(v4, row[x], row[(x + 1) % 5], row[(x + 2) % 5]);
                }
            }
            words[0] = v4.xor_u64x8(words[0], v4.splat_u64x8(constant));
        }
        for (lanes, word) in self.state.0.iter_mut().zip(words) {
            *lanes = pulp::cast(word);
        }
    }
}

/// a ⊕ b ⊕ c: the table of the three bits is 0x96.
#[inline(always)]
fn xor_three(v4: V4, a: u64x8, b: u64x8, c: u64x8) -> u64x8 {
    pulp::cast(v4.avx512f._mm512_ternarylogic_epi64::<0x96>(pulp::cast(a), pulp::cast(b), pulp::cast(c)))
}

/// a ⊕ (¬b ∧ c): the table of the three bits is 0xd2.
#[inline(always)]
fn chi(v4: V4, a: u64x8, b: u64x8, c: u64x8) -> u64x8 {
    pulp::cast(v4.avx512f._mm512_ternarylogic_epi64::<0xd2>(pulp::cast(a), pulp::cast(b), pulp::cast(c)))
}
