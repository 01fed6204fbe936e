//! `POST /v1/events`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use prometheus_client::metrics::gauge::Gauge;

use crate::door::Door;
use crate::error::DoorError;

/// The route of the door.
pub fn router(door: Arc<Door>) -> Router {
    let refuse_others = || async { DoorError::Method };
    Router::new().route("/v1/events", post(events).fallback(refuse_others)).with_state(door)
}

/// Counts a request while it is under way, also when its sender goes away in the middle.
struct UnderWay(Gauge);

impl UnderWay {
    fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn events(State(door): State<Arc<Door>>, request: Request) -> Response {
    let metrics = door.metrics();
    let _under_way = UnderWay::count(&metrics.in_flight);
    let started = Instant::now();
    let result = door.take(request).await;
    metrics.seconds.observe(started.elapsed().as_secs_f64());
    match result {
        Ok(answer) if answer.accepted > 0 => Json(answer).into_response(),
        Ok(answer) => (StatusCode::UNPROCESSABLE_ENTITY, Json(answer)).into_response(),
        Err(error) => {
            metrics.count_problem(error.code());
            error.into_response()
        }
    }
}
