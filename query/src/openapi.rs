//! The description of the HTTP interface.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// The description, OpenAPI 3.1, of every route that the server has.
pub const DESCRIPTION: &str = include_str!("openapi.json");

/// Answers `GET /v1/openapi.json`.
pub(crate) async fn get() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION)
}
