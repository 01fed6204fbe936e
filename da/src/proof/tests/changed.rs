//! Whatever is changed in a proof, it is refused.

use serde_json::Value;

use super::*;
use crate::canonical;

/// Where the texts and numbers of a proof stand in its JSON.
fn leaves(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Object(members) => members.iter().flat_map(|(name, value)| leaves(value, &format!("{at}/{name}"))).collect(),
        Value::Array(items) => items.iter().enumerate().flat_map(|(n, value)| leaves(value, &format!("{at}/{n}"))).collect(),
        _ => vec![at.to_owned()],
    }
}

/// Flips a bit of the bytes that a text stands for, or of a number.
fn flip(leaf: &Value, bit: usize) -> Value {
    let Some(text) = leaf.as_str() else { return (leaf.as_u64().unwrap() ^ (1 << (bit % 32))).into() };
    let bytes = canonical::parse_hex(text).unwrap();
    canonical::hex(&flipped(&bytes, bit % (8 * bytes.len())).0).into()
}

/// The certificates of a blob that can be told apart.
fn certificates(published: &Published) -> Vec<Bytes> {
    let standard = [1, 2, 3].map(|version| eigenda(version, &published.committed));
    let generic = standard.clone().map(|certificate| Bytes::from([&[1, 0][..], &certificate[..]].concat()));
    [&[published.certificate.clone()][..], &standard[..], &generic[..]].concat()
}

/// A proof of some event, by any certificate.
fn any_proof() -> impl Strategy<Value = (EventProof, Hash)> {
    let sizes = prop::collection::vec(0usize..6, 1..4).prop_filter("no event", |sizes| sizes.iter().any(|size| *size > 0));
    (sizes, any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(sizes, which, whose)| {
        let batches = sizes.iter().map(|size| events(*size)).collect::<Vec<_>>();
        let places = batches.iter().enumerate().flat_map(|(batch, events)| (0..events.len()).map(move |event| (batch, event)));
        let (batch, ordinal) = places.collect::<Vec<_>>()[which.index(sizes.iter().sum())];
        let published = Published::of(&batches);
        let certificate = whose.get(&certificates(&published)).clone();
        (published.proof_by(&certificate, batch, u32::try_from(ordinal).unwrap()), keccak256(&certificate))
    })
}

fn is_refused(changed: &Value, blob_id: &Hash) -> bool {
    EventProof::parse(changed.to_string().as_bytes()).and_then(|proof| proof.verify(blob_id)).is_err()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_of_any_member_of_any_proof_is_refused(
        (proof, blob_id) in any_proof(), bits in prop::collection::vec(any::<usize>(), 64),
    ) {
        prop_assert!(proof.verify(&blob_id).is_ok());
        let right = serde_json::to_value(&proof).unwrap();
        let leaves = leaves(&right, "");
        prop_assert_eq!(leaves.len(), 10 + 3 * HEADER_SYMBOLS + proof.proof.path.len());
        for (at, bit) in leaves.iter().zip(bits) {
            let mut wrong = right.clone();
            let leaf = wrong.pointer_mut(at).unwrap();
            *leaf = flip(leaf, bit);
            prop_assert!(is_refused(&wrong, &blob_id), "bit {bit} of {at}");
        }
    }

    #[test]
    fn any_list_of_any_proof_is_refused_with_an_element_less_or_more_or_elsewhere(
        (proof, blob_id) in any_proof(), one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(),
    ) {
        let right = serde_json::to_value(&proof).unwrap();
        for at in ["/proof/path", "/proof/opening/symbolIndexes", "/proof/opening/symbols", "/proof/opening/proofs"] {
            let items = right.pointer(at).unwrap().as_array().unwrap().clone();
            if items.is_empty() {
                continue;
            }
            let (one, other) = (one.index(items.len()), other.index(items.len()));
            let (mut less, mut more, mut swapped) = (items.clone(), items.clone(), items.clone());
            less.remove(one);
            more.insert(other, items[one].clone());
            swapped.swap(one, other);
            for changed in [less, more, swapped].into_iter().filter(|changed| *changed != items) {
                let mut wrong = right.clone();
                *wrong.pointer_mut(at).unwrap() = changed.into();
                prop_assert!(is_refused(&wrong, &blob_id), "{at}, elements {one} and {other}");
            }
        }
    }
}

/// The local certificate with other bytes for its commitment, and the hash that belongs to them.
fn local_with(point: &[u8; 64]) -> Bytes {
    let fields = [&PUBLISHED.certificate[..68], point].concat();
    Bytes::from([&fields[..], keccak256(&fields).as_slice()].concat())
}

#[test]
fn a_commitment_with_any_flipped_bit_is_refused_even_if_the_certificate_with_it_is_trusted() {
    let right = PUBLISHED.committed.commitment.to_bytes();
    assert_eq!(local_with(&right), PUBLISHED.certificate);
    for bit in 0..512 {
        let mut point = right;
        point[bit / 8] ^= 1 << (bit % 8);
        for certificate in [local_with(&point), eigenda_with(2, &point, PUBLISHED.committed.domain)] {
            let mut wrong = PROOF.clone();
            wrong.proof.blob.certificate = HexBytes(certificate.clone());
            let error = wrong.verify(&keccak256(&certificate)).unwrap_err();
            assert_eq!(error.code(), "proof_certificate", "bit {bit}: {error}");
        }
    }
}

#[test]
fn another_commitment_breaks_the_openings_even_if_the_certificate_with_it_is_trusted() {
    let mut generator = [0; 64];
    (generator[31], generator[63]) = (1, 2);
    let other = Published::of(&[events(5), Vec::new(), events(4), events(1)]).committed.commitment.to_bytes();
    for point in [[0; 64], generator, other] {
        for certificate in [local_with(&point), eigenda_with(3, &point, PUBLISHED.committed.domain)] {
            let mut wrong = PROOF.clone();
            wrong.proof.blob.certificate = HexBytes(certificate.clone());
            assert_eq!(wrong.verify(&keccak256(&certificate)), Err(ProofError::Opening(KzgError::False)));
        }
    }
}
