//! A server that answers as it is told, and counts what it was asked.

#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with every connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// A status and a body.
    Answer(u16, Vec<u8>),
    /// A status and headers in place of all others.
    Bare(&'static str),
    /// 200 and a part of the body that was announced, then the end.
    Truncated(Vec<u8>, usize),
    /// 200, and the body a byte at a time with a pause between.
    Slow(Vec<u8>, Duration),
    /// 200 and chunks without an end, as long as the client reads.
    Endless,
    /// The request is read, and never answered.
    Silent,
    /// The request is read, and the connection closed.
    Closed,
    /// The connection is closed at once.
    Slammed,
    /// Something that is not HTTP.
    Noise,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// The first line.
    pub line: String,
    pub body: Vec<u8>,
}

#[derive(Clone)]
pub struct Stub {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
}

impl Stub {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stub = Self { address, requests: Arc::default(), connections: Arc::default() };
        let own = stub.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                *own.connections.lock().unwrap() += 1;
                tokio::spawn(own.clone().serve(connection, behaviour.clone()));
            }
        });
        stub
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    async fn serve(self, mut connection: TcpStream, behaviour: Behaviour) {
        if matches!(behaviour, Behaviour::Slammed) {
            return;
        }
        let Some(request) = read_request(&mut connection).await else { return };
        self.requests.lock().unwrap().push(request);
        // That the client is gone is none of the server's business.
        let _ = answer(&mut connection, behaviour).await;
    }
}

async fn read_request(connection: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let length = text.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
    let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
    while bytes.len() < head + length {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { line: text.lines().next().unwrap().to_owned(), body: bytes[head..].to_vec() })
}

async fn answer(connection: &mut TcpStream, behaviour: Behaviour) -> std::io::Result<()> {
    let head = |status: u16, length: usize| format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n");
    match behaviour {
        Behaviour::Answer(status, body) => {
            connection.write_all(head(status, body.len()).as_bytes()).await?;
            connection.write_all(&body).await?;
        }
        Behaviour::Bare(answer) => connection.write_all(answer.as_bytes()).await?,
        Behaviour::Truncated(body, sent) => {
            connection.write_all(head(200, body.len()).as_bytes()).await?;
            connection.write_all(&body[..sent]).await?;
        }
        Behaviour::Slow(body, pause) => {
            connection.write_all(head(200, body.len()).as_bytes()).await?;
            for byte in body {
                connection.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
        Behaviour::Endless => {
            connection.write_all(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            let chunk = [b"10000\r\n".to_vec(), vec![7; 0x10000], b"\r\n".to_vec()].concat();
            loop {
                connection.write_all(&chunk).await?;
            }
        }
        Behaviour::Silent => tokio::time::sleep(Duration::from_secs(600)).await,
        Behaviour::Noise => connection.write_all(b"\x00\x01\x02 this is no HTTP\r\n\r\n").await?,
        Behaviour::Closed | Behaviour::Slammed => {}
    }
    connection.flush().await
}
