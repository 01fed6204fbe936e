//! Payloads, encoded payloads and blobs.

#![allow(clippy::unwrap_used)]

use eigenda_client::payload::{PAYLOAD_BYTES_MAX, symbols_of};
use eigenda_client::{Blob, Domain, DomainError, EncodedPayload, PayloadError, Symbol};
use proptest::prelude::*;

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..2000)
}

/// The modulus of the scalar field.
const MODULUS: [u8; 32] = [
    0x30, 0x64, 0x4e, 0x72, 0xe1, 0x31, 0xa0, 0x29, 0xb8, 0x50, 0x45, 0xb6, 0x81, 0x81, 0x58, 0x5d, 0x28, 0x33, 0xe8, 0x48, 0x79,
    0xb9, 0x70, 0x91, 0x43, 0xe1, 0xf5, 0x93, 0xf0, 0x00, 0x00, 0x01,
];

proptest! {
    #[test]
    fn a_payload_comes_back_from_its_encoding(payload in payload()) {
        let encoded = EncodedPayload::encode(&payload).unwrap();
        prop_assert_eq!(encoded.payload(), payload);
        prop_assert_eq!(EncodedPayload::read(encoded.as_bytes().to_vec()), Ok(encoded));
    }

    #[test]
    fn a_payload_comes_back_from_its_blob(payload in payload()) {
        let encoded = EncodedPayload::encode(&payload).unwrap();
        let blob = Blob::of(&encoded);
        prop_assert_eq!(blob.domain(), encoded.domain());
        prop_assert_eq!(Blob::read(&blob.to_bytes()), Ok(blob.clone()));
        prop_assert_eq!(blob.encoded(), Ok(encoded));
    }

    #[test]
    fn a_payload_comes_back_from_a_larger_domain(payload in payload(), doublings in 0u32..4) {
        let smallest = Domain::of_payload(payload.len()).unwrap();
        let domain = Domain::new(smallest.symbols() << doublings).unwrap();
        let encoded = EncodedPayload::encode_in(domain, &payload).unwrap();
        prop_assert_eq!(encoded.domain(), domain);
        prop_assert_eq!(Blob::of(&encoded).encoded().unwrap().payload(), payload);
    }

    /// A flipped bit in the payload gives another payload; everywhere else it is refused.
    #[test]
    fn a_flipped_bit_never_goes_unseen(payload in payload(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let encoded = EncodedPayload::encode(&payload).unwrap();
        let mut bytes = encoded.as_bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let in_payload = place > 32 && place % 32 != 0 && (place / 32 - 1) * 31 + place % 32 - 1 < payload.len();
        match EncodedPayload::read(bytes) {
            Ok(other) => prop_assert!(other.payload() != payload && (in_payload || (2..6).contains(&place))),
            Err(_) => prop_assert!(!in_payload),
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = EncodedPayload::read(bytes.clone());
        let _ = Blob::read(&bytes);
    }

    #[test]
    fn a_byte_is_in_the_symbol_that_is_said_to_hold_it(payload in payload(), at in any::<prop::sample::Index>()) {
        let at = at.index(payload.len());
        let encoded = EncodedPayload::encode(&payload).unwrap();
        let places = symbols_of(at..at + 1).unwrap();
        prop_assert_eq!(places.len(), 1);
        let symbol = encoded.symbol(places.start).unwrap();
        prop_assert_eq!(symbol.payload().unwrap()[at % 31], payload[at]);
    }
}

#[test]
fn sizes_are_those_of_eigenda() {
    assert_eq!(PAYLOAD_BYTES_MAX, 16_252_897);
    for exponent in 1..=19 {
        let domain = Domain::new(1 << exponent).unwrap();
        let largest = ((1 << exponent) - 1) * 31;
        assert_eq!(domain.payload_bytes_max(), largest);
        assert_eq!(domain.bytes(), 32 << exponent);
        assert_eq!(Domain::of_payload(largest), Ok(domain));
        let above = Domain::of_payload(largest + 1);
        assert_eq!(above.ok(), Domain::new(2 << exponent).ok());
        assert_eq!(domain.symbols_billed(), (1 << exponent).max(4096));
    }
    assert_eq!(Domain::of_payload(1).unwrap().symbols(), 2);
    assert_eq!(Domain::of_payload(0), Err(PayloadError::Empty));
    assert_eq!(Domain::of_payload(PAYLOAD_BYTES_MAX + 1), Err(PayloadError::TooLarge { bytes: PAYLOAD_BYTES_MAX + 1 }));
    assert_eq!(Domain::of_payload(usize::MAX), Err(PayloadError::TooLarge { bytes: usize::MAX }));
    for symbols in [0, 3, 1 << 20, u32::MAX] {
        assert_eq!(Domain::new(symbols), Err(DomainError { symbols: u64::from(symbols) }));
    }
}

#[test]
fn the_largest_payload_goes_through_a_blob() {
    let payload = vec![0xa5; PAYLOAD_BYTES_MAX];
    let encoded = EncodedPayload::encode(&payload).unwrap();
    assert_eq!(encoded.as_bytes().len(), 16 << 20);
    assert_eq!(Blob::of(&encoded).encoded().unwrap().payload(), payload);
}

/// The example of EigenDA's specification.
#[test]
fn hello_is_encoded_as_in_the_specification() {
    let encoded = EncodedPayload::encode(b"hello").unwrap();
    let mut expected = [0; 64];
    expected[5] = 5;
    expected[33..38].copy_from_slice(b"hello");
    assert_eq!(encoded.as_bytes(), expected);
}

#[test]
fn every_rule_of_the_encoding_has_its_refusal() {
    let refused = |at: usize, byte: u8| {
        let mut bytes = EncodedPayload::encode(&[1; 40]).unwrap().as_bytes().to_vec();
        assert_eq!(bytes.len(), 128);
        bytes[at] = byte;
        EncodedPayload::read(bytes).unwrap_err()
    };
    assert_eq!(refused(0, 1), PayloadError::Padding { at: 0 });
    assert_eq!(refused(1, 1), PayloadError::Version { version: 1 });
    assert_eq!(refused(2, 1), PayloadError::Length { claimed: 40 + (1 << 24), room: 93 });
    assert_eq!(refused(5, 94), PayloadError::Length { claimed: 94, room: 93 });
    assert_eq!(refused(5, 0), PayloadError::Empty);
    assert_eq!(refused(5, 39), PayloadError::Padding { at: 64 + 9 });
    assert_eq!(refused(6, 1), PayloadError::Padding { at: 6 });
    assert_eq!(refused(31, 1), PayloadError::Padding { at: 31 });
    assert_eq!(refused(32, 1), PayloadError::Padding { at: 32 });
    assert_eq!(refused(64 + 10, 1), PayloadError::Padding { at: 64 + 10 });
    assert_eq!(refused(127, 1), PayloadError::Padding { at: 127 });
    for bytes in [0, 1, 31, 33, 96, 32 << 20] {
        assert_eq!(EncodedPayload::read(vec![0; bytes]), Err(PayloadError::Size { bytes }));
        assert_eq!(Blob::read(&vec![0; bytes]), Err(PayloadError::Size { bytes }));
    }
    assert_eq!(EncodedPayload::read(vec![0; 32]), Err(PayloadError::Empty));
    assert_eq!(EncodedPayload::encode(&[]), Err(PayloadError::Empty));
    let domain = Domain::new(2).unwrap();
    assert_eq!(EncodedPayload::encode_in(domain, &[0; 32]), Err(PayloadError::TooLarge { bytes: 32 }));
    assert_eq!(EncodedPayload::encode_in(domain, &[]), Err(PayloadError::Empty));
}

#[test]
fn the_modulus_is_no_coefficient_and_no_symbol() {
    let mut bytes = [0; 64];
    bytes[32..].copy_from_slice(&MODULUS);
    assert_eq!(Blob::read(&bytes), Err(PayloadError::NotInField { index: 1 }));
    assert!(Symbol::new(MODULUS).is_err());
    bytes[63] -= 1;
    let blob = Blob::read(&bytes).unwrap();
    assert_eq!(blob.to_bytes(), bytes);
    assert!(matches!(blob.encoded(), Err(PayloadError::Padding { .. })), "most polynomials are no encoded payload");
}

#[test]
fn places_are_counted_from_the_header() {
    assert_eq!(symbols_of(0..0), Some(1..1));
    assert_eq!(symbols_of(0..1), Some(1..2));
    assert_eq!(symbols_of(0..248), Some(1..9));
    assert_eq!(symbols_of(1..249), Some(1..10));
    assert_eq!(symbols_of(62..63), Some(3..4));
    assert_eq!(symbols_of(PAYLOAD_BYTES_MAX - 1..PAYLOAD_BYTES_MAX), Some(524_287..524_288));
    assert_eq!(symbols_of(0..PAYLOAD_BYTES_MAX + 1), None);
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 2..1;
    assert_eq!(symbols_of(reversed), None);
}

#[test]
fn a_symbol_of_payload_has_room_for_31_bytes() {
    assert_eq!(Symbol::of_payload(&[7; 31]).unwrap().payload(), Some(&[7; 31][..]));
    assert_eq!(Symbol::of_payload(&[7; 32]), None);
    let high = Symbol::new([1; 32]).unwrap();
    assert_eq!(high.payload(), None);
}
