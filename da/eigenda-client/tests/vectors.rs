//! Commitments and proofs as others make them: `vectors.py` beside this file, which shares nothing with this crate, and rust-kzg.

#![allow(clippy::unwrap_used)]

use alloy_primitives::hex;
use eigenda_client::{Blob, Commitment, EncodedPayload, JointOpening, Opening, Srs};

#[derive(serde::Deserialize)]
struct Vector {
    payload_bytes: usize,
    symbols: u32,
    blob: String,
    commitment: String,
    index: u32,
    opening: String,
    places: Vec<u32>,
    joint_opening: String,
}

/// Payload bytes, place, commitment and opening as rust-kzg-bn254-prover 0.1.3 makes them (and 0.1.4 of its verifier accepts).
/// Its commitments were found equal to those in the certificates of EigenDA's own proxy.
const OF_RUST_KZG: [(usize, u32, &str, &str); 2] = [
    (
        1000,
        20,
        "1dc13bca169859773f5166974bb148b4633dce21b4f1ee70a5ee58b9d2891668232add058fa56758f4a0c2f2654221f9cea35f6c2bc1318a44144112af06a59b",
        "2f831e458b4e902d9fbe947b0996ffb2b60b5c19953415444d4bab7055d54bc227dc90462ddc2df231973be2ecc14bee74ed8f22dd7800ef2bc4a891604a4e2b",
    ),
    (
        31713,
        777,
        "1ae78372b4ae04efa70cd33310ad3dc069e8663a051d8069f93b3f0aef0ab6a52dac249964fd219eba3c6c13c601c3c2a1a05aabddd824bc220bebd5fb483361",
        "1aa9d472373298f273ff88865963278b420bf21948a1e10e2bf17cac30e26eba14a3c2c946705252557c2af4f425c4df729fd10dc4bc5722689cc0aa71c5e374",
    ),
];

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * at + 7 * at + 3) % 256).unwrap()).collect()
}

#[test]
fn commitments_and_openings_equal_those_of_rust_kzg() {
    let srs = Srs::read(include_bytes!("../testdata/g1-1024.point")).unwrap();
    for (bytes, index, commitment, opening) in OF_RUST_KZG {
        let blob = Blob::of(&EncodedPayload::encode(&payload(bytes)).unwrap());
        assert_eq!(hex::encode(Commitment::to(&blob, &srs).unwrap().to_bytes()), commitment);
        assert_eq!(hex::encode(Opening::of(&blob, index, &srs).unwrap().1.to_bytes()), opening);
    }
}

#[test]
fn commitments_and_proofs_equal_those_of_another_implementation() {
    let srs = Srs::read(include_bytes!("../testdata/g1-1024.point")).unwrap();
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    assert_eq!(vectors.len(), 7);
    for vector in vectors {
        let encoded = EncodedPayload::encode(&payload(vector.payload_bytes)).unwrap();
        assert_eq!(encoded.domain().symbols(), vector.symbols);
        let blob = Blob::of(&encoded);
        assert_eq!(hex::encode(blob.to_bytes()), vector.blob);
        let commitment = Commitment::to(&blob, &srs).unwrap();
        assert_eq!(hex::encode(commitment.to_bytes()), vector.commitment);
        let (claim, opening) = Opening::of(&blob, vector.index, &srs).unwrap();
        assert_eq!(hex::encode(opening.to_bytes()), vector.opening);
        opening.check(&claim, &commitment, blob.domain()).unwrap();
        let (claims, joint) = JointOpening::of(&blob, &commitment, &vector.places, &srs).unwrap();
        assert_eq!(hex::encode(joint.to_bytes()), vector.joint_opening);
        joint.check(&claims, &commitment, blob.domain()).unwrap();
    }
}
