//! What all services do alike: they run until they are told to end, then end in order and in time.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, Outcome};
use crate::server;
use crate::stages::Stages;

/// How long requests may take to end after a signal.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the stages may take to end after a signal. The clients of brokers that hang take two more seconds.
const END_MAX: Duration = Duration::from_secs(6);
/// How long those may take that publish: the certificates of what was sent are waited for, but not for so long that an orchestrator
/// kills, which Kubernetes does after 30 s.
pub const PUBLISHERS_END_MAX: Duration = Duration::from_secs(25);

/// Serves beside the stages until told to end.
pub async fn serve(stages: Stages, listener: TcpListener, router: Router, shutdown: &CancellationToken) -> Outcome {
    serve_and_end_within(END_MAX, stages, listener, router, shutdown).await
}

/// The same for stages that may take another time to end.
pub async fn serve_and_end_within(
    end_max: Duration,
    mut stages: Stages,
    listener: TcpListener,
    router: Router,
    shutdown: &CancellationToken,
) -> Outcome {
    stages.add("the HTTP server", server::serve(listener, router, shutdown.clone(), DRAIN));
    until_told(stages, shutdown, end_max).await
}

/// Waits for SIGTERM or SIGINT, or for a stage that ends by itself, which is a failure that names it; then ends all stages.
async fn until_told(mut stages: Stages, shutdown: &CancellationToken, end_max: Duration) -> Outcome {
    let fault = tokio::select! {
        signalled = wait_for_signal() => signalled.err(),
        fault = stages.fault() => Some(fault),
    };
    shutdown.cancel();
    let ended = stages.end(end_max).await;
    fault.map_or(ended, Err)
}

async fn wait_for_signal() -> Outcome {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| Failure::failed("no signals", e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Failure::failed("no signals", e))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
