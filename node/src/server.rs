//! The HTTP server of `dev`: the door, the queries, the probes, on one port of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::{Listener, ListenerExt};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tributary_ingest::Door;

use crate::exit::{Failure, Outcome};
use crate::metrics;
use crate::status::Sources;
use crate::wire::Record;

/// What the node's own routes read.
#[derive(Clone)]
struct Node {
    sources: Sources,
    registry: Arc<Registry>,
    started: CancellationToken,
}

/// All routes behind the guard that keeps web pages out.
pub fn router(record: &Record, door: Arc<Door>, sources: Sources, registry: Registry, started: CancellationToken) -> Router {
    let node = Node { sources, registry: Arc::new(registry), started };
    let own = Router::new()
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .route("/v1/status", get(status))
        .with_state(node);
    own.merge(tributary_ingest::http::router(door))
        .merge(tributary_query::http::router(Arc::clone(&record.engine)))
        .merge(tributary_graphql::router(Arc::clone(&record.graphql)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn(tributary_ingest::guard::loopback_guard))
}

/// Binds the port on the loopback interface.
pub async fn bind(port: u16) -> Result<TcpListener, Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|e| {
        Failure::Failed(format!("{address} cannot be listened on: {e}; name another port with --port (0 takes a free one)"))
    })
}

/// Serves until `shutdown`, then lets requests under way end, for at most `drain`.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken, drain: Duration) -> Outcome {
    let stop = shutdown.clone();
    let server = axum::serve(undelayed(listener), router).with_graceful_shutdown(async move { stop.cancelled().await });
    let deadline = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        result = server.into_future() => result.map_err(|e| Failure::failed("the HTTP server stopped", e)),
        () = deadline => Ok(()), // requests still under way are cut off; their senders repeat them
    }
}

/// Connections that send what they have. Otherwise the second part of an answer waits until the client acknowledges the first, which
/// clients put off by 40 ms.
fn undelayed(listener: TcpListener) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection cannot be told to send at once");
        }
    })
}

async fn readyz(State(node): State<Node>) -> Response {
    if !node.started.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response();
    }
    let mut standing: Vec<String> =
        node.sources.troubles().into_iter().filter(|t| t.stopped).map(|t| format!("stands still, {t}\n")).collect();
    standing.extend(node.sources.log.trouble().map(|error| format!("takes no events: {error}\n")));
    match standing.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, standing.concat()).into_response(),
    }
}

async fn prometheus(State(node): State<Node>) -> Response {
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics::render(&node.registry)).into_response()
}

async fn status(State(node): State<Node>) -> Response {
    match node.sources.report().await {
        Ok(report) => axum::Json(report).into_response(),
        Err(error @ Failure::Difference(_)) => problem(StatusCode::INTERNAL_SERVER_ERROR, "corrupt", &error.to_string()),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "status_unavailable", &error.to_string()),
    }
}

async fn not_found(uri: Uri) -> Response {
    let detail = format!("there is nothing under {}; GET /v1/openapi.json describes what there is", uri.path());
    problem(StatusCode::NOT_FOUND, "not_found", &detail)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!("{} does not take {method}; the header Allow names what it takes", uri.path());
    problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &detail)
}

/// An error body, RFC 9457.
fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn connections_send_what_they_have() {
        let listener = bind(0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, client) = tokio::join!(async { undelayed(listener).accept().await }, TcpStream::connect(address));
        assert!(accepted.0.nodelay().unwrap());
        assert!(client.is_ok());
    }
}
