//! A door on a free port, with a real log in a temporary directory or with a log that misbehaves.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tributary_eventlog::{Bounds, EmbeddedLog, EventLog, LogError, LoggedRecord, Record};
use tributary_ingest::{Door, Settings, guard, http};
use tributary_schemas::event::Event;
use tributary_schemas::ids::{Clock, Offset, Partition, PartitionCount, Timestamp};
use tributary_schemas::protobuf;

pub const ONE: &str = "application/cloudevents+json";
pub const BATCH: &str = "application/cloudevents-batch+json";
pub const LINES: &str = "application/x-ndjson";

/// The present of every test.
pub const NOW: &str = "2026-10-01T12:00:00.000000Z";

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// What a [`Faulty`] log does with appends.
pub enum Fault {
    None = 0,
    Full = 1,
    Hangs = 2,
    Closed = 3,
}

/// A log whose appends fail as the test wants.
pub struct Faulty {
    log: Arc<EmbeddedLog>,
    fault: AtomicU8,
}

#[async_trait]
impl EventLog for Faulty {
    fn partition_count(&self) -> PartitionCount {
        self.log.partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        match self.fault.load(Ordering::SeqCst) {
            1 => Err(LogError::Retry { reason: "the disk is full".into() }),
            2 => std::future::pending().await,
            3 => Err(LogError::Closed),
            _ => self.log.append(records).await,
        }
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.log.bounds(partition).await
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        self.log.read(partition, from, max_bytes).await
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        self.log.wait_beyond(partition, offset).await
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        self.log.release(partition, before).await
    }
}

/// A served door.
pub struct Served {
    pub url: String,
    pub address: std::net::SocketAddr,
    pub door: Arc<Door>,
    log: Arc<Faulty>,
    client: Client,
    _dir: TempDir,
}

impl Served {
    pub async fn start(settings: Settings) -> Self {
        let dir = TempDir::new().unwrap();
        let partitions = PartitionCount::new(4).unwrap();
        let log = EmbeddedLog::open(dir.path(), partitions, tributary_eventlog::Settings::default()).await.unwrap();
        let log = Arc::new(Faulty { log, fault: AtomicU8::new(0) });
        let clock = Arc::new(Fixed(Timestamp::parse_rfc3339(NOW).unwrap()));
        let door = Arc::new(Door::new(Arc::clone(&log) as Arc<dyn EventLog>, clock, settings));
        let router = http::router(Arc::clone(&door)).layer(axum::middleware::from_fn(guard::loopback_guard));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::builder().no_proxy().build().unwrap();
        Self { url: format!("http://{address}/v1/events"), address, door, log, client, _dir: dir }
    }

    pub fn set_fault(&self, fault: Fault) {
        self.log.fault.store(fault as u8, Ordering::SeqCst);
    }

    pub fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client.post(&self.url).header(CONTENT_TYPE, content_type).body(body)
    }

    /// Sends a request; gives status and body.
    pub async fn send(&self, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        read(self.post(content_type, body).send().await.unwrap()).await
    }

    /// Sends a compressed request.
    pub async fn send_coded(&self, content_type: &str, encoding: &str, body: Vec<u8>) -> (u16, Value) {
        read(self.post(content_type, body).header(CONTENT_ENCODING, encoding).send().await.unwrap()).await
    }

    /// Every event in the log, in the order of partitions and offsets.
    pub async fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for partition in self.log.partition_count().partitions() {
            let mut next = Offset::FIRST;
            loop {
                let records = self.log.read(partition, next, 1 << 20).await.unwrap();
                let Some(last) = records.last() else { break };
                next = last.offset.next();
                for record in records {
                    let event = protobuf::decode(&record.value).unwrap();
                    assert_eq!(event.draft.key().as_bytes(), record.key);
                    events.push(event);
                }
            }
        }
        events
    }

    /// The ids of every event in the log, sorted.
    pub async fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.events().await.into_iter().map(|event| event.draft.id).collect();
        ids.sort();
        ids
    }
}

/// Status and body; of a problem, checks its form.
pub async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let retry_after = response.headers().get("retry-after").cloned();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    if matches!(status, 200 | 422) {
        assert_eq!(content_type, "application/json");
        let keys: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["accepted", "rejected"]);
    } else {
        assert_eq!(content_type, "application/problem+json");
        assert_eq!(body["status"], status);
        assert!(body["title"].is_string() && body["detail"].is_string() && body["code"].is_string(), "{body}");
        assert_eq!(status == 503, retry_after.is_some(), "503 says when to try again");
    }
    (status, body)
}

/// A valid event with this id.
pub fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "urn:test", "type": "tributary.feedback.recorded.v1",
        "time": "2026-10-01T00:00:00Z", "subject": format!("inference-{id}"),
        "data": {"inference_id": format!("inference-{id}"), "actor": format!("0x{}", "ab".repeat(20)), "score": 0.5},
    })
}

/// One event per line.
pub fn lines(ids: impl IntoIterator<Item = usize>) -> String {
    ids.into_iter().map(|id| format!("{}\n", event(&format!("{id:05}")))).collect()
}
