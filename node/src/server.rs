//! The HTTP servers: that of `dev` with the door, the queries and the probes on one port, and those of the services.

use std::net::{IpAddr, SocketAddr};
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

use crate::exit::{Failure, Outcome, code};
use crate::metrics;
use crate::status::Sources;
use crate::status::publishing::Publishing;
use crate::status::sealing::Sealing;
use crate::wire::Record;

/// Says why the process is not ready, line by line; nothing while it is.
pub type Unready = dyn Fn() -> Vec<String> + Send + Sync;

/// What the probes read.
#[derive(Clone)]
struct Probes {
    unready: Arc<Unready>,
    registry: Arc<Registry>,
}

/// All routes of `dev`, behind the guard that keeps web pages out.
pub fn router(record: &Record, door: Arc<Door>, sources: Sources, registry: Registry, started: CancellationToken) -> Router {
    let own = Router::new().route("/v1/status", get(status)).with_state(sources.clone());
    let unready = move || if started.is_cancelled() { standing(&sources) } else { vec!["starting".to_owned()] };
    let own = own
        .merge(probes(Arc::new(unready), registry))
        .merge(tributary_ingest::http::router(door))
        .merge(tributary_query::http::router(Arc::clone(&record.engine)))
        .merge(tributary_graphql::router(Arc::clone(&record.graphql)));
    closed(own, true)
}

/// The routes of a service: its own and the probes. A server on the loopback interface answers no web pages.
pub fn service_router(own: Router, unready: Arc<Unready>, registry: Registry, address: IpAddr) -> Router {
    closed(own.merge(probes(unready, registry)), address.is_loopback())
}

fn probes(unready: Arc<Unready>, registry: Registry) -> Router {
    Router::new()
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .with_state(Probes { unready, registry: Arc::new(registry) })
}

/// Answers what there is no route for, and keeps web pages out if it is guarded.
fn closed(router: Router, guarded: bool) -> Router {
    let router = router.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    if guarded { router.layer(axum::middleware::from_fn(tributary_ingest::guard::loopback_guard)) } else { router }
}

/// Binds the port.
pub async fn bind(address: IpAddr, port: u16) -> Result<TcpListener, Failure> {
    let address = SocketAddr::from((address, port));
    TcpListener::bind(address).await.map_err(|e| {
        let cure = "name another address with `http.listen`, or another port with --port (0 takes a free one)";
        Failure::Failed(format!("{address} cannot be listened on: {e}; {cure}")).with_code(code::PORT_UNAVAILABLE)
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

/// What of `dev` does not get on.
fn standing(sources: &Sources) -> Vec<String> {
    let stopped = sources.troubles().into_iter().filter(|trouble| trouble.stopped);
    let mut standing: Vec<String> = stopped.map(|trouble| format!("stands still, {trouble}")).collect();
    standing.extend(sources.log.trouble().map(|error| format!("takes no events: {error}")));
    standing
}

async fn readyz(State(probes): State<Probes>) -> Response {
    let unready = (probes.unready)();
    match unready.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, unready.join("\n") + "\n").into_response(),
    }
}

async fn prometheus(State(probes): State<Probes>) -> Response {
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics::render(&probes.registry)).into_response()
}

async fn status(State(sources): State<Sources>) -> Response {
    answered(sources.report().await)
}

fn answered(report: Result<impl serde::Serialize, Failure>) -> Response {
    match report {
        Ok(report) => axum::Json(report).into_response(),
        Err(error @ Failure::Difference(_)) => problem(StatusCode::INTERNAL_SERVER_ERROR, "corrupt", &error.to_string()),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "status_unavailable", &error.to_string()),
    }
}

/// `GET /v1/status` of a sealing service.
pub async fn sealing_status(State(sealing): State<Sealing>) -> Response {
    answered(sealing.report().await)
}

/// `GET /v1/status` of a publishing service.
pub async fn publishing_status(State(publishing): State<Publishing>) -> Response {
    answered(publishing.report().await)
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
        let listener = bind(IpAddr::from([127, 0, 0, 1]), 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, client) = tokio::join!(async { undelayed(listener).accept().await }, TcpStream::connect(address));
        assert!(accepted.0.nodelay().unwrap());
        assert!(client.is_ok());
    }
}
