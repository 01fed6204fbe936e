//! Making the openings of a header.

use eigenda_client::{Blob, Claim, EncodedPayload, KzgError, Opening};
use tributary_schemas::ids::Seq;

use super::places::{self, HEADER_SYMBOLS, PRELUDE_SYMBOL};
use super::{HeaderOpening, Hex, SymbolOpening};
use crate::blob::{PRELUDE_BYTES, Prelude};
use crate::committer::{BlobCommitment, Committer};
use crate::error::DaError;

/// Opens a blob at the symbols of the header of batch `seq`, and at that of the prelude. What is given was checked against the
/// commitment, so that a payload which is not the blob's gives no opening.
///
/// It keeps a processor busy for nine multi-scalar multiplications as long as the blob: seconds for the largest. Call it where
/// that delays nobody, and keep what it gives: it never changes.
///
/// # Errors
/// [`DaError::Corrupt`] if the payload is not what was committed to or does not hold the batch; [`DaError::Reject`] if the
/// points do not reach the size of the blob, [`DaError::Retry`] if they cannot be read.
pub fn open(payload: &[u8], seq: Seq, committed: &BlobCommitment, committer: &Committer) -> Result<HeaderOpening, DaError> {
    let object = || format!("the payload with batch {seq}");
    let corrupt = |what: String| DaError::corrupt(object(), what);
    let places = places_in(payload, seq).map_err(&corrupt)?;
    let encoded = EncodedPayload::encode_in(committed.domain, payload).map_err(|error| corrupt(error.to_string()))?;
    let blob = Blob::of(&encoded);
    let srs = committer.points_for(committed.domain)?;
    let refused = |error: KzgError| DaError::Reject { object: object(), what: error.to_string() };
    let open_at = |index: u32| Opening::of(&blob, index, &srs).map_err(refused);
    let prelude = open_at(PRELUDE_SYMBOL)?;
    let header = places.into_iter().map(open_at).collect::<Result<Vec<(Claim, Opening)>, DaError>>()?;
    let all = [&header[..], &[prelude]].concat();
    Opening::check_all(&all, &committed.commitment, committed.domain)
        .map_err(|error| corrupt(format!("it is not what the certificate commits to: {error}")))?;
    let prelude = SymbolOpening {
        symbol_index: PRELUDE_SYMBOL,
        symbol: Hex(*prelude.0.symbol.as_bytes()),
        proof: Hex(prelude.1.to_bytes()),
    };
    Ok(HeaderOpening {
        symbol_indexes: places,
        symbols: std::array::from_fn(|at| Hex(*header[at].0.symbol.as_bytes())),
        proofs: std::array::from_fn(|at| Hex(header[at].1.to_bytes())),
        blob_symbols: committed.domain.symbols(),
        prelude,
    })
}

/// The symbols of the header of a batch.
fn places_in(payload: &[u8], seq: Seq) -> Result<[u32; HEADER_SYMBOLS], String> {
    let prelude = payload.first_chunk::<PRELUDE_BYTES>().ok_or("it is shorter than its prelude")?;
    let prelude = Prelude::parse(prelude).map_err(|error| error.to_string())?;
    let index = seq.get().checked_sub(prelude.first_seq).filter(|index| *index < u64::from(prelude.count));
    let places = index.and_then(|index| places::of_header(u32::try_from(index).ok()?));
    places.ok_or_else(|| format!("it holds {} batches from {} on", prelude.count, prelude.first_seq))
}
