//! Small events, made from numbers: as JSON for the door, and as the record must hold them.

use serde_json::{Value as Json, json};

use crate::auditor::event::{Content, Identity, Value};

/// 2026-10-01T00:00:00Z.
const FIRST_TIME_US: i64 = 1_790_812_800_000_000;
/// Times differ by a millisecond and stay within a day.
const TIMES: u64 = 86_400_000;

/// An event before it is sent.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is.
    pub identity: Identity,
    /// What it says.
    pub content: Content,
    /// One CloudEvent in JSON, without line feeds.
    pub json: String,
}

/// Type, `data` in JSON, and the fields of the data in protobuf.
type Data = (&'static str, Json, Vec<(u32, Value)>);

impl Event {
    /// Event `number` of a source, with this key. The number decides all that it says.
    pub fn of(source: &str, number: u64, key: &str) -> Self {
        let (kind, data, fields) = match number % 3 {
            0 => feedback(number, key),
            1 => act(number, key),
            _ => review(number, key),
        };
        let kind = format!("tributary.{kind}.v1");
        let id = number.to_string();
        let millis = number % TIMES;
        let time_us = FIRST_TIME_US + i64::try_from(millis).unwrap_or(0) * 1_000;
        let json = json!({
            "specversion": "1.0", "id": id, "source": source, "type": kind, "time": time(millis), "data": data,
        });
        let identity = Identity::of(source, &kind, &id, key);
        Self { identity, content: Content::of(time_us, &fields), json: json.to_string() }
    }
}

fn time(millis: u64) -> String {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    format!("2026-10-01T{:02}:{:02}:{:02}.{millis:03}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn feedback(number: u64, key: &str) -> Data {
    let millionths = 100_000 + u32::try_from(number % 900_000).unwrap_or(0);
    let (text, address) = address(number);
    let data = json!({"inference_id": key, "actor": text, "score": f64::from(millionths) / 1_000_000.0});
    let score = Value::Number(2 * u64::from(millionths));
    ("feedback.recorded", data, vec![(1, Value::Bytes(key.into())), (2, address), (3, score)])
}

fn act(number: u64, key: &str) -> Data {
    let (action, inference) = (format!("act-{number}"), format!("i-{number}"));
    let data = json!({"agent_id": key, "action": action, "inferences": [inference]});
    let texts = [key.to_owned(), action, inference].map(|text| Value::Bytes(text.into()));
    ("agent.acted", data, (1..).zip(texts).collect())
}

fn review(number: u64, key: &str) -> Data {
    let (text, address) = address(number);
    let (verdict, code) = if number.is_multiple_of(2) { ("accepted", 1) } else { ("rejected", 2) };
    let data = json!({"contribution_id": key, "validator": text, "verdict": verdict});
    ("contribution.reviewed", data, vec![(1, Value::Bytes(key.into())), (2, address), (3, Value::Number(code))])
}

/// An address as text and as bytes, never the zero address.
fn address(number: u64) -> (String, Value) {
    let mut bytes = vec![0xa5; 12];
    bytes.extend_from_slice(&number.to_be_bytes());
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (format!("0x{digits}"), Value::Bytes(bytes))
}
