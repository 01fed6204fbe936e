//! The routes.

use std::sync::Arc;

use axum::Router;

use crate::engine::Engine;

/// The routes of this crate: `POST /v1/sql`, `GET /v1/claims/{address}`, `GET /v1/openapi.json`.
pub fn router(_engine: Arc<Engine>) -> Router {
    panic!("not built yet")
}
