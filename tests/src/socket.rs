//! Sockets that follow live events, well-behaved or not.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::server::Server;
use crate::{Outcome, ensure};

/// No message that is on its way takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of `graphql-transport-ws`.
pub struct Socket(WebSocketStream<TcpStream>);

/// What a server said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Value),
    /// The end, with the code and the reason of a close frame if there was one.
    End(Option<(u16, String)>),
}

async fn connect(server: &Server, receive_buffer: Option<u32>) -> Outcome<(TcpStream, String)> {
    let address = server.url().trim_start_matches("http://").to_owned();
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok((socket.connect(address.parse()?).await?, address))
}

impl Socket {
    /// Connects, with a receive buffer of so many bytes if the system's own is too large for the test.
    pub async fn open(server: &Server, receive_buffer: Option<u32>) -> Outcome<Self> {
        let (stream, address) = connect(server, receive_buffer).await?;
        let mut request = format!("ws://{address}/graphql/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        Ok(Self(tokio_tungstenite::client_async(request, stream).await?.0))
    }

    /// Sends any text.
    pub async fn say(&mut self, text: &str) -> Outcome {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// Sends bytes as a binary message.
    pub async fn say_bytes(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.0.send(Message::binary(bytes.to_vec())).await?)
    }

    /// Introduces the client and subscribes.
    pub async fn follow(&mut self, query: &str, variables: Value) -> Outcome {
        self.say(&json!({"type": "connection_init"}).to_string()).await?;
        let payload = json!({"query": query, "variables": variables});
        self.say(&json!({"type": "subscribe", "id": "1", "payload": payload}).to_string()).await
    }

    /// The next message, or the end.
    pub async fn hear(&mut self) -> Outcome<Heard> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await.map_err(|_| "nothing is heard any more")?;
            return Ok(match next {
                Some(Ok(Message::Text(text))) => Heard::Message(serde_json::from_str(&text)?),
                Some(Ok(Message::Close(Some(frame)))) => Heard::End(Some((frame.code.into(), frame.reason.to_string()))),
                Some(Ok(Message::Close(None)) | Err(_)) | None => Heard::End(None),
                Some(Ok(_)) => continue,
            });
        }
    }

    /// The end, whatever comes before it.
    pub async fn hear_end(&mut self) -> Outcome<Option<(u16, String)>> {
        loop {
            if let Heard::End(end) = self.hear().await? {
                return Ok(end);
            }
        }
    }
}

/// Opens a WebSocket, sends these bytes as they are, and waits until the server ends the connection.
pub async fn send_raw(server: &Server, frames: &[u8]) -> Outcome {
    let (mut stream, address) = connect(server, None).await?;
    let request = format!(
        "GET /graphql/ws HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        ensure(stream.read_buf(&mut answer).await? > 0, || "the server did not answer the handshake".to_owned())?;
    }
    ensure(answer.starts_with(b"HTTP/1.1 101"), || String::from_utf8_lossy(&answer).into_owned())?;
    // A server that is gone already has ended the connection.
    drop(stream.write_all(frames).await);
    drop(stream.shutdown().await);
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset is an end as well.
    drop(read.map_err(|_| format!("the connection is still open after {frames:?}"))?);
    Ok(())
}
