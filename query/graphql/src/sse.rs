//! Subscriptions as server-sent events: the distinct connections mode of the protocol `graphql-sse`.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Duration, timeout};

use super::service::{Answer, Checked, Graphql};
use tributary_query::error::{Code, QueryError};

/// How often something is sent when nothing happens, so that nobody between takes the connection for dead.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// The answer of a query as the only event.
pub(crate) fn once(answer: &Answer) -> Response {
    let mut text = event(answer).to_vec();
    text.extend_from_slice(COMPLETE);
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static("text/event-stream")), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, text).into_response()
}

/// The last event.
const COMPLETE: &[u8] = b"event: complete\ndata:\n\n";

/// Follows an operation. A client that does not take an event in time finds the transfer broken off; it goes on with the
/// `Last-Event-ID` of what it has.
pub(crate) fn follow(graphql: &Arc<Graphql>, checked: Checked) -> Response {
    let Ok(place) = Arc::clone(&graphql.subscribers).try_acquire_owned() else {
        let error = QueryError::new(Code::Busy, "all places for subscribers are taken");
        let mut response = (axum::http::StatusCode::SERVICE_UNAVAILABLE, Answer::refused(error).body.to_string()).into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(run(Arc::clone(graphql), checked, send, place));
    let body = stream::unfold(receive, |mut receive| async move { Some((receive.recv().await?, receive)) });
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static("text/event-stream")), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, Body::from_stream(body)).into_response()
}

type Chunk = Result<Bytes, QueryError>;

async fn run(graphql: Arc<Graphql>, checked: Checked, send: mpsc::Sender<Chunk>, _place: OwnedSemaphorePermit) {
    graphql.metrics().subscribers.inc();
    pump(&graphql, checked, send).await;
    graphql.metrics().subscribers.dec();
}

async fn pump(graphql: &Arc<Graphql>, checked: Checked, send: mpsc::Sender<Chunk>) {
    let stall_max = graphql.settings.stall_max;
    let metrics = graphql.metrics().clone();
    let mut answers = graphql.follow(checked);
    loop {
        let chunk = tokio::select! {
            () = send.closed() => return,
            () = graphql.closed() => return,
            next = timeout(ALIVE_EVERY, answers.next()) => match next {
                Err(_) => Bytes::from_static(b":\n\n"),
                Ok(Some(answer)) => event(&answer),
                Ok(None) => break,
            },
        };
        match timeout(stall_max, send.send(Ok(chunk))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                metrics.slow_consumers.inc();
                return;
            }
        }
    }
    // A client that is gone does not need the end.
    drop(timeout(stall_max, send.send(Ok(Bytes::from_static(COMPLETE)))).await);
}

fn event(answer: &Answer) -> Bytes {
    let mut text = String::from("event: next\n");
    if let Some(cursor) = &answer.cursor {
        writeln!(text, "id: {cursor}").expect("a string takes every text");
    }
    writeln!(text, "data: {}\n", answer.body).expect("a string takes every text");
    text.into()
}
