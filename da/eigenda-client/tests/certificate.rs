//! Certificates: the right ones read right, and no other read at all.

#![allow(clippy::unwrap_used)]

mod forge;

use alloy_primitives::{B256, U256, hex, keccak256};
use bytes::Bytes;
use eigenda_client::certificate::{CERTIFICATE_BYTES_MAX, Contents, G1Coordinates, G2Coordinates, Mode, Version};
use eigenda_client::{Certificate, CertificateError, DomainError, PointError};
use forge::Item;
use proptest::prelude::*;

fn open(bytes: &[u8]) -> Result<Contents, CertificateError> {
    Certificate::read(Bytes::copy_from_slice(bytes))?.open()
}

/// The certificate of a version after a change of its fields.
fn changed(version: u8, change: impl FnOnce(&mut Item)) -> Vec<u8> {
    let mut rlp = forge::rlp(version);
    change(&mut rlp);
    [vec![version], rlp.encode()].concat()
}

fn field_of(bytes: &[u8]) -> &'static str {
    match open(bytes) {
        Err(CertificateError::Field { field, .. }) => field,
        other => panic!("no field is named: {other:?}"),
    }
}

#[test]
fn every_version_and_mode_gives_the_same_fields() {
    for (byte, version) in [(1, Version::V2), (2, Version::V3), (3, Version::V4)] {
        assert_eq!(version.byte(), byte);
        for (bytes, mode) in [(forge::standard(byte), Mode::Standard), (forge::op_generic(byte), Mode::OpGeneric)] {
            let certificate = Certificate::read(Bytes::from(bytes.clone())).unwrap();
            assert_eq!((certificate.version(), certificate.mode()), (version, mode));
            assert_eq!(certificate.as_bytes(), &bytes);
            assert_eq!(certificate.id(), keccak256(&bytes));
            assert_eq!(certificate.to_hex(), hex::encode(&bytes));
            check_fields(&certificate.open().unwrap(), version);
        }
    }
}

fn check_fields(contents: &Contents, version: Version) {
    let pair = |first: u64| [U256::from(first), U256::from(first + 1)];
    let g1 = |x: u64, y: u64| G1Coordinates { x: U256::from(x), y: U256::from(y) };
    let g2 = |first: u64| G2Coordinates { x: pair(first), y: pair(first + 2) };
    assert_eq!(contents.batch_header.batch_root, B256::from(forge::BATCH_ROOT));
    assert_eq!(contents.batch_header.reference_block_number, forge::REFERENCE_BLOCK);
    let header = contents.blob_header();
    assert_eq!(header.version, 0);
    assert_eq!(&header.quorum_numbers[..], [0, 1]);
    assert_eq!(header.commitment.to_bytes()[31], 1);
    assert_eq!(header.commitment.to_bytes()[63], 2);
    assert_eq!((header.length_commitment, header.length_proof), (g2(10), g2(20)));
    assert_eq!(header.domain.symbols(), forge::LENGTH);
    assert_eq!(header.payment_header_hash, B256::from([0xcd; 32]));
    let inclusion = &contents.inclusion;
    assert_eq!(&inclusion.blob_certificate.signature[..], [0x5a; 65]);
    assert_eq!(inclusion.blob_certificate.relay_keys, [0, 3, 300]);
    assert_eq!(inclusion.blob_index, 2);
    assert_eq!(&inclusion.inclusion_proof[..], [0x77; 96]);
    let non_signers = &contents.non_signers;
    assert_eq!(non_signers.non_signer_quorum_bitmap_indices, [4, 5]);
    assert_eq!(non_signers.non_signer_pubkeys, [g1(31, 32), g1(33, 34)]);
    assert_eq!(non_signers.quorum_apks, [g1(35, 36)]);
    assert_eq!((non_signers.apk_g2, non_signers.sigma), (g2(40), g1(50, 51)));
    assert_eq!(non_signers.quorum_apk_indices, [60, 61]);
    assert_eq!(non_signers.total_stake_indices, [70]);
    assert_eq!(non_signers.non_signer_stake_indices, [vec![80, 81], vec![]]);
    assert_eq!(&contents.signed_quorum_numbers[..], [0, 1, 2]);
    let derivation = (version == Version::V4).then_some(forge::DERIVATION_VERSION);
    assert_eq!(contents.offchain_derivation_version, derivation);
}

#[test]
fn what_cannot_be_a_certificate_is_refused_at_once() {
    let read = |bytes: &[u8]| Certificate::read(Bytes::copy_from_slice(bytes)).unwrap_err();
    assert_eq!(read(&[]), CertificateError::Empty);
    assert_eq!(read(&[1, 0]), CertificateError::Empty);
    for byte in [0, 4, 0x3c, 0xff] {
        assert_eq!(read(&[&[byte][..], &forge::standard(2)[1..]].concat()), CertificateError::Version { byte });
        let behind = [&[1, 0, byte][..], &forge::standard(2)[1..]].concat();
        assert_eq!(read(&behind), CertificateError::Version { byte });
    }
    let certificate = |bytes: &[u8]| matches!(read(bytes), CertificateError::Field { field: "certificate", .. });
    assert!(certificate(&[2]));
    assert!(certificate(b"\x02an error page"));
    assert!(certificate(&[forge::standard(2), vec![0]].concat()), "a byte follows the list");
    let whole = forge::standard(2);
    assert!((1..whole.len()).all(|end| certificate(&whole[..end])), "it is cut short");
    let long = [vec![2], Item::List(vec![forge::bytes(&vec![1; CERTIFICATE_BYTES_MAX])]).encode()].concat();
    assert_eq!(read(&long), CertificateError::TooLong { bytes: long.len() });
}

#[test]
fn the_order_of_one_version_is_refused_in_another() {
    for (of, told) in [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)] {
        let mut bytes = forge::standard(of);
        bytes[0] = told;
        field_of(&bytes);
    }
}

#[test]
fn a_field_that_is_missing_or_too_much_is_refused_everywhere() {
    for version in 1..=3 {
        for path in forge::rlp(version).paths() {
            let (last, parent) = path.split_last().unwrap();
            let is_list_of_any_length = |rlp: &mut Item| {
                // Relay keys, and the lists of indices and points of those who did not sign.
                matches!(rlp.at(parent), Item::List(_)) && is_free(version, parent)
            };
            if is_list_of_any_length(&mut forge::rlp(version)) {
                continue;
            }
            let without = changed(version, |rlp| match rlp.at(parent) {
                Item::List(items) => drop(items.remove(*last)),
                Item::Bytes(_) => unreachable!("parents are lists"),
            });
            assert!(open(&without).is_err(), "version byte {version} without {path:?}");
            let doubled = changed(version, |rlp| match rlp.at(parent) {
                Item::List(items) => items.push(items[*last].clone()),
                Item::Bytes(_) => unreachable!("parents are lists"),
            });
            assert!(open(&doubled).is_err(), "version byte {version} with {path:?} once more at the end");
        }
    }
}

/// Whether the list at this path may have any number of items.
fn is_free(version: u8, path: &[usize]) -> bool {
    let inclusion = if version == 1 { 0 } else { 1 };
    path == [inclusion, 0, 2]
        || (path.len() >= 2 && path[0] == 2 && [0, 1, 2, 5, 6, 7].contains(&path[1]) && {
            // A point within a list of points has two coordinates; a list within the last list is free.
            path.len() == 2 || path[1] == 7
        })
}

#[test]
fn a_list_in_place_of_bytes_and_bytes_in_place_of_a_list_are_refused() {
    for version in 1..=3 {
        for path in forge::rlp(version).paths() {
            let bytes = changed(version, |rlp| {
                let item = rlp.at(&path);
                *item = match item {
                    Item::Bytes(_) => Item::List(vec![]),
                    Item::List(_) => forge::bytes(&[]),
                };
            });
            assert!(open(&bytes).is_err(), "version byte {version} at {path:?}");
        }
    }
}

#[test]
fn numbers_have_one_form_and_a_limit() {
    let set = |path: &'static [usize], value: &[u8]| {
        let value = forge::bytes(value);
        changed(2, |rlp| *rlp.at(path) = value)
    };
    assert_eq!(field_of(&set(&[0, 1], &[0, 1])), "referenceBlockNumber");
    assert_eq!(field_of(&set(&[0, 1], &[1, 0, 0, 0, 0])), "referenceBlockNumber");
    assert_eq!(field_of(&set(&[0, 1], &[0])), "referenceBlockNumber");
    assert_eq!(field_of(&set(&[0, 0], &[0xab; 31])), "batchRoot");
    assert_eq!(field_of(&set(&[0, 0], &[0xab; 33])), "batchRoot");
    assert_eq!(field_of(&set(&[1, 0, 0, 0], &[1, 0, 0])), "version");
    assert_eq!(field_of(&set(&[1, 0, 0, 2, 1, 0, 0], &[0, 1])), "lengthCommitment");
    assert_eq!(field_of(&set(&[1, 0, 0, 2, 1, 0, 0], &[1; 33])), "lengthCommitment");
    assert_eq!(field_of(&set(&[2, 4, 1], &[0])), "sigma");
    assert_eq!(field_of(&set(&[1, 1], &[1, 0, 0, 0, 0])), "blobIndex");
    open(&set(&[2, 4, 1], &[0xff; 32])).expect("whether it is a point of the curve is not looked at");
    open(&set(&[2, 4, 1], &[])).expect("zero is no bytes");
}

#[test]
fn the_commitment_is_a_point_and_the_length_a_power_of_two() {
    let length = |value: u64| open(&changed(2, |rlp| *rlp.at(&[1, 0, 0, 2, 3]) = forge::number(value)));
    for symbols in [0, 3, 1023, 1 << 20, u64::from(u32::MAX)] {
        assert_eq!(length(symbols), Err(CertificateError::Domain(DomainError { symbols })));
    }
    assert!(length(1 << 32).is_err());
    assert_eq!(length(1 << 19).unwrap().blob_header().domain.symbols(), 1 << 19);
    let y = |value: Item| open(&changed(2, |rlp| *rlp.at(&[1, 0, 0, 2, 0, 1]) = value));
    assert_eq!(y(forge::number(3)), Err(CertificateError::Commitment(PointError::NotOnCurve)));
    assert_eq!(y(forge::bytes(&[0xff; 32])), Err(CertificateError::Commitment(PointError::Coordinate)));
}

proptest! {
    /// RLP has one form for each value, so a change either breaks it or changes what it says; either way it has another name.
    #[test]
    fn a_flipped_bit_never_gives_the_same_contents(version in 1u8..=3, bit in any::<prop::sample::Index>()) {
        let bytes = forge::standard(version);
        let original = Certificate::read(Bytes::from(bytes.clone())).unwrap();
        let bit = bit.index(bytes.len() * 8);
        let mut other = bytes;
        other[bit / 8] ^= 1 << (bit % 8);
        if let Ok(certificate) = Certificate::read(Bytes::from(other)) {
            prop_assert_ne!(certificate.id(), original.id());
            prop_assert_ne!(certificate.open(), original.open());
        }
    }

    #[test]
    fn mutations_are_read_without_panic(
        version in 1u8..=3,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..5, prop::collection::vec(any::<u8>(), 0..5)), 1..6),
    ) {
        let mut bytes = forge::op_generic(version);
        for (at, removed, inserted) in cuts {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + removed);
            bytes.splice(at..end, inserted);
            prop_assume!(!bytes.is_empty());
        }
        let _ = open(&bytes);
    }

    #[test]
    fn any_bytes_are_read_without_panic(version in 0u8..5, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = open(&[&[version][..], &bytes].concat());
        let list = Item::List(bytes.chunks(20).map(forge::bytes).collect());
        let _ = open(&[vec![version], list.encode()].concat());
    }
}

/// Certificates of live networks, one in hex in each file of the directory named by EIGENDA_CERTIFICATES.
#[test]
#[ignore = "it needs recorded certificates, which are not in the package"]
fn recorded_certificates_open() {
    let directory = std::env::var("EIGENDA_CERTIFICATES").expect("EIGENDA_CERTIFICATES names a directory");
    let mut count = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let bytes = hex::decode(std::fs::read_to_string(&path).unwrap().trim()).unwrap();
        let certificate = Certificate::read(Bytes::from(bytes)).unwrap();
        let contents = certificate.open().unwrap();
        println!("{}: {:?} {:?} {contents:#?}", path.display(), certificate.mode(), certificate.version());
        count += 1;
    }
    assert!(count > 0, "there are none");
}
