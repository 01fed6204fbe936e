//! `POST /v1/sql`: from request to a streamed answer.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use datafusion::execution::RecordBatchStream;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::encoder::{Encoder, Format};
use super::request::Request;
use crate::accept::negotiate;
use crate::engine::{AsOf, Engine};
use crate::error::{Code, QueryError};
use crate::http::{Problem, read_body};
use crate::running::Running;

/// The header that carries the cut of an answer.
const CUT_HEADER: HeaderName = HeaderName::from_static("tributary-cut");
/// Chunks of an answer that are ready and not yet sent.
const CHUNKS_WAITING_MAX: usize = 4;
/// A chunk is sent once it has at least this many bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// Rows are written into a chunk in steps of about this many bytes, before its size is looked at.
const STEP_BYTES: usize = 256 << 10;

/// Answers a question.
pub(crate) async fn post(State(engine): State<Arc<Engine>>, request: HttpRequest) -> Result<Response, Problem> {
    let format = format_of(request.headers())?;
    json_body(request.headers())?;
    let body = read_body(request.into_body(), engine.settings().request_bytes_max).await?;
    let request = Request::parse(&body)?;
    let session = match &request.as_of {
        AsOf::Head => engine.session_at_head().await?,
        point => engine.session(engine.resolve(point).await?).await?,
    };
    let rows = session.run(&request.query, request.params).await?;
    let encoder = format.encoder(&rows.schema())?;
    let body = answer(&engine, rows, encoder).await?;
    let cut = HeaderValue::try_from(session.point().await?.to_string())
        .map_err(|error| QueryError::new(Code::Internal, error.to_string()))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (VARY, HeaderValue::from_static("accept")),
        (CUT_HEADER, cut),
    ];
    Ok((headers, body).into_response())
}

fn format_of(headers: &HeaderMap) -> Result<Format, QueryError> {
    let offers = Format::ALL.map(|format| (format.media_type(), format));
    negotiate(headers, &offers).ok_or_else(|| {
        let offered = offers.map(|(media_type, _)| media_type).join(", ");
        QueryError::new(Code::NotAcceptable, format!("none of what Accept asks for is offered: {offered}"))
    })
}

fn json_body(headers: &HeaderMap) -> Result<(), QueryError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(QueryError::new(Code::UnsupportedMediaType, format!("the content type is `{content_type}`; application/json is taken")))
}

/// What goes to the client, and how it ends.
enum Chunk {
    Bytes(Bytes),
    Failed(QueryError),
    End,
}

/// Encodes on the threads of the query, so that a lookup waits here for no other either, and gives the body once its first chunk is there: a failure before that is an error with
/// a status of its own; one after it breaks the transfer off.
async fn answer(engine: &Arc<Engine>, rows: Running, encoder: Box<dyn Encoder>) -> Result<Body, QueryError> {
    let until = rows.until();
    // The body ends the query when its reader goes: the threads that encode may be busy with the query itself.
    let end = rows.end_on_drop();
    let (send, mut chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
    let sink = Sink { engine: Arc::clone(engine), send, until };
    let threads = rows.threads().clone();
    threads.spawn(sink.run(rows, encoder));
    let first = match chunks.recv().await {
        Some(Chunk::Failed(error)) => return Err(error),
        Some(first) => first,
        None => return Err(QueryError::new(Code::Internal, "the answer broke off")),
    };
    let rest = stream::unfold((Some(first), chunks, false, end), |(first, mut chunks, ended, end)| async move {
        if ended {
            return None;
        }
        let next = match first {
            Some(first) => Some(first),
            None => chunks.recv().await,
        };
        match next {
            Some(Chunk::Bytes(bytes)) => Some((Ok(bytes), (None, chunks, false, end))),
            Some(Chunk::End) => None,
            Some(Chunk::Failed(error)) => Some((Err(error), (None, chunks, true, end))),
            None => Some((Err(QueryError::new(Code::Internal, "the answer broke off")), (None, chunks, true, end))),
        }
    });
    Ok(Body::from_stream(rest))
}

/// Turns rows into chunks.
struct Sink {
    engine: Arc<Engine>,
    send: mpsc::Sender<Chunk>,
    until: Option<Instant>,
}

impl Sink {
    async fn run(self, rows: Running, encoder: Box<dyn Encoder>) {
        let last = match self.encode(rows, encoder).await {
            Ok(()) => Chunk::End,
            Err(error) => Chunk::Failed(error),
        };
        // If this cannot be sent in time the client finds the transfer broken off, for the channel closes without an end.
        let sent = self.send(last).await;
        drop(sent);
    }

    async fn encode(&self, mut rows: Running, mut encoder: Box<dyn Encoder>) -> Result<(), QueryError> {
        let mut out = Vec::new();
        loop {
            let next = tokio::select! {
                next = rows.next() => next,
                () = self.send.closed() => return Err(gone()),
            };
            let Some(batch) = next.transpose()? else { break };
            let step = step_of(&batch);
            for start in (0..batch.num_rows()).step_by(step) {
                encoder.rows(&batch.slice(start, step.min(batch.num_rows() - start)), &mut out)?;
                if out.len() >= CHUNK_BYTES {
                    self.send(Chunk::Bytes(self.count(std::mem::take(&mut out)))).await?;
                }
            }
        }
        encoder.end(&mut out)?;
        if out.is_empty() { Ok(()) } else { self.send(Chunk::Bytes(self.count(out))).await }
    }

    fn count(&self, bytes: Vec<u8>) -> Bytes {
        self.engine.metrics().bytes.inc_by(bytes.len() as u64);
        bytes.into()
    }

    /// Waits for a slow client no longer than the query may take.
    async fn send(&self, chunk: Chunk) -> Result<(), QueryError> {
        let sent = match self.until {
            Some(until) => tokio::time::timeout_at(until, self.send.send(chunk))
                .await
                .map_err(|_| QueryError::new(Code::Timeout, "the client took longer than the query's limit"))?,
            None => self.send.send(chunk).await,
        };
        sent.map_err(|_| gone())
    }
}

/// How many rows make about [`STEP_BYTES`] in memory.
fn step_of(rows: &RecordBatch) -> usize {
    let row_bytes = rows.get_array_memory_size() / rows.num_rows().max(1);
    (STEP_BYTES / row_bytes.max(1)).max(1)
}

fn gone() -> QueryError {
    QueryError::new(Code::Internal, "the client went away")
}
