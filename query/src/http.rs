//! The routes, and errors as answers.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::Address;

use crate::claims::{Claim, claim};
use crate::engine::Engine;
use crate::error::{Code, QueryError};
use crate::{openapi, sql};

/// The routes of this crate: `POST /v1/sql`, `GET /v1/claims/{address}`, `GET /v1/openapi.json`.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/sql", post(sql::post))
        .route("/v1/claims/{address}", get(get_claim))
        .route("/v1/openapi.json", get(openapi::get))
        .with_state(engine)
}

async fn get_claim(
    State(engine): State<Arc<Engine>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Claim>, Problem> {
    let result = find_claim(&engine, &address, query.as_deref()).await;
    engine.metrics().claim_ended(result.as_ref().map(|_| ()).map_err(|error| error.code));
    Ok(Json(result?))
}

async fn find_claim(engine: &Arc<Engine>, address: &str, query: Option<&str>) -> Result<Claim, QueryError> {
    let address = Address::parse_any_case(&address.replacen("0X", "0x", 1))
        .map_err(|error| QueryError::new(Code::BadAddress, format!("`{address}` {error}")))?;
    claim(engine, address, epoch_of(query)?).await
}

/// The epoch that the query string names. Other parameters are refused: a misspelt one must not change the answer in silence.
fn epoch_of(query: Option<&str>) -> Result<Option<Epoch>, QueryError> {
    let mut epoch = None;
    for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let bad = || QueryError::new(Code::BadEpoch, format!("`{pair}`: only epoch=N is taken, with a number from 1, once"));
        let number = pair.strip_prefix("epoch=").ok_or_else(bad)?;
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number: Epoch = number.parse().map_err(|_| bad())?;
        if !digits || epoch.replace(number).is_some() {
            return Err(bad());
        }
    }
    Ok(epoch)
}

/// Reads a whole body of bounded size.
///
/// # Errors
/// `request_too_large`; `bad_request` if the body breaks off.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, QueryError> {
    axum::body::to_bytes(body, bytes_max).await.map_err(|error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(current) = source {
            if current.is::<http_body_util::LengthLimitError>() {
                return QueryError::new(Code::RequestTooLarge, format!("the body has more than {bytes_max} bytes"));
            }
            source = current.source();
        }
        QueryError::new(Code::BadRequest, format!("the body broke off: {error}"))
    })
}

/// An error as `application/problem+json` (RFC 9457) with its code.
#[derive(Debug)]
pub(crate) struct Problem(QueryError);

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "code": error.code.as_str(),
            "detail": error.message,
        });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        if let Some(after) = error.retry_after.map(|after| after.as_secs().max(1)).or(unavailable.then_some(1)) {
            headers.insert(RETRY_AFTER, HeaderValue::from(after));
        }
        (status, headers, problem.to_string()).into_response()
    }
}
