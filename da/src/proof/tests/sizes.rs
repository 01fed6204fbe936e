//! The size of the blob: it decides what every place means.

use super::*;

/// Every size that a blob can have, but for the right one.
fn other_sizes() -> Vec<Domain> {
    let sizes = (0..=Domain::SYMBOLS_MAX.ilog2()).map(|power| Domain::new(1 << power).unwrap());
    let others = sizes.filter(|size| *size != PUBLISHED.committed.domain).collect::<Vec<_>>();
    assert_eq!(others.len(), 19);
    others
}

#[test]
fn a_wrong_size_is_refused_where_it_is_stated() {
    let right = PUBLISHED.committed.domain.symbols();
    let none = [0, 3, right - 1, right + 1, u32::MAX];
    for symbols in other_sizes().into_iter().map(Domain::symbols).chain(none) {
        let mut wrong = PROOF.clone();
        wrong.proof.opening.blob_symbols = symbols;
        assert_eq!(refused("a stated size", &wrong).code(), "proof_place", "{symbols}");
    }
}

#[test]
fn a_wrong_size_is_refused_where_it_is_certified() {
    for domain in other_sizes() {
        let committed = BlobCommitment { domain, ..PUBLISHED.committed };
        for certificate in [local(&PUBLISHED.payload, committed), eigenda(2, &committed)] {
            let mut wrong = PROOF.clone();
            wrong.proof.blob.certificate = HexBytes(certificate.clone());
            let blob_id = keccak256(&certificate);
            assert_eq!(wrong.verify(&blob_id).unwrap_err().code(), "proof_place", "{domain:?}");
            wrong.proof.opening.blob_symbols = domain.symbols();
            let error = wrong.verify(&blob_id).unwrap_err();
            let room = domain.payload_bytes_max() >= PUBLISHED.payload.len();
            assert_eq!(error.code(), if room { "proof_opening" } else { "proof_prelude" }, "{domain:?}: {error}");
        }
    }
}

/// The same polynomial, and with it the same commitment, in a blob of twice the size: place 2k of it is place k of the right one.
#[test]
fn a_blob_opened_as_one_of_twice_its_size_shows_the_header_only_where_it_must_not_be() {
    let domain = Domain::new(2 * PUBLISHED.committed.domain.symbols()).unwrap();
    let mut coefficients = PUBLISHED.blob().to_bytes();
    coefficients.resize(domain.bytes(), 0);
    let wider = Blob::read(&coefficients).unwrap();
    let right = &PROOF.proof.opening;
    let elsewhere = opened(&wider, 2, right.symbol_indexes.map(|index| 2 * index));
    assert_eq!((elsewhere.symbols, elsewhere.prelude.symbol), (right.symbols, right.prelude.symbol));
    let there = opened(&wider, 1, right.symbol_indexes);
    assert_ne!(there.symbols, right.symbols);

    let committed = BlobCommitment { domain, ..PUBLISHED.committed };
    for certificate in [PUBLISHED.certificate.clone(), local(&PUBLISHED.payload, committed), eigenda(3, &committed)] {
        let wider_is_certified = certificate != PUBLISHED.certificate;
        for (opening, code) in [(&elsewhere, "proof_place"), (&there, "proof_symbol")] {
            for blob_symbols in [domain.symbols(), domain.symbols() / 2] {
                let mut wrong = PROOF.clone();
                wrong.proof.blob.certificate = HexBytes(certificate.clone());
                wrong.proof.opening = HeaderOpening { blob_symbols, ..opening.clone() };
                let stated_right = wider_is_certified == (blob_symbols == domain.symbols());
                let error = wrong.verify(&keccak256(&certificate)).unwrap_err();
                assert_eq!(error.code(), if stated_right { code } else { "proof_place" }, "{error}");
            }
        }
    }
}
