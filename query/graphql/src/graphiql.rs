//! GraphiQL, carried by the binary: no page of it asks another host for anything.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

const INDEX: &str = include_str!("../assets/graphiql/index.html");

/// Only this server is asked; GraphiQL sets styles by itself and keeps pictures in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page: name, media type, bytes, and whether these are compressed.
const FILES: &[(&str, &str, &[u8], bool)] = &[
    ("page.js", "text/javascript; charset=utf-8", include_bytes!("../assets/graphiql/page.js"), false),
    ("page.css", "text/css; charset=utf-8", include_bytes!("../assets/graphiql/page.css"), false),
    ("graphiql.js", "text/javascript; charset=utf-8", include_bytes!("../assets/graphiql/graphiql.js.gz"), true),
    ("graphiql.css", "text/css; charset=utf-8", include_bytes!("../assets/graphiql/graphiql.css.gz"), true),
    ("react.js", "text/javascript; charset=utf-8", include_bytes!("../assets/graphiql/react.js.gz"), true),
    ("react-dom.js", "text/javascript; charset=utf-8", include_bytes!("../assets/graphiql/react-dom.js.gz"), true),
    ("graphql-ws.js", "text/javascript; charset=utf-8", include_bytes!("../assets/graphiql/graphql-ws.js.gz"), true),
];

/// The page.
pub(crate) fn page() -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")];
    (headers, INDEX).into_response()
}

/// Answers `GET /graphql/assets/{name}`. Every browser takes gzip.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    let Some((_, media_type, bytes, compressed)) = FILES.iter().find(|file| file.0 == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [(CONTENT_TYPE, *media_type), (CACHE_CONTROL, "public, max-age=3600")];
    let mut response = (headers, *bytes).into_response();
    if *compressed {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
