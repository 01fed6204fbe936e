//! Subscriptions over WebSocket: the protocol `graphql-transport-ws`.
//!
//! A connection holds one message for each of its subscriptions at most; a subscription reads on when its message was taken. A
//! client that does not take a message in time is closed, with the cursor to go on from.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, timeout};

use super::http::ask;
use super::service::{Answer, Graphql, own_error};
use tributary_query::error::{Code, QueryError};

const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client may take to introduce itself.
const INIT_WAIT: Duration = Duration::from_secs(10);
/// How often the server asks whether the client is still there, and how long it may then be silent.
const PING_EVERY: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a client may take to read what it was sent, why its connection ends, and to say that it read it.
const GOODBYE_MAX: Duration = Duration::from_secs(60);
/// The same when the server stops.
const GOODBYE_AT_STOP: Duration = Duration::from_secs(1);
/// Bytes of one message from a client.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What a close frame's reason may have, by RFC 6455.
const REASON_BYTES_MAX: usize = 123;

/// The close codes of the protocol, and our own.
mod close {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const BAD_REQUEST: u16 = 4400;
    pub(super) const UNAUTHORIZED: u16 = 4401;
    pub(super) const NOT_ACCEPTABLE: u16 = 4406;
    pub(super) const INIT_TIMEOUT: u16 = 4408;
    pub(super) const SUBSCRIBER_EXISTS: u16 = 4409;
    pub(super) const SLOW_CONSUMER: u16 = 4410;
    pub(super) const TOO_MANY_INITS: u16 = 4429;
}

/// Why a connection ends: a close code and its reason.
struct Closing(u16, String);

impl Closing {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self(code, reason.into())
    }
}

/// Answers `GET /graphql/ws`.
pub(crate) async fn upgrade(State(graphql): State<Arc<Graphql>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let Ok(place) = Arc::clone(&graphql.subscribers).try_acquire_owned() else {
        let body = json!({ "errors": [own_error(&QueryError::new(Code::Busy, "all places for subscribers are taken"))] });
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], body.to_string()).into_response();
    };
    let offered = headers.get_all("sec-websocket-protocol").iter().filter_map(|value| value.to_str().ok());
    let speaks = offered.flat_map(|value| value.split(',')).any(|name| name.trim() == PROTOCOL);
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    upgrade.protocols([PROTOCOL]).on_upgrade(move |socket| async move {
        if speaks {
            serve(graphql, socket, place).await;
        } else {
            let (sink, stream) = socket.split();
            end((sink, stream), Closing::new(close::NOT_ACCEPTABLE, "Subprotocol not acceptable")).await;
        }
    })
}

async fn serve(graphql: Arc<Graphql>, socket: WebSocket, _place: OwnedSemaphorePermit) {
    graphql.metrics().subscribers.inc();
    let (sink, mut stream) = socket.split();
    // One place: a subscription waits until what it has to say was written.
    let (say, said) = mpsc::channel(1);
    let mut connection =
        Connection { graphql: Arc::clone(&graphql), sink, say, running: HashMap::new(), initialised: false, last_cursor: None };
    let closing = connection.run(&mut stream, said).await;
    let Connection { sink, running, .. } = connection;
    drop(running);
    if let Some(closing) = closing {
        if closing.0 == close::SLOW_CONSUMER {
            graphql.metrics().slow_consumers.inc();
        }
        end((sink, stream), closing).await;
    }
    graphql.metrics().subscribers.dec();
}

/// Tells the client why, and hears it out: what it says to a closed socket would take away what it has not read yet.
async fn end((mut sink, mut stream): (SplitSink<WebSocket, Message>, SplitStream<WebSocket>), Closing(code, reason): Closing) {
    let patience = if code == close::GOING_AWAY { GOODBYE_AT_STOP } else { GOODBYE_MAX };
    let frame = CloseFrame { code, reason: reason.into() };
    let goodbye = async {
        // Whether it is heard or not, the connection is over.
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(message)) = stream.next().await {
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
        }
    };
    drop(timeout(patience, goodbye).await);
}

/// What a subscription has to say.
enum Said {
    /// With the cursor to go on behind it.
    Next(String, Value, Option<String>),
    Error(String, Value),
    Complete(String),
}

/// A subscription under way; ends when dropped.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Connection {
    graphql: Arc<Graphql>,
    sink: SplitSink<WebSocket, Message>,
    say: mpsc::Sender<Said>,
    running: HashMap<String, Running>,
    initialised: bool,
    /// Of the last live event that was written.
    last_cursor: Option<String>,
}

impl Connection {
    /// Speaks the protocol until the client goes, or breaks it.
    async fn run(&mut self, stream: &mut SplitStream<WebSocket>, mut said: mpsc::Receiver<Said>) -> Option<Closing> {
        let graphql = Arc::clone(&self.graphql);
        let mut going = Box::pin(graphql.closed());
        let init_by = Instant::now() + INIT_WAIT;
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut heard = Instant::now();
        loop {
            let ended = tokio::select! {
                biased;
                () = &mut going => Err(Closing::new(close::GOING_AWAY, "the server stops; resume after the last cursor received")),
                message = stream.next() => {
                    heard = Instant::now();
                    match message {
                        None | Some(Err(_) | Ok(Message::Close(_))) => return None,
                        Some(Ok(Message::Text(text))) => self.receive(&text).await,
                        Some(Ok(Message::Binary(_))) => Err(Closing::new(close::BAD_REQUEST, "Invalid message received")),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                    }
                }
                said = said.recv() => match said {
                    Some(said) => self.pass_on(said).await,
                    None => Ok(()),
                },
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return None;
                    }
                    self.write(Message::Ping(Bytes::new())).await
                }
                () = tokio::time::sleep_until(init_by), if !self.initialised => {
                    Err(Closing::new(close::INIT_TIMEOUT, "Connection initialisation timeout"))
                }
            };
            if let Err(closing) = ended {
                return Some(closing);
            }
        }
    }

    async fn receive(&mut self, text: &str) -> Result<(), Closing> {
        let invalid = || Closing::new(close::BAD_REQUEST, "Invalid message received");
        let message: Value = serde_json::from_str(text).map_err(|_| invalid())?;
        let id = message.get("id").and_then(Value::as_str);
        match (message.get("type").and_then(Value::as_str), id) {
            (Some("connection_init"), _) if self.initialised => {
                Err(Closing::new(close::TOO_MANY_INITS, "Too many initialisation requests"))
            }
            (Some("connection_init"), _) => {
                self.initialised = true;
                self.write_json(&json!({ "type": "connection_ack" })).await
            }
            (Some("ping"), _) => self.write_json(&json!({ "type": "pong" })).await,
            (Some("pong"), _) => Ok(()),
            (Some("subscribe"), _) if !self.initialised => Err(Closing::new(close::UNAUTHORIZED, "Unauthorized")),
            (Some("subscribe"), Some(id)) if !id.is_empty() => {
                let Some(Value::Object(payload)) = message.get("payload") else { return Err(invalid()) };
                self.subscribe(id.to_owned(), payload.clone()).await
            }
            (Some("complete"), Some(id)) => {
                self.running.remove(id);
                Ok(())
            }
            _ => Err(invalid()),
        }
    }

    async fn subscribe(&mut self, id: String, payload: Map<String, Value>) -> Result<(), Closing> {
        if self.running.contains_key(&id) {
            return Err(Closing::new(close::SUBSCRIBER_EXISTS, shorten(format!("Subscriber for {id} already exists"))));
        }
        if !matches!(payload.get("query"), None | Some(Value::String(_))) {
            return Err(Closing::new(close::BAD_REQUEST, "Invalid message received"));
        }
        let checked = match ask(payload).and_then(|ask| self.graphql.check(ask)) {
            Ok(_) if self.running.len() >= self.graphql.settings.subscriptions_max => {
                Err(QueryError::new(Code::Busy, "the connection has as many subscriptions as it may have"))
            }
            checked => checked,
        };
        match checked {
            Err(error) => self.pass_on(Said::Error(id, json!([own_error(&error)]))).await,
            Ok(checked) => {
                let (graphql, say) = (Arc::clone(&self.graphql), self.say.clone());
                let task = tokio::spawn({
                    let id = id.clone();
                    async move {
                        if checked.kind == OperationType::Subscription {
                            let mut answers = graphql.follow(checked);
                            while let Some(answer) = answers.next().await {
                                if !tell(&say, &id, answer).await {
                                    return;
                                }
                            }
                        } else if !tell(&say, &id, graphql.run(checked).await).await {
                            return;
                        }
                        // A connection that is gone has nobody to tell.
                        drop(say.send(Said::Complete(id)).await);
                    }
                });
                self.running.insert(id, Running(task.abort_handle()));
                Ok(())
            }
        }
    }

    async fn pass_on(&mut self, said: Said) -> Result<(), Closing> {
        match said {
            // What a subscription said before the client completed it is not sent after.
            Said::Next(id, payload, cursor) if self.running.contains_key(&id) => {
                self.last_cursor = cursor.or(self.last_cursor.take());
                self.write_json(&json!({ "id": id, "type": "next", "payload": payload })).await
            }
            Said::Error(id, errors) => {
                self.running.remove(&id);
                self.write_json(&json!({ "id": id, "type": "error", "payload": errors })).await
            }
            Said::Complete(id) if self.running.remove(&id).is_some() => {
                self.write_json(&json!({ "id": id, "type": "complete" })).await
            }
            Said::Next(..) | Said::Complete(_) => Ok(()),
        }
    }

    async fn write_json(&mut self, message: &Value) -> Result<(), Closing> {
        self.write(Message::text(message.to_string())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), Closing> {
        match timeout(self.graphql.settings.stall_max, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            // The client is gone: the next read says so.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(Closing::new(close::SLOW_CONSUMER, self.slow())),
        }
    }

    /// The reason of a slow client, with the cursor to go on from where it fits.
    fn slow(&self) -> String {
        let with = self.last_cursor.as_ref().map(|cursor| format!("slow_consumer, resume after {cursor}"));
        with.filter(|reason| reason.len() <= REASON_BYTES_MAX)
            .unwrap_or_else(|| "slow_consumer, resume after the last cursor received".to_owned())
    }
}

/// Says an answer; `false` if it is the last.
async fn tell(say: &mpsc::Sender<Said>, id: &str, answer: Answer) -> bool {
    let failed = answer.refused.is_some() || answer.body.get("data").is_none_or(Value::is_null);
    if failed {
        let errors = answer.body.get("errors").cloned().unwrap_or_else(|| json!([]));
        drop(say.send(Said::Error(id.to_owned(), errors)).await);
        return false;
    }
    say.send(Said::Next(id.to_owned(), answer.body, answer.cursor)).await.is_ok()
}

fn shorten(mut reason: String) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
