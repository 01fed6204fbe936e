//! The proof of an event: how long it takes to make one by GraphQL and to check it, and how large it is.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use tributary_da::EventProof;
use tributary_schemas::units::parse_hash;

use crate::Outcome;
use crate::percentile::p50_and_p99;
use crate::server::Server;

/// Checks that are timed.
const CHECKS: usize = 200;

const QUESTION: &str = "query($source: String!, $id: String!, $type: String!, $key: String!) \
    { event(source: $source, eventId: $id, type: $type, key: $key) { raw ordinal proof { leaf path batchRoot batchHeader \
    blob { certificate } opening { symbolIndexes symbols proofs blobSymbols prelude { symbolIndex symbol proof } } } } }";

/// The figures.
#[derive(Serialize)]
pub struct Evidence {
    /// Symbols of the blob.
    pub symbols: u32,
    /// The first answer with the opening of a batch, which makes it.
    pub first_seconds: f64,
    /// The same again.
    pub again_seconds: f64,
    /// The bytes that the proof stands for, without event and certificate.
    pub bytes: usize,
    /// Its JSON, without event and certificate.
    pub json_bytes: usize,
    /// Half of the checks took at most this long, from the text on.
    pub check_p50_seconds: f64,
    /// 99 of 100.
    pub check_p99_seconds: f64,
}

/// Asks for the proof of an event in the middle of the largest blob, and checks it.
pub async fn measure(server: &Server) -> Outcome<Evidence> {
    let blob =
        server.sql("SELECT blob_id, partition, first_seq, last_seq FROM blobs ORDER BY bytes DESC, blob_id LIMIT 1").await?;
    let (partition, first, last) = (&blob[0]["partition"], &blob[0]["first_seq"], &blob[0]["last_seq"]);
    let event = format!(
        "SELECT source, event_id, type, key FROM events WHERE _partition = {partition} AND _seq >= {first} AND _seq <= {last} \
         ORDER BY _seq, _ordinal LIMIT 1"
    );
    let event = server.sql(&event).await?;
    let blob_id = parse_hash(blob[0]["blob_id"].as_str().ok_or("no blob is published")?)?;
    let named = &event[0];
    let variables = json!({"source": named["source"], "id": named["event_id"], "type": named["type"], "key": named["key"]});
    let (first_seconds, text) = ask(server, &variables).await?;
    let (again_seconds, _) = ask(server, &variables).await?;
    let mut checks = Vec::new();
    for _ in 0..CHECKS {
        let started = Instant::now();
        EventProof::parse(&text)?.verify(&blob_id)?;
        checks.push(started.elapsed().as_secs_f64());
    }
    let (check_p50_seconds, check_p99_seconds) = p50_and_p99(&mut checks);
    let proof = EventProof::parse(&text)?;
    let besides = proof.raw.0.len() + proof.proof.blob.certificate.0.len();
    Ok(Evidence {
        symbols: proof.proof.opening.blob_symbols,
        first_seconds,
        again_seconds,
        bytes: stood_for(&serde_json::from_slice(&text)?) - besides,
        json_bytes: proof.to_json().len() - 2 * besides,
        check_p50_seconds,
        check_p99_seconds,
    })
}

/// The answer, and how long it took.
async fn ask(server: &Server, variables: &Value) -> Outcome<(f64, Vec<u8>)> {
    let started = Instant::now();
    let body = json!({"query": QUESTION, "variables": variables});
    let answer = server.client.post(server.route("/graphql")).json(&body).send().await?.error_for_status()?;
    let text = answer.bytes().await?.to_vec();
    Ok((started.elapsed().as_secs_f64(), text))
}

/// How many bytes the texts of a proof stand for, with four for each number.
fn stood_for(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len().saturating_sub(2) / 2,
        Value::Number(_) => 4,
        Value::Array(items) => items.iter().map(stood_for).sum(),
        Value::Object(members) => members.values().map(stood_for).sum(),
        Value::Null | Value::Bool(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_for_half_their_digits_and_numbers_for_four_bytes() {
        assert_eq!(stood_for(&json!({"raw": "0xaabb", "ordinal": 7, "proof": {"path": ["0x01", "0x02"], "blob": null}})), 8);
    }
}
