//! What a proof proves, and that nothing else passes for one.
#![allow(clippy::unwrap_used)]

mod cases;
mod changed;
mod planted;
mod sizes;

use std::sync::LazyLock;

use eigenda_client::{Blob, Commitment, Domain, EncodedPayload};
use proptest::prelude::*;
use tributary_journal::header::Codec;
use tributary_journal::{Contents, DeploymentId, SealedBatch};
use tributary_schemas::ids::{Offset, Partition, Seq, Timestamp};

use super::*;
use crate::blob;
use crate::committer::Committer;
use crate::eigenda::stub::forge;
use crate::local::LocalCertificate;

const PARTITION: u32 = 3;
const FIRST_SEQ: u64 = 5;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + micros).unwrap()
}

/// Bytes that no compressor makes shorter.
fn noise(seed: &str, bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(32)).flat_map(|n| keccak256(format!("{seed} {n}")).0).take(bytes).collect()
}

/// A run of batches that begins with [`FIRST_SEQ`], as of a partition that had others before.
fn seal(batches: &[Vec<Bytes>]) -> Vec<SealedBatch> {
    let mut sealed: Vec<SealedBatch> = Vec::new();
    for number in 0..FIRST_SEQ + batches.len() as u64 {
        let events = number.checked_sub(FIRST_SEQ).map_or_else(Vec::new, |i| batches[usize::try_from(i).unwrap()].clone());
        let previous = sealed.last().map(|batch| batch.header.clone());
        let offset = previous.as_ref().map_or(0, |header| header.next_offset.get()) + events.len() as u64 + 1;
        let contents = Contents {
            deployment: DeploymentId([7; 16]),
            partition: Partition::new(PARTITION).unwrap(),
            previous,
            next_offset: Offset::new(offset).unwrap(),
            last_record_hash: keccak256(offset.to_be_bytes()),
            times: (at(0), at(9)),
            sealed_at: at(10),
            events,
        };
        sealed.push(SealedBatch::seal(contents).unwrap());
    }
    sealed.split_off(usize::try_from(FIRST_SEQ).unwrap())
}

/// Batches in a blob.
struct Published {
    batches: Vec<SealedBatch>,
    payload: Bytes,
    committed: BlobCommitment,
    certificate: Bytes,
}

impl Published {
    fn of(events: &[Vec<Bytes>]) -> Self {
        let batches = seal(events);
        let payload = blob::encode(&batches);
        let encoded = EncodedPayload::encode(&payload).unwrap();
        let domain = encoded.domain();
        let srs = Committer::shipped().points_for(domain).unwrap();
        let commitment = Commitment::to(&Blob::of(&encoded), &srs).unwrap();
        let committed = BlobCommitment { commitment, domain };
        Self { certificate: local(&payload, committed), batches, payload, committed }
    }

    fn blob(&self) -> Blob {
        Blob::of(&EncodedPayload::encode(&self.payload).unwrap())
    }

    fn opening(&self, batch: usize) -> HeaderOpening {
        open(&self.payload, self.batches[batch].header.seq, &self.committed, &Committer::shipped()).unwrap()
    }

    /// The proof of an event, by the certificate that is given.
    fn proof_by(&self, certificate: &Bytes, batch: usize, ordinal: u32) -> EventProof {
        let sealed = &self.batches[batch];
        let event = sealed.events().unwrap()[ordinal as usize].clone();
        let path = sealed.proof(ordinal).unwrap();
        EventProof::new((ordinal, event), &path, &sealed.header, (certificate.clone(), self.opening(batch)))
    }

    fn proof(&self, batch: usize, ordinal: u32) -> EventProof {
        self.proof_by(&self.certificate, batch, ordinal)
    }

    fn blob_id(&self) -> Hash {
        keccak256(&self.certificate)
    }
}

fn local(payload: &[u8], committed: BlobCommitment) -> Bytes {
    let fields = LocalCertificate {
        content_hash: keccak256(payload),
        payload_bytes: payload.len() as u64,
        certified_at: at(20),
        expires_at: at(21),
        committed,
    };
    fields.encode()
}

/// A certificate of EigenDA with this commitment, of the version with this byte.
fn eigenda(version: u8, committed: &BlobCommitment) -> Bytes {
    eigenda_with(version, &committed.commitment.to_bytes(), committed.domain)
}

/// The same with a commitment that need be none.
fn eigenda_with(version: u8, point: &[u8; 64], domain: Domain) -> Bytes {
    let mut rlp = forge::rlp(version);
    let header = [if version == 1 { 0 } else { 1 }, 0, 0, 2];
    let shortest = |number: &[u8]| forge::bytes(&number[number.iter().take_while(|byte| **byte == 0).count()..]);
    *rlp.at(&[&header[..], &[0, 0]].concat()) = shortest(&point[..32]);
    *rlp.at(&[&header[..], &[0, 1]].concat()) = shortest(&point[32..]);
    *rlp.at(&[&header[..], &[3]].concat()) = forge::number(domain.symbols().into());
    Bytes::from([&[version][..], &rlp.encode()].concat())
}

/// The openings of the symbols at these places, as anybody makes them who has the whole blob, which anybody has.
fn opened(blob: &Blob, prelude: u32, header: [u32; HEADER_SYMBOLS]) -> HeaderOpening {
    let srs = Committer::shipped().points_for(blob.domain()).unwrap();
    let open = |place| {
        let (claim, proof) = Opening::of(blob, place, &srs).unwrap();
        SymbolOpening { symbol_index: place, symbol: Hex(*claim.symbol.as_bytes()), proof: Hex(proof.to_bytes()) }
    };
    let opened = header.map(open);
    HeaderOpening {
        symbol_indexes: header,
        symbols: opened.each_ref().map(|one| one.symbol),
        proofs: opened.each_ref().map(|one| one.proof),
        blob_symbols: blob.domain().symbols(),
        prelude: open(prelude),
    }
}

fn events(count: usize) -> Vec<Bytes> {
    (0..count).map(|n| Bytes::from(noise(&format!("event {n} of {count}"), 40 + 7 * n))).collect()
}

/// Three batches, the second without events.
static PUBLISHED: LazyLock<Published> = LazyLock::new(|| Published::of(&[events(5), Vec::new(), events(4)]));
/// An event of the last batch.
static PROOF: LazyLock<EventProof> = LazyLock::new(|| PUBLISHED.proof(2, 1));

fn verify(proof: &EventProof) -> Result<Proved, ProofError> {
    proof.verify(&PUBLISHED.blob_id())
}

fn refused(what: &str, proof: &EventProof) -> ProofError {
    verify(proof).err().unwrap_or_else(|| panic!("{what} was accepted"))
}

/// Flips every bit that `bytes_of` leads to, one at a time.
fn refuse_flips(what: &str, bytes_of: impl Fn(&mut EventProof) -> &mut [u8]) {
    let mut proof = PROOF.clone();
    for bit in 0..bytes_of(&mut proof).len() * 8 {
        bytes_of(&mut proof)[bit / 8] ^= 1 << (bit % 8);
        refused(&format!("bit {bit} of {what}"), &proof);
        bytes_of(&mut proof)[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(proof, *PROOF);
}

fn flipped(bytes: &Bytes, bit: usize) -> HexBytes {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    HexBytes(flipped.into())
}

#[test]
fn every_event_of_every_batch_is_proved() {
    for (batch, sealed) in PUBLISHED.batches.iter().enumerate() {
        for ordinal in 0..sealed.header.events {
            let proof = PUBLISHED.proof(batch, ordinal);
            let proved = verify(&proof).unwrap();
            assert_eq!((proved.header, proved.ordinal, proved.backend), (sealed.header.clone(), ordinal, "local"));
            assert_eq!(proved.batch_in_blob as usize, batch);
            assert_eq!(EventProof::parse(proof.to_json().as_bytes()), Ok(proof));
        }
    }
}

#[test]
fn a_proof_that_another_program_made_from_the_documents_is_proved() {
    for (text, backend, ordinal) in [(cases::LOCAL, "local", 1), (cases::EIGENDA, "eigenda", 0)] {
        let whole: serde_json::Value = serde_json::from_str(text).unwrap();
        let blob_id = tributary_schemas::units::parse_hash(whole["blobId"].as_str().unwrap()).unwrap();
        let proof = EventProof::parse(text.as_bytes()).unwrap();
        let proved = proof.verify(&blob_id).unwrap();
        assert_eq!((proved.backend, proved.batch_in_blob, proved.ordinal, proved.header.seq.get()), (backend, 2, ordinal, 43));
        match tributary_schemas::protobuf::decode(&proof.raw.0) {
            Ok(event) => assert_eq!(proved.label.unwrap().id, event.draft.id),
            Err(_) => assert_eq!((&proof.raw.0[..], proved.label), (&b"no event at all"[..], None)),
        }
        let compact = whole["event"].to_string();
        assert_eq!(EventProof::parse(compact.as_bytes()), Ok(proof));
    }
}

#[test]
fn certificates_of_eigenda_of_every_version_lead_to_the_same_proof() {
    for version in 1..=3 {
        let standard = eigenda(version, &PUBLISHED.committed);
        let generic = Bytes::from([&[1, 0][..], &standard].concat());
        for certificate in [standard, generic] {
            let proof = PUBLISHED.proof_by(&certificate, 0, 2);
            assert_eq!(proof.verify(&keccak256(&certificate)).unwrap().backend, "eigenda");
            assert_eq!(proof.proof.opening, PUBLISHED.proof(0, 2).proof.opening);
            assert!(matches!(verify(&proof), Err(ProofError::BlobId { .. })));
        }
    }
}

#[test]
fn every_flipped_bit_of_event_path_header_prelude_symbols_and_openings_is_refused() {
    for bit in 0..PROOF.raw.0.len() * 8 {
        let raw = flipped(&PROOF.raw.0, bit);
        assert_eq!(refused("an event", &EventProof { raw, ..PROOF.clone() }).code(), "proof_event");
    }
    refuse_flips("leaf", |proof| &mut proof.proof.leaf.0);
    refuse_flips("batchRoot", |proof| &mut proof.proof.batch_root.0);
    refuse_flips("batchHeader", |proof| &mut proof.proof.batch_header.0);
    refuse_flips("prelude.symbol", |proof| &mut proof.proof.opening.prelude.symbol.0);
    refuse_flips("prelude.proof", |proof| &mut proof.proof.opening.prelude.proof.0);
    assert!(PROOF.proof.path.len() > 1);
    for sibling in 0..PROOF.proof.path.len() {
        refuse_flips("path", move |proof| &mut proof.proof.path[sibling].0);
    }
    for symbol in 0..HEADER_SYMBOLS {
        refuse_flips("symbols", move |proof| &mut proof.proof.opening.symbols[symbol].0);
        refuse_flips("proofs", move |proof| &mut proof.proof.opening.proofs[symbol].0);
    }
}

#[test]
fn every_flipped_bit_of_the_certificate_names_another_blob() {
    let certificates = [PUBLISHED.certificate.clone(), eigenda(3, &PUBLISHED.committed)];
    for certificate in certificates {
        let proof = PUBLISHED.proof_by(&certificate, 2, 1);
        for bit in 0..certificate.len() * 8 {
            let mut wrong = proof.clone();
            wrong.proof.blob.certificate = flipped(&certificate, bit);
            let error = wrong.verify(&keccak256(&certificate)).unwrap_err();
            assert!(matches!(error, ProofError::BlobId { .. }), "bit {bit}: {error}");
        }
    }
}

#[test]
fn every_flipped_bit_of_the_text_is_refused_in_any_spelling() {
    let text = PROOF.to_json().into_bytes();
    for bit in 0..text.len() * 8 {
        let mut wrong = text.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let checked = EventProof::parse(&wrong).and_then(|proof| verify(&proof));
        assert!(checked.is_err(), "bit {bit}: {}", String::from_utf8_lossy(&wrong));
    }
}

#[test]
fn a_wrong_index_or_ordinal_is_refused() {
    let right = &PROOF.proof.opening;
    for which in 0..HEADER_SYMBOLS {
        for index in (0..PUBLISHED.committed.domain.symbols()).chain([u32::MAX]).filter(|i| *i != right.symbol_indexes[which]) {
            let mut wrong = PROOF.clone();
            wrong.proof.opening.symbol_indexes[which] = index;
            assert_eq!(refused("an index", &wrong).code(), "proof_place");
        }
    }
    for ordinal in (0..9).chain([u32::MAX]).filter(|ordinal| *ordinal != PROOF.ordinal) {
        assert_eq!(refused("an ordinal", &EventProof { ordinal, ..PROOF.clone() }).code(), "proof_event");
    }
    let mut wrong = PROOF.clone();
    wrong.proof.opening.prelude.symbol_index = 0;
    assert_eq!(refused("a prelude elsewhere", &wrong).code(), "proof_place");
    // The opening of another batch's header, and the header with it.
    let mut wrong = PROOF.clone();
    wrong.proof.opening = PUBLISHED.opening(0);
    assert_eq!(refused("another header's opening", &wrong).code(), "proof_place");
    wrong.proof.batch_header = Hex(PUBLISHED.batches[0].header.encode());
    assert_eq!(refused("another header", &wrong).code(), "proof_path");
    // Two proofs in each other's place.
    let mut wrong = PROOF.clone();
    wrong.proof.opening.proofs.swap(0, 1);
    assert_eq!(refused("swapped proofs", &wrong), ProofError::Opening(KzgError::False));
    // All of it moved by one symbol.
    let mut wrong = PROOF.clone();
    wrong.proof.opening.symbol_indexes = right.symbol_indexes.map(|index| index + 1);
    assert_eq!(refused("everything moved", &wrong).code(), "proof_place");
}

#[test]
fn a_payload_that_is_not_the_blobs_gives_no_opening() {
    let committer = Committer::shipped();
    let (payload, committed) = (&PUBLISHED.payload, &PUBLISHED.committed);
    let seq = |number| Seq::new(number).unwrap();
    for bit in [8 * 40, payload.len() * 8 - 1] {
        let wrong = flipped(payload, bit).0;
        let opened = open(&wrong, seq(FIRST_SEQ), committed, &committer);
        assert!(matches!(&opened, Err(crate::DaError::Corrupt { what, .. }) if what.contains("commits")), "{opened:?}");
    }
    for (bytes, number) in [(payload.len(), FIRST_SEQ - 1), (payload.len(), FIRST_SEQ + 3), (30, FIRST_SEQ), (0, FIRST_SEQ)] {
        let opened = open(&payload[..bytes], seq(number), committed, &committer);
        assert!(matches!(opened, Err(crate::DaError::Corrupt { .. })), "{opened:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_refused_as_such() {
    // The first version of the local backend's had no commitment.
    let mut older = PUBLISHED.certificate[..64].to_vec();
    older[4] = 1;
    older.extend_from_slice(keccak256(&older).as_slice());
    let older = Bytes::from(older);
    let proof = PUBLISHED.proof_by(&older, 0, 0);
    let error = proof.verify(&keccak256(&older)).unwrap_err();
    assert!(matches!(&error, ProofError::Certificate(what) if what.contains("version is 1")), "{error}");
    assert!(matches!(crate::committed(&older), Err(crate::DaError::Reject { .. })));
    for (certificate, backend) in [(&PUBLISHED.certificate, "local"), (&eigenda(3, &PUBLISHED.committed), "eigenda")] {
        assert_eq!(crate::committed(certificate).unwrap(), (backend, PUBLISHED.committed));
    }
}

#[test]
fn an_answer_with_more_in_it_is_a_proof_and_one_with_less_is_none() {
    let mut answer: serde_json::Value = serde_json::from_str(&PROOF.to_json()).unwrap();
    answer["source"] = "/somewhere".into();
    answer["proof"]["blob"]["commitment"] = "0x00".into();
    assert_eq!(EventProof::parse(answer.to_string().as_bytes()), Ok(PROOF.clone()));
    for around in [serde_json::json!({ "data": { "event": answer } }), serde_json::json!({ "event": { "proof": answer } })] {
        assert_eq!(EventProof::parse(around.to_string().as_bytes()), Ok(PROOF.clone()));
    }
    answer["proof"]["opening"].as_object_mut().unwrap().remove("prelude");
    assert_eq!(EventProof::parse(answer.to_string().as_bytes()).unwrap_err().code(), "proof_form");
    for text in ["", "{}", "null", "[]"] {
        assert_eq!(EventProof::parse(text.as_bytes()).unwrap_err().code(), "proof_form");
    }
    let mut short: serde_json::Value = serde_json::from_str(&PROOF.to_json()).unwrap();
    short["proof"]["opening"]["symbols"].as_array_mut().unwrap().pop();
    assert_eq!(EventProof::parse(short.to_string().as_bytes()).unwrap_err().code(), "proof_form");
}

#[test]
fn a_proof_takes_less_than_4_kib_without_event_and_certificate() {
    let binary = |proof: &EventProof| {
        let path = proof.proof.path.len() * 32;
        path + Header::BYTES + 9 * (Symbol::BYTES + 64) + 4
    };
    // A batch of 100,000 events, the most that one covers, has paths of 17 siblings.
    let longest = binary(&PROOF) + (17 - PROOF.proof.path.len()) * 32;
    assert!(longest < 2048, "{longest}");
    let text = PROOF.to_json().len() - 2 * (PROOF.raw.0.len() + PROOF.proof.blob.certificate.0.len());
    assert!(text + (17 - PROOF.proof.path.len()) * 69 < 4096, "{text}");
}

#[test]
fn the_documented_codes_are_those_of_the_errors() {
    let page = include_str!("../../../docs/proofs.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `proof_")?.split_once("` | "));
    let listed: Vec<String> = rows.map(|(code, _)| format!("proof_{code}")).collect();
    let known = [
        ProofError::Form(String::new()),
        ProofError::Certificate(String::new()),
        ProofError::Header(tributary_journal::Damage::Magic),
        ProofError::Ordinal { ordinal: 0, events: 0 },
        ProofError::Path(""),
        ProofError::Prelude(String::new()),
        ProofError::Place { what: "", stated: 0, computed: 0 },
        ProofError::Symbol { index: 0, what: "" },
        ProofError::Opening(KzgError::False),
        ProofError::Unnamed,
    ];
    assert_eq!(listed, known.map(|error| error.code().to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_event_of_any_batches_is_proved_and_no_other_event_at_its_place(
        sizes in prop::collection::vec(prop::collection::vec(16usize..300, 0..6), 1..5),
        which in any::<prop::sample::Index>(),
        another in any::<prop::sample::Index>(),
    ) {
        let batch = |(b, sizes): (usize, &Vec<usize>)| {
            let event = |(e, size): (usize, &usize)| Bytes::from(noise(&format!("{b} {e}"), *size));
            sizes.iter().enumerate().map(event).collect::<Vec<_>>()
        };
        let published = Published::of(&sizes.iter().enumerate().map(batch).collect::<Vec<_>>());
        let places = |(b, sizes): (usize, &Vec<usize>)| {
            (0..sizes.len()).map(move |e| (b, u32::try_from(e).unwrap())).collect::<Vec<_>>()
        };
        let all = sizes.iter().enumerate().flat_map(places).collect::<Vec<_>>();
        prop_assume!(!all.is_empty());
        let (place, other) = (all[which.index(all.len())], all[another.index(all.len())]);
        let (right, foreign) = (published.proof(place.0, place.1), published.proof(other.0, other.1));
        let proved = right.verify(&published.blob_id());
        prop_assert_eq!(proved.map(|proved| (proved.batch_in_blob as usize, proved.ordinal)), Ok(place));
        if place != other {
            let mixed = EventProof { raw: foreign.raw, ..right.clone() };
            prop_assert!(mixed.verify(&published.blob_id()).is_err());
            let mixed = EventProof { proof: foreign.proof, ..right };
            prop_assert!(mixed.verify(&published.blob_id()).is_err());
        }
    }
}
