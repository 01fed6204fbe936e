//! Headers that a producer plants in its events: flawless, and truly opened where they lie.

use super::*;
use crate::blob::PRELUDE_BYTES;

/// What was never recorded.
const FAKE_EVENT: &[u8] = b"never recorded";

/// A header that somebody made up: flawless, with the root of a tree of one event.
fn made_up(seq: u64) -> Header {
    let number = |seed: &str| u64::from_be_bytes(*keccak256(seed).first_chunk().unwrap()) >> 1;
    let (first, next) = (number("offset") / 2, number("offset") / 2 + number("length") / 2);
    let header = Header {
        codec: Codec::Verbatim,
        seq: Seq::new(seq).unwrap(),
        first_offset: Offset::new(first).unwrap(),
        next_offset: Offset::new(next).unwrap(),
        events: 1,
        raw_bytes: 50_000,
        body_bytes: 50_000,
        root: merkle::event_leaf(0, FAKE_EVENT),
        body_hash: keccak256("body"),
        previous_hash: keccak256("previous"),
        ..PUBLISHED.batches[0].header.clone()
    };
    header.check().unwrap();
    header
}

/// Why it is not believed that the blob holds this header, of a batch with that one event.
fn refusal(published: &Published, header: &Header, opening: &HeaderOpening) -> ProofError {
    let certified = (published.certificate.clone(), opening.clone());
    let proof = EventProof::new((0, Bytes::from_static(FAKE_EVENT)), &[], header, certified);
    proof.verify(&published.blob_id()).expect_err("nobody recorded this event")
}

/// Checks that every proof of the opening holds, and that its symbols are the header.
fn check_held(published: &Published, opening: &HeaderOpening, header: &Header) {
    let symbol = |n: usize| {
        let (index, symbol) = (opening.symbol_indexes[n], opening.symbols[n]);
        SymbolOpening { symbol_index: index, symbol, proof: opening.proofs[n] }.proven().unwrap()
    };
    let mut held = (0..HEADER_SYMBOLS).map(symbol).collect::<Vec<_>>();
    let joined = held.iter().flat_map(|(claim, _)| claim.symbol.payload().unwrap().to_vec()).collect::<Vec<_>>();
    assert_eq!(joined, header.encode());
    held.push(opening.prelude.proven().unwrap());
    Opening::check_all(&held, &published.committed.commitment, published.committed.domain).unwrap();
}

#[test]
fn a_header_planted_in_an_event_is_refused_wherever_it_says_that_it_is() {
    // The blob has one batch, so that bodies begin where header 1 would; its event begins four bytes later.
    let elsewhere = made_up(FIRST_SEQ + 2);
    let event = [&noise("before", Header::BYTES - 4)[..], &elsewhere.encode(), &noise("after", 4000)].concat();
    let published = Published::of(&[vec![event.into()]]);
    assert_eq!(published.batches[0].header.codec, Codec::Verbatim, "as it must be for the header to lie there as it is");
    let opening = opened(&published.blob(), PRELUDE_SYMBOL, places::of_header(2).unwrap());
    let refusal = |header: &Header, opening: &HeaderOpening| refusal(&published, header, opening);

    // The blob does hold these symbols, and they are the header: only the place is wrong.
    check_held(&published, &opening, &elsewhere);

    // It says that it is the third batch. The blob has one.
    assert_eq!(refusal(&elsewhere, &opening).code(), "proof_place");
    // The prelude is changed to say that it has three.
    let mut more = opening.clone();
    more.prelude.symbol.0[1 + 10] = 3;
    assert_eq!(refusal(&elsewhere, &more), ProofError::Opening(KzgError::False));
    // The prelude is that of a blob which has three.
    let other = Published::of(&[events(1), events(1), events(1)]);
    let more = HeaderOpening { prelude: other.opening(0).prelude, ..opening.clone() };
    assert_eq!(refusal(&elsewhere, &more), ProofError::Opening(KzgError::False));
    // It says that it is the batch which the blob has, and is looked for where that is.
    let there = made_up(FIRST_SEQ);
    assert_eq!(refusal(&there, &opening).code(), "proof_place");
    let moved = HeaderOpening { symbol_indexes: places::of_header(0).unwrap(), ..opening };
    assert_eq!(refusal(&there, &moved).code(), "proof_symbol");
    // The right symbols of the right place, for another header.
    assert_eq!(refusal(&there, &published.opening(0)).code(), "proof_symbol");
    // A batch before the first, and one of another partition.
    assert_eq!(refusal(&made_up(FIRST_SEQ - 1), &moved).code(), "proof_place");
    let foreign = Header { partition: Partition::new(PARTITION + 1).unwrap(), ..there };
    assert_eq!(refusal(&foreign, &moved).code(), "proof_place");
}

/// A blob with an event in which a prelude and a header after it are planted, each at the beginning of a symbol.
struct Plot {
    published: Published,
    /// The symbol of the planted prelude; the header's follow.
    at: u32,
    header: Header,
}

impl Plot {
    /// In a blob of so many batches, that many symbols after the first that an event can fill. The planted prelude counts batches
    /// from the right one on, the header says that it is the batch with this number.
    fn of(batches: usize, distance: usize, count: u32, seq: u64) -> Self {
        let begin = PRELUDE_BYTES + batches * Header::BYTES + 4;
        let symbol = begin.div_ceil(Symbol::PAYLOAD_BYTES) + distance;
        let header = made_up(seq);
        let prelude = [
            &b"TRDA\x01\0\0"[..],
            &count.to_be_bytes(),
            &PARTITION.to_be_bytes(),
            &FIRST_SEQ.to_be_bytes(),
            &(PRELUDE_BYTES as u64 + 4000).to_be_bytes(),
        ]
        .concat();
        let before = noise("before", symbol * Symbol::PAYLOAD_BYTES - begin);
        let event = [&before[..], &prelude, &header.encode(), &noise("after", 6000)].concat();
        let mut all = vec![vec![event.into()]];
        all.resize(batches, events(1));
        let published = Published::of(&all);
        assert_eq!(published.batches[0].header.codec, Codec::Verbatim, "as it must be for all to lie there as it is");
        Self { published, at: 1 + u32::try_from(symbol).unwrap(), header }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_header_planted_at_any_symbol_is_refused_whatever_prelude_it_comes_with(
        batches in 1usize..4, distance in 0usize..17, count in 1u32..9, seq in FIRST_SEQ - 1..FIRST_SEQ + 9,
    ) {
        let Plot { published, at, header } = Plot::of(batches, distance, count, seq);
        let truly = std::array::from_fn(|n| at + 1 + u32::try_from(n).unwrap());
        let index = u32::try_from(seq.saturating_sub(FIRST_SEQ)).unwrap();
        let by_its_number = places::of_header(index).unwrap();
        for prelude in [PRELUDE_SYMBOL, at] {
            let held = opened(&published.blob(), prelude, truly);
            check_held(&published, &held, &header);
            for (symbol_index, symbol_indexes) in [(prelude, truly), (prelude, by_its_number), (1, truly), (1, by_its_number)] {
                let mut stated = HeaderOpening { symbol_indexes, ..held.clone() };
                stated.prelude.symbol_index = symbol_index;
                let error = refusal(&published, &header, &stated);
                prop_assert!(["proof_place", "proof_opening"].contains(&error.code()), "{error}");
            }
        }
    }
}
