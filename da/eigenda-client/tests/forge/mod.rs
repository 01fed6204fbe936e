//! Certificates made from nothing, by an RLP writer that shares no line with the reader under test.

#![allow(dead_code, clippy::unwrap_used)]

use std::iter::once;

/// What RLP is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Bytes(Vec<u8>),
    List(Vec<Item>),
}

impl Item {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) if bytes.len() == 1 && bytes[0] < 0x80 => bytes.clone(),
            Self::Bytes(bytes) => headed(0x80, bytes),
            Self::List(items) => headed(0xc0, &items.iter().flat_map(Self::encode).collect::<Vec<_>>()),
        }
    }

    /// The item at the end of a path of positions.
    pub fn at(&mut self, path: &[usize]) -> &mut Self {
        path.iter().fold(self, |item, position| match item {
            Self::List(items) => &mut items[*position],
            Self::Bytes(_) => panic!("no list at {path:?}"),
        })
    }

    /// The paths of all items below this one.
    pub fn paths(&self) -> Vec<Vec<usize>> {
        let Self::List(items) = self else { return Vec::new() };
        let below = |(position, item): (usize, &Self)| {
            let deeper = item.paths().into_iter().map(move |path| once(position).chain(path).collect::<Vec<_>>());
            once(vec![position]).chain(deeper).collect::<Vec<_>>()
        };
        items.iter().enumerate().flat_map(below).collect()
    }
}

fn headed(base: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    if length < 56 {
        return once(base + u8::try_from(length).unwrap()).chain(payload.iter().copied()).collect();
    }
    let bytes = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    let first = base + 55 + u8::try_from(bytes.len()).unwrap();
    once(first).chain(bytes).chain(payload.iter().copied()).collect()
}

pub fn number(value: u64) -> Item {
    Item::Bytes(value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect())
}

pub fn bytes(bytes: &[u8]) -> Item {
    Item::Bytes(bytes.to_vec())
}

fn numbers(values: &[u64]) -> Item {
    Item::List(values.iter().copied().map(number).collect())
}

fn g1(x: u64, y: u64) -> Item {
    numbers(&[x, y])
}

fn g2(first: u64) -> Item {
    Item::List(vec![numbers(&[first, first + 1]), numbers(&[first + 2, first + 3])])
}

pub const BATCH_ROOT: [u8; 32] = [0xab; 32];
pub const REFERENCE_BLOCK: u32 = 7_654_321;
pub const LENGTH: u32 = 1024;
pub const DERIVATION_VERSION: u16 = 513;
/// The generator, which is as good a commitment as any.
pub const COMMITMENT: (u64, u64) = (1, 2);

pub fn batch_header() -> Item {
    Item::List(vec![bytes(&BATCH_ROOT), number(u64::from(REFERENCE_BLOCK))])
}

pub fn inclusion() -> Item {
    let commitment = Item::List(vec![g1(COMMITMENT.0, COMMITMENT.1), g2(10), g2(20), number(u64::from(LENGTH))]);
    let header = Item::List(vec![number(0), bytes(&[0, 1]), commitment, bytes(&[0xcd; 32])]);
    let certificate = Item::List(vec![header, bytes(&[0x5a; 65]), numbers(&[0, 3, 300])]);
    Item::List(vec![certificate, number(2), bytes(&[0x77; 96])])
}

pub fn non_signers() -> Item {
    Item::List(vec![
        numbers(&[4, 5]),
        Item::List(vec![g1(31, 32), g1(33, 34)]),
        Item::List(vec![g1(35, 36)]),
        g2(40),
        g1(50, 51),
        numbers(&[60, 61]),
        numbers(&[70]),
        Item::List(vec![numbers(&[80, 81]), numbers(&[])]),
    ])
}

/// The RLP of a certificate with this version byte.
pub fn rlp(version: u8) -> Item {
    let signed = bytes(&[0, 1, 2]);
    match version {
        1 => Item::List(vec![inclusion(), batch_header(), non_signers(), signed]),
        2 => Item::List(vec![batch_header(), inclusion(), non_signers(), signed]),
        _ => Item::List(vec![batch_header(), inclusion(), non_signers(), signed, number(u64::from(DERIVATION_VERSION))]),
    }
}

/// A certificate in the standard mode.
pub fn standard(version: u8) -> Vec<u8> {
    once(version).chain(rlp(version).encode()).collect()
}

/// A certificate in the OP generic mode.
pub fn op_generic(version: u8) -> Vec<u8> {
    [1, 0].into_iter().chain(standard(version)).collect()
}
