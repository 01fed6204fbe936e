//! From the door's answer to the subscriber.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::Outcome;
use crate::freshness::probe;
use crate::percentile::p50_and_p99;
use crate::server::Server;

/// The pause between two events.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the subscriber waits for one more event.
const PATIENCE: Duration = Duration::from_secs(30);
const SOURCE: &str = "urn:bench:live";

/// How long accepted events took until a subscriber had them.
#[derive(Serialize)]
pub struct Live {
    /// Events watched.
    pub events: usize,
    /// Half of them took at most this long.
    pub p50_seconds: f64,
    /// 99 of 100 took at most this long.
    pub p99_seconds: f64,
}

/// Follows `events` with one subscriber while single events are sent.
pub async fn measure(server: &Server, events: u32) -> Outcome<Live> {
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut request = format!("ws://{address}/graphql/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
    let (mut socket, _) = tokio_tungstenite::client_async(request, TcpStream::connect(&address).await?).await?;
    let say = |message: Value| Message::text(message.to_string());
    socket.send(say(json!({"type": "connection_init"}))).await?;
    let query = "subscription { events { event { eventId source } } }";
    socket.send(say(json!({"type": "subscribe", "id": "1", "payload": {"query": query}}))).await?;
    let (opened, is_open) = tokio::sync::watch::channel(false);
    let (done, mut sent) = tokio::sync::mpsc::channel(events.max(1) as usize);
    let send = async {
        // The subscription begins at the head once it is opened, and what came before it is not heard.
        let deadline = Instant::now() + PATIENCE;
        for number in 0_u64.. {
            if *is_open.borrow() || events == 0 {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("the subscription is not open after {PATIENCE:?}").into());
            }
            server.post(probe(&format!("before-{number}"), SOURCE).into()).await?;
            tokio::time::sleep(PAUSE).await;
        }
        for number in 0..events {
            let id = format!("live-{number}");
            server.post(probe(&id, SOURCE).into()).await?;
            done.send((id, Instant::now())).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Outcome::Ok(())
    };
    let receive = async {
        let mut seen: HashMap<String, Instant> = HashMap::new();
        while seen.len() < events as usize {
            let message = tokio::time::timeout(PATIENCE, socket.next()).await?.ok_or("the subscription ended")??;
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text)?;
            let event = &message["payload"]["data"]["events"]["event"];
            if event["source"] == SOURCE {
                opened.send_replace(true);
                let id = event["eventId"].as_str().ok_or("an event has no id")?;
                if id.starts_with("live-") {
                    seen.insert(id.to_owned(), Instant::now());
                }
            }
        }
        Outcome::Ok(seen)
    };
    let ((), seen) = tokio::try_join!(send, receive)?;
    let mut seconds = Vec::new();
    while let Ok((id, at)) = sent.try_recv() {
        // An event can arrive before the door's answer does.
        seconds.push(seen.get(&id).ok_or("an event did not arrive")?.saturating_duration_since(at).as_secs_f64());
    }
    let (p50_seconds, p99_seconds) = p50_and_p99(&mut seconds);
    Ok(Live { events: seconds.len(), p50_seconds, p99_seconds })
}
