//! Calls to a running Tributary over HTTP: bounded retries with jitter, problems turned into messages.

use std::time::Duration;

use bytes::Bytes;
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

/// An answer that was read to its end.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body if it is a success, else what it says as a problem.
    pub fn success(self) -> Result<Bytes, Failure> {
        match self.status.is_success() {
            true => Ok(self.body),
            false => Err(problem(self.status, &self.body)),
        }
    }
}

/// What decides whether a request is repeated.
struct Verdict {
    status: StatusCode,
    retry_after: Option<Duration>,
}

impl Verdict {
    fn of(response: &Response) -> Self {
        Self { status: response.status(), retry_after: retry_after(response) }
    }

    fn asks_for_more(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// Sends the request until it is answered with neither 429 nor 503 and without a lost connection. Only for requests that
/// are harmless to repeat. The body of the answer is left to the caller. Returns the answer and how many tries were repeated.
pub async fn persist(make: impl Fn() -> RequestBuilder) -> Result<(Response, u32), Failure> {
    let once = async || {
        let response = make().send().await?;
        Ok((Verdict::of(&response), response))
    };
    repeat(once).await
}

/// [`persist`] with the body read: an answer that breaks off half-way is a lost connection as well.
pub async fn persist_to_end(make: impl Fn() -> RequestBuilder) -> Result<(Answer, u32), Failure> {
    let once = async || {
        let response = make().send().await?;
        let verdict = Verdict::of(&response);
        let status = verdict.status;
        Ok((verdict, Answer { status, body: response.bytes().await? }))
    };
    repeat(once).await
}

async fn repeat<T>(once: impl AsyncFn() -> reqwest::Result<(Verdict, T)>) -> Result<(T, u32), Failure> {
    let mut pause = Duration::from_millis(100);
    for attempt in 0.. {
        let last = attempt + 1 == ATTEMPTS_MAX;
        let after = match once().await {
            Ok((verdict, answer)) if last || !verdict.asks_for_more() => return Ok((answer, attempt)),
            Ok((verdict, _)) => verdict.retry_after,
            Err(error) if last => return Err(unreachable(&error)),
            Err(_) => None,
        };
        tokio::time::sleep(jittered(after.unwrap_or(pause))).await;
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
    Err(problem(status, &response.bytes().await.unwrap_or_default()))
}

fn problem(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    Failure::Failed(match problem {
        Some(Problem { code, title, detail }) => {
            let text = detail.or(title).unwrap_or_else(|| status.to_string());
            format!("{text} [{}]", code.unwrap_or_else(|| status.as_u16().to_string()))
        }
        None => format!("the server answered {status}"),
    })
}

/// The message for a server that does not answer, or not to the end.
fn unreachable(error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let url = error.url().map_or_else(|| "the server".to_owned(), |u| u.origin().ascii_serialization());
    if error.is_body() || error.is_decode() {
        return Failure::Failed(format!("{url} broke its answer off: {cause}"));
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Gives each connection, after its request, the next of these bytes, and closes it.
    async fn answering(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = connection.read(&mut request).await.unwrap();
                connection.write_all(answer.as_bytes()).await.unwrap();
                connection.shutdown().await.unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn a_request_is_repeated_when_its_answer_breaks_off_after_the_headers() {
        let url = answering(&[
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\n1234567890",
        ])
        .await;
        let client = client().unwrap();
        let (answer, repeated) = persist_to_end(|| client.get(&url)).await.unwrap();
        assert_eq!((answer.status, &*answer.body, repeated), (StatusCode::OK, b"1234567890".as_slice(), 2));
    }

    #[tokio::test]
    async fn a_problem_is_told_with_its_code() {
        let answer = Answer { status: StatusCode::BAD_REQUEST, body: Bytes::from_static(br#"{"code":"c","detail":"d"}"#) };
        assert_eq!(answer.success().err().map(|e| e.to_string()), Some("d [c]".to_owned()));
    }
}
