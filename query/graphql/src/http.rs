//! GraphQL over HTTP: media types, status codes and caching as the specification has them.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tributary_schemas::units::keccak256;

use super::service::{Answer, Ask, Graphql};
use super::{graphiql, sse, ws};
use tributary_query::accept::negotiate;
use tributary_query::error::{Code, QueryError};
use tributary_query::http::read_body;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `application/graphql-response+json`: the status says how it went.
    Graphql,
    /// `application/json`: the status is 200 for every well-formed request.
    Json,
}

impl Form {
    fn media_type(self) -> HeaderValue {
        match self {
            Self::Graphql => HeaderValue::from_static("application/graphql-response+json; charset=utf-8"),
            Self::Json => HeaderValue::from_static("application/json; charset=utf-8"),
        }
    }
}

/// The header that says how many queries an answer cost.
const PLANS_HEADER: HeaderName = HeaderName::from_static("tributary-plans");

/// What a client wants to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Answer(Form),
    /// `text/event-stream`
    Events,
    /// `text/html`
    Page,
}

/// The routes `/graphql`, `/graphql/ws` and what the page at the first needs.
pub fn router(graphql: Arc<Graphql>) -> Router {
    Router::new()
        .route("/graphql", get(handle).post(handle))
        .route("/graphql/ws", get(ws::upgrade))
        .route("/graphql/assets/{name}", get(graphiql::file))
        .layer(CompressionLayer::new())
        .layer(cors(&graphql.settings.cors_origins))
        .with_state(graphql)
}

/// Lets pages of these origins ask; without any, a browser lets only this server's own.
fn cors(origins: &[String]) -> CorsLayer {
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let origins = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([ACCEPT, CONTENT_TYPE, IF_NONE_MATCH])
        .expose_headers([ETAG, RETRY_AFTER])
        .max_age(Duration::from_secs(3_600))
}

/// Answers `GET` and `POST /graphql`.
pub(crate) async fn handle(State(graphql): State<Arc<Graphql>>, request: HttpRequest) -> Response {
    let Some(wanted) = wanted(request.headers(), request.method()) else {
        let message = "Accept takes none of application/graphql-response+json, application/json and text/event-stream";
        return refuse(Form::Json, StatusCode::NOT_ACCEPTABLE, &QueryError::new(Code::NotAcceptable, message));
    };
    if wanted == Wanted::Page {
        return graphiql::page();
    }
    let form = match wanted {
        Wanted::Answer(form) => form,
        Wanted::Events | Wanted::Page => Form::Json,
    };
    let method = request.method().clone();
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let last_event = request.headers().get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let ask = match ask_of(&graphql, request).await {
        Ok(ask) => resumed(ask, last_event),
        Err(error) => return refuse(form, status(&error), &error),
    };
    let checked = match graphql.check(ask) {
        Ok(checked) => checked,
        Err(error) => return answer(form, Answer::refused(error)),
    };
    if method == Method::GET && checked.kind == OperationType::Mutation {
        let error = QueryError::new(Code::MethodNotAllowed, "a mutation is sent by POST");
        let mut response = refuse(form, StatusCode::METHOD_NOT_ALLOWED, &error);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if wanted == Wanted::Events && checked.kind == OperationType::Subscription {
        return sse::follow(&graphql, checked);
    }
    if checked.kind == OperationType::Subscription {
        let error = QueryError::new(Code::BadGraphqlRequest, "subscriptions are served as text/event-stream, or at /graphql/ws");
        return refuse(form, status(&error), &error);
    }
    let answered = graphql.run(checked).await;
    if wanted == Wanted::Events {
        return sse::once(&answered);
    }
    let fixed = answered.fixed;
    let plans = answered.plans;
    let mut response = answer(form, answered);
    response.headers_mut().insert(PLANS_HEADER, HeaderValue::from(plans));
    if method == Method::GET { cached(response, fixed, known).await } else { response }
}

/// A reconnecting client of server-sent events tells what it has: its operation goes on behind it if it takes `$after`.
fn resumed(mut ask: Ask, last_event: Option<String>) -> Ask {
    if let Some(cursor) = last_event
        && ask.query.as_ref().is_some_and(|query| query.contains("$after"))
    {
        ask.variables.insert("after".to_owned(), Value::String(cursor));
    }
    ask
}

/// What `Accept` asks for. Without it, an answer in JSON.
fn wanted(headers: &HeaderMap, method: &Method) -> Option<Wanted> {
    let offers = [
        ("application/json", Wanted::Answer(Form::Json)),
        ("application/graphql-response+json", Wanted::Answer(Form::Graphql)),
        ("text/html", Wanted::Page),
        ("text/event-stream", Wanted::Events),
    ];
    // The page is for whoever opens it.
    let is_offered = |(_, wanted): &(&str, Wanted)| *wanted != Wanted::Page || method == Method::GET;
    negotiate(headers, &offers.into_iter().filter(is_offered).collect::<Vec<_>>())
}

async fn ask_of(graphql: &Graphql, request: HttpRequest) -> Result<Ask, QueryError> {
    if request.method() == Method::POST {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        check_content_type(&content_type)?;
        let body = read_body(request.into_body(), graphql.engine.settings().request_bytes_max).await?;
        return of_body(&body);
    }
    of_query_string(request.uri().query().unwrap_or(""))
}

fn check_content_type(content_type: &str) -> Result<(), QueryError> {
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => value.trim_matches('"').eq_ignore_ascii_case("utf-8"),
        _ => true,
    });
    if json && utf8 {
        return Ok(());
    }
    let message = format!("the content type is `{content_type}`; application/json in UTF-8 is taken");
    Err(QueryError::new(Code::UnsupportedMediaType, message))
}

fn bad(message: impl Into<String>) -> QueryError {
    QueryError::new(Code::BadGraphqlRequest, message)
}

fn of_body(body: &[u8]) -> Result<Ask, QueryError> {
    match serde_json::from_slice(body).map_err(|error| bad(format!("the body: {error}")))? {
        Value::Object(fields) => ask(fields),
        Value::Array(_) => {
            Err(QueryError::new(Code::BatchRefused, "several requests in one are not taken: send them one by one"))
        }
        _ => Err(bad("the body is no JSON object")),
    }
}

/// The request of an object with its fields; others are left alone.
///
/// # Errors
/// `bad_graphql_request` for a field of another type.
pub(crate) fn ask(mut fields: Map<String, Value>) -> Result<Ask, QueryError> {
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
    let text = |name: &str, value: Option<Value>| match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(format!("`{name}` is no string"))),
    };
    let object = |name: &str, value: Option<Value>| match value {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(bad(format!("`{name}` is no object"))),
    };
    let ask = Ask {
        query: text("query", take("query"))?,
        operation_name: text("operationName", take("operationName"))?,
        variables: object("variables", take("variables"))?,
        extensions: object("extensions", take("extensions"))?,
    };
    if ask.query.is_none() && !ask.extensions.contains_key("persistedQuery") {
        return Err(bad("`query` is missing"));
    }
    Ok(ask)
}

fn of_query_string(query: &str) -> Result<Ask, QueryError> {
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = match name.as_ref() {
            "query" | "operationName" => Value::String(value.into_owned()),
            "variables" | "extensions" if value.is_empty() => continue,
            "variables" | "extensions" => {
                serde_json::from_str(&value).map_err(|error| bad(format!("`{name}` is no JSON: {error}")))?
            }
            _ => continue,
        };
        if fields.insert(name.clone().into_owned(), value).is_some() {
            return Err(bad(format!("`{name}` is given twice")));
        }
    }
    ask(fields)
}

fn status(error: &QueryError) -> StatusCode {
    StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An answer to a request that is not well formed: its status says so in either form.
fn refuse(form: Form, status: StatusCode, error: &QueryError) -> Response {
    respond(form, status, &Answer::refused(error.clone()).body, error.retry_after.map(|after| after.as_secs().max(1)))
}

fn answer(form: Form, answer: Answer) -> Response {
    let status = match (&answer.refused, form) {
        (None, _) => StatusCode::OK,
        // A server that cannot answer now says so to everybody; what is wrong with a document only to those who can tell.
        (Some(error), _) if error.code.status() >= 500 => status(error),
        (Some(_), Form::Json) => StatusCode::OK,
        (Some(error), Form::Graphql) => status(error),
    };
    let retry_after = answer.refused.as_ref().and_then(|error| error.retry_after).map(|after| after.as_secs().max(1));
    respond(form, status, &answer.body, retry_after)
}

fn respond(form: Form, status: StatusCode, body: &Value, retry_after: Option<u64>) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, form.media_type());
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if let Some(after) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after));
    }
    response
}

/// With the tag of its bytes; for a client that has them already, without them.
async fn cached(response: Response, fixed: bool, known: Option<HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Response::from_parts(parts, body);
    }
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = format!("\"{:x}\"", keccak256(&bytes));
    let lifetime = if fixed { "public, max-age=31536000, immutable" } else { "no-cache" };
    parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static(lifetime));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(ETAG, tag);
    }
    let same = known.as_ref().and_then(|known| known.to_str().ok()).is_some_and(|known| {
        known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    });
    if same {
        parts.status = StatusCode::NOT_MODIFIED;
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}
