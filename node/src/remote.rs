//! Calls to a running Tributary over HTTP: bounded retries with jitter, problems turned into messages.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;

use crate::exit::Failure;

/// Where `dev` listens by default.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// How often a call is tried in all.
const ATTEMPTS_MAX: u32 = 12;
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The body of an error, RFC 9457.
#[derive(Deserialize)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

/// A client without an overall time-out: answers stream for as long as they take.
pub fn client() -> Result<Client, Failure> {
    let builder = Client::builder().connect_timeout(Duration::from_secs(5)).read_timeout(Duration::from_secs(120)).no_proxy();
    builder.build().map_err(|e| Failure::failed("the HTTP client does not start", e))
}

/// The address of a route, with the base as the user gave it.
pub fn route(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim_end_matches('/'))
}

/// Sends the request until it is answered with neither 429 nor 503 and without a lost connection. Only for requests that
/// are harmless to repeat. Returns the answer and how many tries were repeated.
pub async fn persist(make: impl Fn() -> RequestBuilder) -> Result<(Response, u32), Failure> {
    let mut pause = Duration::from_millis(100);
    for attempt in 0.. {
        let result = make().send().await;
        let last = attempt + 1 == ATTEMPTS_MAX;
        let wanted = match &result {
            Ok(response) if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => None,
            Ok(response) => Some(retry_after(response)),
            Err(_) => Some(None),
        };
        match (result, wanted) {
            (Ok(response), None) => return Ok((response, attempt)),
            (Ok(response), Some(_)) if last => return Ok((response, attempt)),
            (Err(error), _) if last => return Err(unreachable(&error)),
            (_, after) => tokio::time::sleep(jittered(after.flatten().unwrap_or(pause))).await,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    unreachable!("the loop returns at its last attempt")
}

/// The answer if it is a success, else what its problem body says.
pub async fn success(response: Response) -> Result<Response, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let problem: Option<Problem> = serde_json::from_slice(&body).ok();
    Err(Failure::Failed(match problem {
        Some(Problem { code, title, detail }) => {
            let text = detail.or(title).unwrap_or_else(|| status.to_string());
            format!("{text} [{}]", code.unwrap_or_else(|| status.as_u16().to_string()))
        }
        None => format!("the server answered {status}"),
    }))
}

/// The message for a server that does not answer.
pub fn unreachable(error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let url = error.url().map_or_else(|| "the server".to_owned(), |u| u.origin().ascii_serialization());
    Failure::Failed(format!("{url} does not answer: {cause}; is `tributary dev` running, and is --url right?"))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}

/// Between half and all of the pause, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())
}
