//! How long commitments and proofs take: `cargo run --release --example timing -- g1.point [points]`.

use std::path::Path;
use std::time::Instant;

use eigenda_client::{Blob, Commitment, Domain, EncodedPayload, JointOpening, Opening, Srs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "testdata/g1-1024.point".to_owned());
    let points = arguments.next().map_or(Ok(1024), |points| points.parse())?;
    let srs = timed(format!("read {points} points"), || Srs::load(Path::new(&path), points))?;
    timed("check that they are the powers".to_owned(), || srs.check_powers())?;
    let mut symbols = 1024;
    while symbols as usize <= srs.points() {
        time(&srs, Domain::new(symbols)?)?;
        symbols *= 4;
    }
    Ok(())
}

fn time(srs: &Srs, domain: Domain) -> Result<(), Box<dyn std::error::Error>> {
    let payload = (0u8..=255).cycle().take(domain.payload_bytes_max()).collect::<Vec<_>>();
    let symbols = domain.symbols();
    let blob = timed(format!("{symbols} symbols: encode and transform"), || {
        EncodedPayload::encode(&payload).map(|encoded| Blob::of(&encoded))
    })?;
    let commitment = timed(format!("{symbols} symbols: commit"), || Commitment::to(&blob, srs))?;
    let (claim, opening) = timed(format!("{symbols} symbols: open one"), || Opening::of(&blob, 7, srs))?;
    timed(format!("{symbols} symbols: check one"), || opening.check(&claim, &commitment, domain))?;
    let places = (1..10).collect::<Vec<_>>();
    let (claims, joint) = timed(format!("{symbols} symbols: open nine"), || JointOpening::of(&blob, &commitment, &places, srs))?;
    timed(format!("{symbols} symbols: check nine"), || joint.check(&claims, &commitment, domain))?;
    Ok(())
}

fn timed<T>(what: String, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    println!("{:>10.2} ms  {what}", started.elapsed().as_secs_f64() * 1e3);
    done
}
