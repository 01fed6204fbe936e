//! Commitments, openings and joint openings, and what is not one.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::LazyLock;

use eigenda_client::joint::SYMBOLS_MAX;
use eigenda_client::payload::symbols_of;
use eigenda_client::{
    Blob, Claim, Commitment, Domain, EncodedPayload, JointOpening, KzgError, Opening, PointError, Srs, SrsError, Symbol,
};
use proptest::prelude::*;

const POINTS: &[u8] = include_bytes!("../testdata/g1-1024.point");
static SRS: LazyLock<Srs> = LazyLock::new(|| Srs::read(POINTS).unwrap());

/// A blob, its encoded payload, and its commitment.
struct Committed {
    encoded: EncodedPayload,
    blob: Blob,
    commitment: Commitment,
}

fn commit(payload: &[u8]) -> Committed {
    let encoded = EncodedPayload::encode(payload).unwrap();
    let blob = Blob::of(&encoded);
    let commitment = Commitment::to(&blob, &SRS).unwrap();
    Committed { encoded, blob, commitment }
}

fn sample(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at * at % 251).unwrap()).collect()
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..1000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_opening_proves_the_encoded_symbol(payload in payload(), index in any::<prop::sample::Index>()) {
        let Committed { encoded, blob, commitment } = commit(&payload);
        let domain = blob.domain();
        let index = u32::try_from(index.index(domain.symbols() as usize)).unwrap();
        let (claim, opening) = Opening::of(&blob, index, &SRS).unwrap();
        prop_assert_eq!(Some(claim.symbol), encoded.symbol(index));
        prop_assert_eq!(opening.check(&claim, &commitment, domain), Ok(()));
        prop_assert_eq!(Opening::read(&opening.to_bytes()), Ok(opening));
    }

    #[test]
    fn a_joint_opening_proves_the_encoded_symbols(payload in payload(), places in prop::collection::btree_set(0u32..64, 1..20)) {
        let Committed { encoded, blob, commitment } = commit(&payload);
        let domain = blob.domain();
        let places = places.into_iter().filter(|place| *place < domain.symbols()).collect::<Vec<_>>();
        prop_assume!(!places.is_empty());
        let (claims, opening) = JointOpening::of(&blob, &commitment, &places, &SRS).unwrap();
        for (claim, place) in claims.iter().zip(&places) {
            prop_assert_eq!((claim.index, Some(claim.symbol)), (*place, encoded.symbol(*place)));
        }
        prop_assert_eq!(claims.len(), places.len());
        prop_assert_eq!(opening.check(&claims, &commitment, domain), Ok(()));
        prop_assert_eq!(JointOpening::read(&opening.to_bytes()), Ok(opening));
    }

    #[test]
    fn a_flipped_bit_in_a_claim_is_refused(flip in 0usize..9 * 31 * 8, single in any::<bool>()) {
        let Committed { blob, commitment, .. } = commit(&sample(900));
        let (mut claims, opening) = JointOpening::of(&blob, &commitment, &[3, 4, 5, 6, 7, 8, 9, 10, 11], &SRS).unwrap();
        let (which, bit) = (flip / (31 * 8), flip % (31 * 8));
        let (claim, own) = Opening::of(&blob, claims[which].index, &SRS).unwrap();
        prop_assert_eq!(claim, claims[which]);
        let mut bytes = *claim.symbol.as_bytes();
        bytes[1 + bit / 8] ^= 1 << (bit % 8);
        claims[which].symbol = Symbol::new(bytes).unwrap();
        let refused = if single {
            own.check(&claims[which], &commitment, blob.domain())
        } else {
            opening.check(&claims, &commitment, blob.domain())
        };
        prop_assert_eq!(refused, Err(KzgError::False));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in any::<[u8; 32]>(), more in any::<[u8; 32]>()) {
        let mut point = [0; 64];
        point[..32].copy_from_slice(&bytes);
        point[32..].copy_from_slice(&more);
        let _ = Commitment::read(&point);
        let _ = Srs::read(&point);
    }
}

#[test]
fn a_248_byte_header_is_proven_by_128_bytes() {
    let Committed { encoded, blob, commitment } = commit(&sample(10_000));
    let places = symbols_of(100..348).unwrap().collect::<Vec<_>>();
    assert_eq!(places.len(), 9);
    let (claims, opening) = JointOpening::of(&blob, &commitment, &places, &SRS).unwrap();
    assert_eq!(opening.to_bytes().len(), 128);
    let bytes = claims.iter().flat_map(|claim| claim.symbol.payload().unwrap().to_vec()).collect::<Vec<_>>();
    assert_eq!(bytes[100 % 31..][..248], sample(10_000)[100..348]);
    opening.check(&claims, &commitment, encoded.domain()).unwrap();
}

#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let Committed { blob, commitment, .. } = commit(&sample(300));
    let domain = blob.domain();
    let (claims, joint) = JointOpening::of(&blob, &commitment, &[1, 2, 5], &SRS).unwrap();
    for bit in 0..JointOpening::BYTES * 8 {
        let mut bytes = joint.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(JointOpening::read(&bytes).is_err(), "bit {bit}: no two points differ in one bit");
    }
    let (claim, single) = Opening::of(&blob, 5, &SRS).unwrap();
    for bit in 0..64 * 8 {
        let mut bytes = single.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Opening::read(&bytes).is_err(), "bit {bit}");
    }
    // Other points instead of the right ones.
    let others = [[0; 64], commitment.to_bytes(), single.to_bytes()];
    let (first, second) =
        joint.to_bytes().split_first_chunk::<64>().map(|(first, rest)| (*first, *rest.first_chunk().unwrap())).unwrap();
    for other in others.iter().chain([&first, &second]) {
        let halves: [(&[u8; 64], &[u8; 64]); 2] = [(other, &second), (&first, other)];
        for (left, right) in halves {
            if (left, right) == (&first, &second) {
                continue;
            }
            let mut bytes = [0; 128];
            bytes[..64].copy_from_slice(left);
            bytes[64..].copy_from_slice(right);
            assert_eq!(JointOpening::read(&bytes).unwrap().check(&claims, &commitment, domain), Err(KzgError::False));
        }
        if *other != single.to_bytes() {
            assert_eq!(Opening::read(other).unwrap().check(&claim, &commitment, domain), Err(KzgError::False));
        }
    }
}

#[test]
fn a_wrong_place_domain_or_commitment_is_refused() {
    let Committed { blob, commitment, .. } = commit(&sample(900));
    let domain = blob.domain();
    let (claims, joint) = JointOpening::of(&blob, &commitment, &[2, 3, 4], &SRS).unwrap();
    let (claim, single) = Opening::of(&blob, 2, &SRS).unwrap();
    let refused = |claims: &[Claim], commitment: &Commitment, domain: Domain| {
        assert_eq!(joint.check(claims, commitment, domain), Err(KzgError::False));
    };
    for symbols in [16, 64, 1 << 19] {
        let other = Domain::new(symbols).unwrap();
        assert_ne!(other, domain);
        refused(&claims, &commitment, other);
        assert_eq!(single.check(&claim, &commitment, other), Err(KzgError::False));
    }
    for index in (0..domain.symbols()).filter(|index| *index != claim.index) {
        assert_eq!(single.check(&Claim { index, ..claim }, &commitment, domain), Err(KzgError::False));
    }
    let mut moved = claims.clone();
    moved[2].index = 5;
    refused(&moved, &commitment, domain);
    refused(&claims[1..], &commitment, domain);
    let mut swapped = claims.clone();
    (swapped[0].symbol, swapped[1].symbol) = (claims[1].symbol, claims[0].symbol);
    refused(&swapped, &commitment, domain);
    let fewer_then_more = [&claims[..], &[Claim { index: 9, symbol: claims[0].symbol }]].concat();
    refused(&fewer_then_more, &commitment, domain);
    let other = commit(&sample(901)).commitment;
    assert_eq!(JointOpening::of(&blob, &other, &[2, 3, 4], &SRS).unwrap_err(), KzgError::False);
    refused(&claims, &other, domain);
    assert_eq!(single.check(&claim, &other, domain), Err(KzgError::False));
}

#[test]
fn openings_checked_at_once_hold_exactly_when_each_does() {
    let Committed { blob, commitment, .. } = commit(&sample(900));
    let domain = blob.domain();
    let proven = [1, 2, 3, 9, 9].map(|index| Opening::of(&blob, index, &SRS).unwrap());
    assert_eq!(Opening::check_all(&proven, &commitment, domain), Ok(()));
    assert_eq!(Opening::check_all(&proven[2..3], &commitment, domain), Ok(()));
    assert_eq!(Opening::check_all(&[], &commitment, domain), Ok(()));
    let refused = |proven: &[(Claim, Opening)]| {
        assert_eq!(Opening::check_all(proven, &commitment, domain), Err(KzgError::False));
    };
    for which in 0..proven.len() {
        let mut wrong = proven;
        wrong[which].0.symbol = Symbol::of_payload(b"another").unwrap();
        refused(&wrong);
        let mut wrong = proven;
        wrong[which].0.index = 20;
        refused(&wrong);
        let mut wrong = proven;
        wrong[which].1 = Opening::read(&[0; 64]).unwrap();
        refused(&wrong);
    }
    // Two proofs in each other's place have the same sum.
    let mut swapped = proven;
    (swapped[0].1, swapped[1].1) = (proven[1].1, proven[0].1);
    refused(&swapped);
    let mut swapped = proven;
    (swapped[0].0.symbol, swapped[1].0.symbol) = (proven[1].0.symbol, proven[0].0.symbol);
    refused(&swapped);
    for symbols in [16, 64] {
        assert_eq!(Opening::check_all(&proven, &commitment, Domain::new(symbols).unwrap()), Err(KzgError::False));
    }
    let other = commit(&sample(901)).commitment;
    assert_eq!(Opening::check_all(&proven, &other, domain), Err(KzgError::False));
    let outside = [(Claim { index: 32, ..proven[0].0 }, proven[0].1)];
    assert_eq!(Opening::check_all(&outside, &commitment, domain), Err(KzgError::Place { index: 32, symbols: 32 }));
}

#[test]
fn places_that_are_none_are_refused() {
    let Committed { blob, commitment, .. } = commit(&sample(900));
    let domain = blob.domain();
    assert_eq!(domain.symbols(), 32);
    let outside = KzgError::Place { index: 32, symbols: 32 };
    assert_eq!(Opening::of(&blob, 32, &SRS).unwrap_err(), outside);
    assert_eq!(JointOpening::of(&blob, &commitment, &[1, 32], &SRS).unwrap_err(), outside);
    let (claims, joint) = JointOpening::of(&blob, &commitment, &[1, 2], &SRS).unwrap();
    let (claim, single) = Opening::of(&blob, 1, &SRS).unwrap();
    assert_eq!(single.check(&Claim { index: 32, ..claim }, &commitment, domain), Err(outside));
    assert_eq!(joint.check(&[claims[0], Claim { index: 32, ..claims[1] }], &commitment, domain), Err(outside));
    let too_many = (0..u32::try_from(SYMBOLS_MAX).unwrap() + 1).collect::<Vec<_>>();
    for places in [&[][..], &[1, 1], &[2, 1], &too_many] {
        assert_eq!(JointOpening::of(&blob, &commitment, places, &SRS).unwrap_err(), KzgError::Places { count: places.len() });
        let claims = places.iter().map(|index| Claim { index: *index, ..claim }).collect::<Vec<_>>();
        assert_eq!(joint.check(&claims, &commitment, domain), Err(KzgError::Places { count: places.len() }));
    }
}

#[test]
fn the_most_symbols_and_the_whole_of_a_blob_can_be_opened() {
    let Committed { blob, commitment, .. } = commit(&sample(20_000));
    let places = (0..u32::try_from(SYMBOLS_MAX).unwrap()).map(|place| place * 4).collect::<Vec<_>>();
    let (claims, joint) = JointOpening::of(&blob, &commitment, &places, &SRS).unwrap();
    joint.check(&claims, &commitment, blob.domain()).unwrap();

    let Committed { blob, commitment, encoded } = commit(&sample(31));
    let (claims, joint) = JointOpening::of(&blob, &commitment, &[0, 1], &SRS).unwrap();
    assert_eq!(Some(claims[1].symbol), encoded.symbol(1));
    joint.check(&claims, &commitment, blob.domain()).unwrap();

    let one = Blob::read(&[0; 32]).unwrap();
    let (claim, single) = Opening::of(&one, 0, &SRS).unwrap();
    let zero = Commitment::to(&one, &SRS).unwrap();
    assert_eq!(zero.to_bytes(), [0; 64]);
    single.check(&claim, &zero, one.domain()).unwrap();
}

#[test]
fn the_string_is_eigendas() {
    SRS.check_powers().unwrap();
    assert_eq!(SRS.points(), 1024);
    let at = |index: usize| &POINTS[index * 32..][..32];
    let swapped = [at(0), at(1), at(3), at(2), at(4)].concat();
    assert!(matches!(Srs::read(&swapped).unwrap().check_powers(), Err(SrsError::Foreign)));
    let repeated = [at(0), at(1), at(2), at(2)].concat();
    assert!(matches!(Srs::read(&repeated).unwrap().check_powers(), Err(SrsError::Foreign)));
    for wrong in [[at(0), at(2)].concat(), [at(1), at(2)].concat(), at(1).to_vec(), [at(0), at(0)].concat()] {
        assert!(matches!(Srs::read(&wrong), Err(SrsError::Foreign)));
    }
    Srs::read(at(0)).unwrap().check_powers().unwrap();
}

#[test]
fn a_file_with_too_little_or_no_points_is_refused() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/g1-1024.point"));
    assert_eq!(Srs::load(path, 1024).unwrap(), *SRS);
    assert_eq!(Srs::load(path, 5).unwrap().points(), 5);
    assert!(matches!(Srs::load(path, 1025), Err(SrsError::Short { points: 1025, bytes: 32_768 })));
    assert!(matches!(Srs::load(path, 0), Err(SrsError::Short { .. })));
    assert!(matches!(Srs::load(path, usize::MAX), Err(SrsError::Excess { .. })));
    assert!(matches!(Srs::load(Path::new("no/such/file"), 1), Err(SrsError::Io { .. })));
    assert!(matches!(Srs::read(&POINTS[..33]), Err(SrsError::Short { .. })));
    let mut broken = POINTS[..96].to_vec();
    broken[70] ^= 1;
    match Srs::read(&broken) {
        Err(SrsError::Point { index: 2, source: PointError::NotOnCurve }) => {}
        // Half of all x have a point.
        read => assert!(matches!(read.unwrap().check_powers(), Err(SrsError::Foreign))),
    }
}

#[test]
fn a_blob_beyond_the_string_is_refused() {
    let encoded = EncodedPayload::encode(&sample(31_714)).unwrap();
    let blob = Blob::of(&encoded);
    let short = KzgError::SrsTooShort { symbols: 2048, points: 1024 };
    assert_eq!(Commitment::to(&blob, &SRS), Err(short));
    assert_eq!(Opening::of(&blob, 1, &SRS).unwrap_err(), short);
    assert_eq!(JointOpening::of(&blob, &commit(&[1]).commitment, &[1], &SRS).unwrap_err(), short);
}
