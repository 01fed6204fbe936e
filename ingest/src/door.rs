//! The door itself: from a request to a durable answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::Semaphore;
use tributary_eventlog::{EventLog, LogError, Record};
use tributary_schemas::ids::Clock;
use tributary_schemas::refusal::Refusal;

use crate::admission::{Admission, Ticket};
use crate::body::BodyReader;
use crate::error::DoorError;
use crate::framing::{Block, Framer};
use crate::media::{self, Encoding, Framing};
use crate::metrics::Metrics;
use crate::parse::{self, Parsed, Rules};
use crate::settings::Settings;

/// A smaller block is parsed where it is; handing it over would take longer.
const HAND_OVER_BYTES: usize = 16 << 10;
/// Blocks of one request that are parsed, or wait to be, while more of it comes in.
const BLOCKS_AHEAD_MAX: usize = 4;
/// How long the rest of a refused request is read, so that its sender sees the answer.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// When a full disk or a slow log is worth another try, in seconds.
const LOG_RETRY_AFTER: u32 = 2;
/// When a log that an operator has to look at is worth another try, in seconds.
const LOG_BROKEN_RETRY_AFTER: u32 = 30;

/// Takes requests and makes their events durable.
pub struct Door {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: Metrics,
    admission: Admission,
    parsers: Arc<Semaphore>,
}

/// The answer to a request that was taken.
#[derive(Debug, Default, serde::Serialize)]
pub struct Answer {
    /// Events that are durable now, repetitions included.
    pub accepted: usize,
    /// Events that were refused, in ascending order of index.
    pub rejected: Vec<Rejected>,
}

/// An event that was refused.
#[derive(Debug, serde::Serialize)]
pub struct Rejected {
    /// Its place in the request, from 0; of lines, only those that are not empty are counted.
    pub index: usize,
    /// Its id, if one could be read.
    pub id: Option<String>,
    /// What is wrong: code, field and message.
    #[serde(flatten)]
    pub refusal: Refusal,
}

/// What has come out of a request so far.
#[derive(Default)]
struct Harvest {
    records: Vec<Record>,
    rejected: Vec<Rejected>,
    events: usize,
}

type Parsing = FuturesOrdered<BoxFuture<'static, Result<Parsed, DoorError>>>;

impl Door {
    /// A door in front of this log.
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        let admission = Admission::new(settings.in_flight_requests_max, settings.in_flight_bytes_max);
        let parsers = Arc::new(Semaphore::new(settings.parsers_max.max(1)));
        Self { log, clock, settings, metrics: Metrics::default(), admission, parsers }
    }

    /// The door's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Takes a request with events, and returns once those that are valid are durable.
    ///
    /// # Errors
    /// A [`DoorError`] when the request was refused as a whole; only after [`DoorError::LogUnavailable`] may some of its events
    /// have been recorded.
    pub async fn take(&self, request: Request) -> Result<Answer, DoorError> {
        let (parts, body) = request.into_parts();
        let waits_for_continue = parts.headers.contains_key(header::EXPECT);
        let (framing, encoding, mut ticket) = match self.admit(&parts.headers) {
            Ok(admitted) => admitted,
            Err(error) => {
                self.turn_away(body, waits_for_continue).await;
                return Err(error);
            }
        };
        let mut reader = BodyReader::new(body, encoding, &self.settings);
        match self.read(&mut reader, framing, &mut ticket).await {
            Ok(harvest) => self.record(harvest).await,
            Err(error) => {
                drop(ticket);
                if !matches!(error, DoorError::Slow | DoorError::Incomplete { .. }) {
                    reader.drain(DRAIN_LIMIT).await;
                }
                Err(error)
            }
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(Framing, Encoding, Ticket), DoorError> {
        let framing = media::framing(headers)?;
        let encoding = media::encoding(headers)?;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > self.settings.request_bytes_max) {
            return Err(DoorError::TooLarge { max: self.settings.request_bytes_max });
        }
        let ticket = self.admission.enter(length.unwrap_or(0) + encoding.overhead_bytes())?;
        Ok((framing, encoding, ticket))
    }

    async fn turn_away(&self, body: Body, waits_for_continue: bool) {
        // Reading would tell a sender that waits for leave to go on.
        if !waits_for_continue {
            BodyReader::new(body, Encoding::Identity, &self.settings).drain(DRAIN_LIMIT).await;
        }
    }

    /// Reads the request to its end and parses its events meanwhile.
    async fn read(&self, reader: &mut BodyReader, framing: Framing, ticket: &mut Ticket) -> Result<Harvest, DoorError> {
        let mut harvest = Harvest::default();
        let mut parsing = Parsing::new();
        let mut framer = Framer::new(framing, self.settings.request_events_max);
        while let Some(bytes) = reader.next().await? {
            ticket.grow(bytes.len())?;
            self.metrics.bytes.inc_by(bytes.len() as u64);
            // One chunk may be large: look at it piece by piece, and let others run in between.
            for piece in bytes.chunks(HAND_OVER_BYTES * 4) {
                if let Some(block) = framer.push(piece)? {
                    parsing.push_back(self.parse(block));
                }
                if parsing.len() >= BLOCKS_AHEAD_MAX
                    && let Some(parsed) = parsing.next().await
                {
                    harvest.add(parsed, self.settings.request_events_max)?;
                }
            }
        }
        parsing.push_back(self.parse(framer.finish()?));
        while let Some(parsed) = parsing.next().await {
            harvest.add(parsed, self.settings.request_events_max)?;
        }
        Ok(harvest)
    }

    /// Parses a block, on another core if it is worth it.
    fn parse(&self, block: Block) -> BoxFuture<'static, Result<Parsed, DoorError>> {
        let rules = Rules {
            producer: self.settings.producer.clone(),
            accepted_at: self.clock.now(),
            time_window: self.settings.time_window,
            events_max: self.settings.request_events_max,
        };
        if block.bytes.len() < HAND_OVER_BYTES {
            return Box::pin(std::future::ready(parse::parse(&block, &rules)));
        }
        let parsers = Arc::clone(&self.parsers);
        let task = tokio::spawn(async move {
            let _place = parsers.acquire_owned().await.expect("the door never closes its parsers");
            tokio::task::spawn_blocking(move || parse::parse(&block, &rules)).await
        });
        Box::pin(async move {
            let parsed = task.await.and_then(|parsed| parsed);
            // A task ends early only when the process does, or for a mistake of ours that has been logged as a panic.
            parsed.unwrap_or_else(|error| {
                let reason = format!("parsing was cut off: {error}");
                Err(DoorError::LogUnavailable { reason, retry_after: LOG_RETRY_AFTER })
            })
        })
    }

    /// Makes the records durable.
    async fn record(&self, harvest: Harvest) -> Result<Answer, DoorError> {
        let Harvest { records, rejected, .. } = harvest;
        let accepted = records.len();
        if accepted > 0 {
            let appended = tokio::time::timeout(self.settings.append_timeout, self.log.append(records)).await;
            appended.unwrap_or_else(|_| Err(LogError::Retry { reason: "it took too long".into() })).map_err(unavailable)?;
        }
        self.metrics.accepted.inc_by(accepted as u64);
        rejected.iter().for_each(|rejected| self.metrics.count_rejected(rejected.refusal.code.as_str()));
        Ok(Answer { accepted, rejected })
    }
}

impl Harvest {
    fn add(&mut self, parsed: Result<Parsed, DoorError>, events_max: usize) -> Result<(), DoorError> {
        let first = self.events;
        // A block knows its own events only.
        let parsed = parsed.map_err(|error| match error {
            DoorError::NotUtf8 { index } => DoorError::NotUtf8 { index: first + index },
            error => error,
        })?;
        self.events += parsed.events;
        if self.events > events_max {
            return Err(DoorError::TooManyEvents { max: events_max });
        }
        self.records.extend(parsed.records);
        let rejected = parsed.refused.into_iter();
        self.rejected.extend(rejected.map(|(index, id, refusal)| Rejected { index: first + index, id, refusal }));
        Ok(())
    }
}

fn unavailable(error: LogError) -> DoorError {
    let retry_after = match error {
        LogError::Retry { .. } => LOG_RETRY_AFTER,
        _ => LOG_BROKEN_RETRY_AFTER,
    };
    DoorError::LogUnavailable { reason: error.to_string(), retry_after }
}
