//! Commitments and openings by size, in this process.

use std::time::Instant;

use bytes::Bytes;
use eigenda_client::{Blob, Commitment as Point, Domain, EncodedPayload};
use serde::Serialize;
use tributary_da::Committer;
use tributary_da::proof::open;
use tributary_schemas::ids::Seq;

use crate::Outcome;

/// The figures of one size: each the least of its runs.
#[derive(Serialize)]
pub struct Commitment {
    /// Symbols of the blob.
    pub symbols: u32,
    /// The payload that fills it.
    pub payload_bytes: usize,
    /// Encoding the payload and transforming it into coefficients.
    pub transform_seconds: f64,
    /// The bare multi-scalar multiplication.
    pub multiplication_seconds: f64,
    /// All of a commitment as the product makes it.
    pub commit_seconds: f64,
    /// The proof of a header: nine openings and their check.
    pub open_seconds: f64,
}

/// Bare multiplications on some cores at once.
#[derive(Serialize)]
pub struct Ceiling {
    /// How many.
    pub cores: usize,
    /// Payload bytes committed to a second, if nothing else were done.
    pub bytes_per_second: f64,
}

/// How long it takes to read the points of a size that was not asked for yet.
pub fn read_points(symbols: u32) -> Outcome<f64> {
    let started = Instant::now();
    Committer::shipped().points_for(Domain::new(symbols)?)?;
    Ok(started.elapsed().as_secs_f64())
}

/// Measures blobs of so many symbols, filled to the last byte.
pub async fn measure(symbols: u32, runs: u32) -> Outcome<Commitment> {
    let domain = Domain::new(symbols)?;
    let payload = payload(domain.payload_bytes_max());
    let srs = Committer::shipped().points_for(domain)?;
    let blob = Blob::of(&EncodedPayload::encode(&payload)?);
    let mut least = [f64::INFINITY; 4];
    for _ in 0..runs.max(1) {
        let committer = Committer::shipped();
        let started = Instant::now();
        let committed = committer.commit(&payload).await?;
        let commit = started.elapsed();
        let (transform, _) = timed(|| Ok(Blob::of(&EncodedPayload::encode(&payload)?)))?;
        let (multiply, point) = timed(|| Ok(Point::to(&blob, &srs)?))?;
        if point != committed.commitment {
            return Err("the commitment is not the bare multiplication's".into());
        }
        let (opening, _) = timed(|| Ok(open(&payload, Seq::FIRST, &committed, &committer)?))?;
        let run = [transform, multiply, commit.as_secs_f64(), opening];
        least = std::array::from_fn(|at| least[at].min(run[at]));
    }
    let [transform_seconds, multiplication_seconds, commit_seconds, open_seconds] = least;
    let payload_bytes = payload.len();
    Ok(Commitment { symbols, payload_bytes, transform_seconds, multiplication_seconds, commit_seconds, open_seconds })
}

/// A blob of so many symbols, filled to the last byte, and its commitment.
pub fn filled(symbols: u32) -> Outcome<(Blob, Point)> {
    let domain = Domain::new(symbols)?;
    let blob = Blob::of(&EncodedPayload::encode(&payload(domain.payload_bytes_max()))?);
    let commitment = Point::to(&blob, &*Committer::shipped().points_for(domain)?)?;
    Ok((blob, commitment))
}

/// Multiplies on so many threads at once.
pub fn ceiling(symbols: u32, cores: usize, runs: u32) -> Outcome<Ceiling> {
    let domain = Domain::new(symbols)?;
    let srs = Committer::shipped().points_for(domain)?;
    let (blob, _) = filled(symbols)?;
    let runs = runs.max(1);
    let multiply = || (0..runs).try_for_each(|_| Point::to(&blob, &srs).map(drop));
    let (seconds, ()) = timed(|| {
        std::thread::scope(|scope| {
            let threads = (0..cores).map(|_| scope.spawn(multiply)).collect::<Vec<_>>();
            threads.into_iter().try_for_each(|thread| Ok(thread.join().map_err(|_| "a thread panicked")??))
        })
    })?;
    let bytes = domain.payload_bytes_max() as f64 * f64::from(runs) * cores as f64;
    Ok(Ceiling { cores, bytes_per_second: bytes / seconds })
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(f64, T)> {
    let started = Instant::now();
    let done = work()?;
    Ok((started.elapsed().as_secs_f64(), done))
}

/// A payload that says it holds one batch, and otherwise bytes that no number is smaller for.
fn payload(bytes: usize) -> Bytes {
    let mut payload = Vec::with_capacity(bytes);
    payload.extend_from_slice(b"TRDA\x01\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0");
    payload.extend_from_slice(&(bytes as u64).to_be_bytes());
    let mut state = 1_u64;
    while payload.len() < bytes {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (mixed ^ (mixed >> 31)).to_be_bytes();
        payload.extend_from_slice(&word[..word.len().min(bytes - payload.len())]);
    }
    payload.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_payload_fills_its_blob_and_is_opened_where_its_header_would_be() -> Outcome<()> {
        let measured = measure(64, 5).await?;
        assert_eq!((measured.symbols, measured.payload_bytes), (64, 63 * 31));
        assert!(measured.open_seconds > measured.multiplication_seconds);
        Ok(())
    }
}
